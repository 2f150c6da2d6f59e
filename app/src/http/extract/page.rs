//! Lists, page by page.
//!
//! A page ends with a cursor: the key of its last row, written so that nobody is tempted to build one. The
//! next page is the rows after that key, so rows that come or go meanwhile neither repeat nor hide others.
//! A cursor says where, and nothing about who may read there: it needs no signature.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

const MAX_LIMIT: u64 = 200;
const DEFAULT_LIMIT: u64 = 50;

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Page<T> {
    /// The rows, in the list's order.
    pub items: Vec<T>,
    /// The `cursor` of the page after this one; null at the end.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// A page of `limit` rows from a query for one more: the extra row says that there is a next page.
    ///
    /// `key` gives what the query orders by, for a row; it comes back from [`PageParams::after`].
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] if the key can't be written as JSON.
    pub fn of<K: Serialize>(mut rows: Vec<T>, limit: u64, key: impl FnOnce(&T) -> K) -> Result<Self> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = match rows.last() {
            Some(last) if more => Some(encode_cursor(&key(last))?),
            _ => None,
        };
        Ok(Self { items: rows, next })
    }

    /// The same page of what `f` makes of each row.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(f).collect(),
            next: self.next,
        }
    }
}

/// `limit` and `cursor`: alone as `Query<PageParams>`, or flattened into a struct of other parameters.
///
/// Both are text until they are asked for, since serde's `flatten` hands on texts only.
#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageParams {
    /// How many rows a page has at most: 1 to 200, 50 if not given.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 200, default = 50)]
    limit: Option<String>,
    /// The `next` of the page before; none for the first page.
    cursor: Option<String>,
}

impl PageParams {
    /// How many rows the page may have. Ask the database for one more, and give both to [`Page::of`].
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if it isn't 1 to 200.
    pub fn limit(&self) -> Result<u64> {
        let Some(text) = &self.limit else {
            return Ok(DEFAULT_LIMIT);
        };
        match text.parse() {
            Ok(limit) if (1..=MAX_LIMIT).contains(&limit) => Ok(limit),
            _ => Err(Error::invalid(
                "limit",
                format!("must be a whole number from 1 to {MAX_LIMIT}"),
            )),
        }
    }

    /// The key that the page begins after; none for the first page.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the cursor isn't one of a list with such keys.
    pub fn after<K: DeserializeOwned>(&self) -> Result<Option<K>> {
        self.cursor.as_deref().map(decode_cursor).transpose()
    }
}

/// Writes a key, such as `(created_at, id)`, as a cursor.
///
/// # Errors
///
/// [`Error::Internal`] if the key can't be written as JSON.
pub fn encode_cursor<K: Serialize>(key: &K) -> Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(serde_json::to_vec(key)?))
}

/// Reads what [`encode_cursor`] wrote.
///
/// # Errors
///
/// [`Error::Invalid`] for anything else.
pub fn decode_cursor<K: DeserializeOwned>(cursor: &str) -> Result<K> {
    URL_SAFE_NO_PAD
        .decode(cursor)
        .ok()
        // A key goes into a query, where U+0000 would be an error of the database's.
        .filter(|json| !json.windows(6).any(|window| window == b"\\u0000"))
        .and_then(|json| serde_json::from_slice(&json).ok())
        .ok_or_else(|| {
            Error::invalid(
                "cursor",
                "isn't the `next` of a page of this list; leave it out to begin at the start",
            )
        })
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use uuid::Uuid;

    use super::*;

    fn params(limit: Option<&str>, cursor: Option<&str>) -> PageParams {
        PageParams {
            limit: limit.map(str::to_owned),
            cursor: cursor.map(str::to_owned),
        }
    }

    #[test]
    fn limits_have_bounds() {
        assert_eq!(params(None, None).limit().unwrap(), 50);
        assert_eq!(params(Some("200"), None).limit().unwrap(), 200);
        for wrong in ["0", "201", "-1", "ten", "", "1.5", "99999999999999999999999"] {
            assert!(
                matches!(params(Some(wrong), None).limit(), Err(Error::Invalid(_))),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_cursor_brings_its_key_back() {
        let key = (
            DateTime::<Utc>::from_timestamp(1_767_322_445, 123_456_000).unwrap(),
            Uuid::from_u128(7),
        );
        let cursor = encode_cursor(&key).unwrap();
        assert_eq!(params(None, Some(&cursor)).after().unwrap(), Some(key));
        assert_eq!(params(None, None).after::<(String, Uuid)>().unwrap(), None);
        let nul = encode_cursor(&"\0").unwrap();
        for wrong in ["", "!", "WzEsMl0", &nul, &cursor[1..]] {
            let error = params(None, Some(wrong)).after::<(String, Uuid)>().unwrap_err();
            assert!(error.to_string().starts_with("cursor: "), "{wrong}");
        }
        assert!(decode_cursor::<String>(&nul).is_err());
    }

    #[test]
    fn the_extra_row_says_whether_there_is_more() {
        let full = Page::of(vec![1, 2, 3], 2, |n| *n).unwrap();
        assert_eq!(full.items, [1, 2]);
        assert_eq!(decode_cursor::<i32>(full.next.as_deref().unwrap()).unwrap(), 2);
        assert_eq!(Page::of(vec![1, 2], 2, |n| *n).unwrap().next, None);
        assert_eq!(Page::of(Vec::<i32>::new(), 2, |n| *n).unwrap().next, None);
        assert_eq!(full.map(|n| n.to_string()).items, ["1", "2"]);
    }
}
