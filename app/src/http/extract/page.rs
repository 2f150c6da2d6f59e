//! Pages of lists.
//!
//! A page ends with a cursor: the key of its last row, encoded so that clients treat it as opaque. The next page has
//! the rows after that key, so rows that are added or removed meanwhile neither repeat nor hide other rows. A cursor is
//! only a position and gives no rights, so it needs no signature.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::timestamp::is_unstorable;
use crate::error::{Error, Result};

const MAX_LIMIT: u64 = 200;
const DEFAULT_LIMIT: u64 = 50;
/// Approximate maximum size of a page in bytes of JSON, whatever its `limit`. The page ends before the first row that
/// doesn't fit, but has at least one row.
pub const MAX_PAGE_BYTES: usize = 1 << 20;

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Page<T> {
    /// The rows, in the list's order.
    pub items: Vec<T>,
    /// The `cursor` of the page after this one; null at the end.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// Returns a page of at most `limit` rows. `rows` are from a query for one row more, which shows that there is a
    /// next page.
    ///
    /// `key` returns the values by which the query orders a row; [`PageParams::after`] returns them for the next page.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] if the key can't be serialised.
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

    /// As [`Page::of`], with `view` applied to each row, for rows that may be large: the page ends earlier if `limit`
    /// rows have more than [`MAX_PAGE_BYTES`].
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] if a row or the key can't be serialised.
    pub fn within_bytes<R, K: Serialize>(
        rows: Vec<R>,
        limit: u64,
        key: impl Fn(&R) -> K,
        mut view: impl FnMut(R) -> Result<T>,
    ) -> Result<Self>
    where
        T: Serialize,
    {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut room = ByteBudget::new(MAX_PAGE_BYTES);
        let mut items = Vec::with_capacity(rows.len().min(limit));
        let mut last = None;
        let mut next = None;
        for row in rows {
            let place = key(&row);
            let item = if items.len() < limit { Some(view(row)?) } else { None };
            match item {
                Some(item) if room.takes(&item)? => items.push(item),
                _ => {
                    next = last.as_ref().map(encode_cursor).transpose()?;
                    break;
                }
            }
            last = Some(place);
        }
        Ok(Self { items, next })
    }

    /// Returns the page with `f` applied to each row.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(f).collect(),
            next: self.next,
        }
    }
}

/// Counts the bytes of values as JSON, up to a budget.
#[derive(Debug)]
pub struct ByteBudget {
    left: usize,
    empty: bool,
}

impl ByteBudget {
    /// Returns a budget of `bytes` bytes.
    pub fn new(bytes: usize) -> Self {
        Self {
            left: bytes,
            empty: true,
        }
    }

    /// Takes a value's bytes from the budget, and returns whether it fits. The first value always fits.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] if the value can't be serialised.
    pub fn takes(&mut self, value: &impl Serialize) -> Result<bool> {
        let mut size = ByteCount(0);
        serde_json::to_writer(&mut size, value)?;
        let fits = self.empty || size.0 <= self.left;
        self.left = self.left.saturating_sub(size.0);
        self.empty = false;
        Ok(fits)
    }
}

struct ByteCount(usize);

impl std::io::Write for ByteCount {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The parameters `limit` and `cursor`: alone as `Query<PageParams>`, or flattened into a struct of other parameters.
///
/// Both are kept as text, because serde's `flatten` passes on only text.
#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageParams {
    /// The maximum number of rows in a page: 1 to 200, by default 50.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 200, default = 50)]
    limit: Option<String>,
    /// The `next` of the previous page; none for the first page.
    cursor: Option<String>,
}

impl PageParams {
    /// Returns the maximum number of rows. Query the database for one more, and give both to [`Page::of`].
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if it isn't from 1 to 200.
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

    /// Returns the key after which the page begins; `None` for the first page.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the cursor isn't from a list with such keys.
    pub fn after<K: DeserializeOwned>(&self) -> Result<Option<K>> {
        self.cursor.as_deref().map(decode_cursor).transpose()
    }
}

/// Encodes a key, such as `(created_at, id)`, as a cursor.
///
/// # Errors
///
/// [`Error::Internal`] if the key can't be serialised.
pub fn encode_cursor<K: Serialize>(key: &K) -> Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(serde_json::to_vec(key)?))
}

/// Decodes a cursor that [`encode_cursor`] has made.
///
/// # Errors
///
/// [`Error::Invalid`] for any other text.
pub fn decode_cursor<K: DeserializeOwned>(cursor: &str) -> Result<K> {
    read_cursor(cursor).ok_or_else(|| {
        Error::invalid(
            "cursor",
            "isn't the `next` of a page of this list; leave it out to begin at the start",
        )
    })
}

fn read_cursor<K: DeserializeOwned>(cursor: &str) -> Option<K> {
    let key: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    if !is_bindable(&key) {
        return None;
    }
    serde_json::from_value(key).ok()
}

/// Returns whether the database accepts all parts of a key as parameters: no U+0000, and no time with a year that a
/// column can't have.
fn is_bindable(key: &Value) -> bool {
    match key {
        Value::String(text) => !text.contains('\0') && !is_unstorable(text),
        Value::Array(parts) => parts.iter().all(is_bindable),
        Value::Object(parts) => parts
            .iter()
            .all(|(name, part)| !name.contains('\0') && is_bindable(part)),
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Datelike as _, Utc};
    use proptest::prelude::*;
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
    fn a_cursor_decodes_to_its_key() {
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
    fn a_key_that_the_database_would_refuse_is_not_a_cursor() {
        for year in [
            "-262143-01-01T00:00:00Z",
            "+262142-12-31T23:59:59Z",
            "0000-06-01T00:00:00Z",
            "10000-01-01T00:00:00Z",
        ] {
            let cursor = encode_cursor(&(year, Uuid::from_u128(7))).unwrap();
            let error = decode_cursor::<(DateTime<Utc>, Uuid)>(&cursor).unwrap_err();
            assert!(error.to_string().starts_with("cursor: "), "{year}");
        }
        for key in [
            "9223372036854775808",
            "-9223372036854775809",
            "1e999",
            "1.5",
            "[1]",
            "{}",
            "null",
            "\"1\"",
        ] {
            assert!(decode_cursor::<i64>(&URL_SAFE_NO_PAD.encode(key)).is_err(), "{key}");
        }
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(decode_cursor::<String>(&URL_SAFE_NO_PAD.encode(deep)).is_err());
    }

    proptest! {
        /// An accepted year is one that PostgreSQL's `timestamptz` has, and decodes unchanged.
        #[test]
        fn times_of_any_year_are_accepted_or_refused(seconds in any::<i64>(), nanos in 0_u32..1_000_000_000) {
            let Some(at) = DateTime::<Utc>::from_timestamp(seconds % 8_210_000_000_000, nanos) else { return Ok(()) };
            let cursor = encode_cursor(&(at, Uuid::nil())).unwrap();
            match decode_cursor::<(DateTime<Utc>, Uuid)>(&cursor) {
                Ok((read, _)) => prop_assert!(read == at && (1..=9999).contains(&at.year())),
                Err(error) => {
                    prop_assert!(!(1..=9999).contains(&at.year()));
                    prop_assert!(error.to_string().starts_with("cursor: "));
                }
            }
        }

        #[test]
        fn random_bytes_are_a_cursor_or_an_error_that_names_it(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            for cursor in [URL_SAFE_NO_PAD.encode(&bytes), String::from_utf8_lossy(&bytes).into_owned()] {
                if let Err(error) = decode_cursor::<(DateTime<Utc>, Uuid)>(&cursor) {
                    prop_assert!(error.to_string().starts_with("cursor: "));
                }
                if let Ok(text) = decode_cursor::<String>(&cursor) {
                    prop_assert!(!text.contains('\0'));
                }
            }
        }
    }

    #[test]
    fn a_page_ends_before_the_row_that_does_not_fit() {
        let rows = |sizes: &[usize]| sizes.iter().copied().enumerate().collect::<Vec<_>>();
        let page = |sizes: &[usize], limit| {
            let view = |(_, size)| Ok("x".repeat(size));
            let page = Page::within_bytes(rows(sizes), limit, |(place, _)| *place, view).unwrap();
            let next = page.next.map(|next| decode_cursor::<usize>(&next).unwrap());
            (page.items.len(), next)
        };
        let half = MAX_PAGE_BYTES / 2;
        assert_eq!(page(&[1, 1, 1], 2), (2, Some(1)));
        assert_eq!(page(&[1, 1], 2), (2, None));
        assert_eq!(page(&[half, half, 1], 10), (1, Some(0)));
        assert_eq!(page(&[half - 8, half - 8, half, 1], 10), (2, Some(1)));
        // A page has at least one row, and a cursor for the next one.
        assert_eq!(page(&[3 * half, 1], 10), (1, Some(0)));
        assert_eq!(page(&[], 10), (0, None));
    }

    #[test]
    fn the_extra_row_shows_that_there_is_a_next_page() {
        let full = Page::of(vec![1, 2, 3], 2, |n| *n).unwrap();
        assert_eq!(full.items, [1, 2]);
        assert_eq!(decode_cursor::<i32>(full.next.as_deref().unwrap()).unwrap(), 2);
        assert_eq!(Page::of(vec![1, 2], 2, |n| *n).unwrap().next, None);
        assert_eq!(Page::of(Vec::<i32>::new(), 2, |n| *n).unwrap().next, None);
        assert_eq!(full.map(|n| n.to_string()).items, ["1", "2"]);
    }
}
