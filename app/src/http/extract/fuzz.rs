//! Parsers of parts of URLs, for the fuzz targets.

use std::fmt::Debug;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Datelike as _, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::page::{decode_cursor, encode_cursor};
use crate::error::Error;

/// Returns the cursor for the bytes of a key.
pub(crate) fn cursor_of(key: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(key)
}

/// Parses a cursor as each type of key that a list has, and checks that a parsed key can be bound to a query.
pub(crate) fn fuzz_cursor(cursor: &str, is_clients_mistake: fn(&Error) -> bool) {
    tried::<Uuid>(cursor, is_clients_mistake);
    tried::<i64>(cursor, is_clients_mistake);
    if let Some(text) = tried::<String>(cursor, is_clients_mistake) {
        assert!(!text.contains('\0'), "a text without U+0000: {text:?}");
    }
    if let Some((left, right)) = tried::<(String, String)>(cursor, is_clients_mistake) {
        assert!(!left.contains('\0') && !right.contains('\0'), "texts without U+0000");
    }
    if let Some((at, _)) = tried::<(DateTime<Utc>, Uuid)>(cursor, is_clients_mistake) {
        assert!((1..=9999).contains(&at.year()), "a moment that a column can hold: {at}");
    }
}

fn tried<K: Serialize + DeserializeOwned + PartialEq + Debug>(
    cursor: &str,
    is_clients_mistake: fn(&Error) -> bool,
) -> Option<K> {
    match decode_cursor::<K>(cursor) {
        Ok(key) => {
            let again = encode_cursor(&key).and_then(|cursor| decode_cursor::<K>(&cursor));
            assert_eq!(again.ok().as_ref(), Some(&key));
            Some(key)
        }
        Err(error) => {
            assert!(is_clients_mistake(&error), "{error:?}");
            None
        }
    }
}
