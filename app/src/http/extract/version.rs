//! Versions of objects, so that nobody overwrites a change that they haven't seen.
//!
//! A handler that returns an object sends its [`Version`] (the header `ETag`). A handler that changes it requires the
//! version that the client has seen ([`IfMatch`]), and compares the two while it has the row locked.
//!
//! **Weak tags.** A proxy that compresses answers makes their tags weak (`W/"7"`; nginx does), because the bytes
//! differ. By RFC 9110 §13.1.1, a weak tag never matches `If-Match`, so clients behind such a proxy could change
//! nothing. Daybook's tags name the version of a row and not the bytes of an answer, so a weak tag is accepted as the
//! original one.

use std::fmt::{self, Write as _};

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::header::{ETAG, IF_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponseParts, ResponseParts};
use chrono::{DateTime, Utc};

use crate::error::{Error, Result};

/// Distinguishes two states of an object. In a response it is the header `ETag`: `(version, Json(campaign))`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(String);

impl Version {
    /// Returns a version from a value that differs after every change, such as a counter or a hash.
    ///
    /// Characters that an entity tag can't contain are percent-encoded, so two versions never become equal.
    pub fn of(value: &(impl fmt::Display + ?Sized)) -> Self {
        let text = value.to_string();
        let mut tag = String::with_capacity(text.len());
        for byte in text.bytes() {
            if byte.is_ascii_graphic() && !matches!(byte, b'"' | b'%') {
                tag.push(char::from(byte));
            } else {
                // Writing to a string can't fail.
                _ = write!(tag, "%{byte:02X}");
            }
        }
        Self(tag)
    }

    /// Returns a version from the time of the last change, in microseconds since 1970, the precision of PostgreSQL.
    pub fn at(updated_at: DateTime<Utc>) -> Self {
        Self::of(&updated_at.timestamp_micros())
    }
}

impl fmt::Display for Version {
    /// Writes the version as in the header, with its quotation marks: `"1767322445123456"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

impl IntoResponseParts for Version {
    type Error = Error;

    fn into_response_parts(self, mut response: ResponseParts) -> Result<ResponseParts> {
        let value = HeaderValue::try_from(self.to_string()).map_err(Error::internal)?;
        response.headers_mut().insert(ETAG, value);
        Ok(response)
    }
}

/// The versions that a client has seen: the header `If-Match`.
///
/// As an extractor it requires the header ([`Error::PreconditionRequired`]); `Option<IfMatch>` doesn't.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfMatch {
    /// `*`: any version of an existing object.
    Any,
    /// One of these, also if a proxy has made the tag weak (`W/"…"`).
    OneOf(Vec<Version>),
}

impl IfMatch {
    /// Checks that the client has seen `current`.
    ///
    /// # Errors
    ///
    /// [`Error::PreconditionFailed`] if it hasn't.
    pub fn check(&self, current: &Version) -> Result<()> {
        match self {
            Self::Any => Ok(()),
            Self::OneOf(seen) if seen.contains(current) => Ok(()),
            Self::OneOf(_) => Err(Error::PreconditionFailed),
        }
    }

    /// Reads the header `If-Match`. All its lines are one list (RFC 9110 §5.3).
    fn from_headers(headers: &HeaderMap) -> Result<Option<Self>> {
        let lines: Vec<&[u8]> = headers.get_all(IF_MATCH).iter().map(HeaderValue::as_bytes).collect();
        if lines.is_empty() {
            return Ok(None);
        }
        let list = lines.join(&b","[..]);
        let list = list.trim_ascii();
        if list == b"*" {
            return Ok(Some(Self::Any));
        }
        entity_tags(list).map(|seen| Some(Self::OneOf(seen)))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self> {
        Self::from_headers(&parts.headers)?.ok_or_else(|| Error::PreconditionRequired {
            detail: "send If-Match with the ETag of the version you have seen, or * to change any version".into(),
        })
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for IfMatch {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>> {
        Self::from_headers(&parts.headers)
    }
}

/// Parses `"a", W/"b", , "c"`. A tag may contain commas, so it ends at its closing quotation mark; empty members of a
/// list are ignored (RFC 9110 §5.6.1).
fn entity_tags(list: &[u8]) -> Result<Vec<Version>> {
    let mut seen = Vec::new();
    let mut rest = list;
    loop {
        rest = rest.trim_ascii_start();
        if let Some(after) = rest.strip_prefix(b",") {
            rest = after;
            continue;
        }
        if rest.is_empty() {
            break;
        }
        let quoted = rest.strip_prefix(b"W/").unwrap_or(rest);
        let open = quoted.strip_prefix(b"\"").ok_or_else(malformed)?;
        let end = open.iter().position(|byte| *byte == b'"').ok_or_else(malformed)?;
        let (tag, after) = (&open[..end], &open[end + 1..]);
        // A tag may have characters beyond ASCII, but none of Daybook's has.
        if !tag.iter().all(|byte| byte.is_ascii_graphic() || *byte >= 0x80) {
            return Err(malformed());
        }
        seen.push(Version(String::from_utf8_lossy(tag).into_owned()));
        rest = after.trim_ascii_start();
        if !rest.is_empty() && !rest.starts_with(b",") {
            return Err(malformed());
        }
    }
    if seen.is_empty() {
        return Err(malformed());
    }
    Ok(seen)
}

fn malformed() -> Error {
    Error::BadRequest {
        detail:
            "If-Match must be * or a list of versions as the ETag header gave them, each with its quotation marks: \
                 \"7\" or \"7\", \"8\""
                .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;

    use super::*;

    fn parse(values: &[&str]) -> Result<Option<IfMatch>> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IF_MATCH, HeaderValue::from_str(value).unwrap());
        }
        IfMatch::from_headers(&headers)
    }

    fn one_of(tags: &[&str]) -> IfMatch {
        IfMatch::OneOf(tags.iter().map(|tag| Version((*tag).to_owned())).collect())
    }

    #[test]
    fn a_version_is_parsed_as_it_was_written() {
        let timestamp = DateTime::from_timestamp(1_767_322_445, 123_456_789).unwrap();
        assert_eq!(Version::at(timestamp).to_string(), "\"1767322445123456\"");
        for version in [
            Version::at(timestamp),
            Version::of(&7),
            Version::of("a \"quoted\" % ü"),
            Version::of(""),
        ] {
            let read = parse(&[&version.to_string()]).unwrap().unwrap();
            assert!(read.check(&version).is_ok(), "{version}");
            assert!(matches!(
                read.check(&Version::of("another")),
                Err(Error::PreconditionFailed)
            ));
        }
        assert_ne!(Version::of("a b"), Version::of("a%20b"));
        assert_eq!((Version::of(&7), "body").into_response().headers()[ETAG], "\"7\"");
    }

    #[test]
    fn lists_weak_tags_and_stars_are_parsed() {
        assert_eq!(parse(&[]).unwrap(), None);
        assert_eq!(parse(&["*"]).unwrap(), Some(IfMatch::Any));
        assert_eq!(parse(&["\"a\" ,\"b,c\""]).unwrap(), Some(one_of(&["a", "b,c"])));
        assert_eq!(parse(&["\"a\"", "\"b\""]).unwrap(), Some(one_of(&["a", "b"])));
        assert_eq!(parse(&["W/\"a\""]).unwrap(), Some(one_of(&["a"])));
        assert_eq!(parse(&["\"a\", W/\"b\""]).unwrap(), Some(one_of(&["a", "b"])));
        assert_eq!(parse(&[", \"a\",, \"b\" ,"]).unwrap(), Some(one_of(&["a", "b"])));
        assert_eq!(parse(&[" * "]).unwrap(), Some(IfMatch::Any));
        assert_eq!(parse(&["\"ü\""]).unwrap(), Some(one_of(&["ü"])));
        for wrong in [
            "",
            "a",
            "\"a",
            "\"a\" \"b\"",
            ",",
            "\"a b\"",
            "*, \"a\"",
            "w/\"a\"",
            "W/a",
            "W/ \"a\"",
        ] {
            assert!(
                matches!(parse(&[wrong]), Err(Error::BadRequest { detail }) if detail.starts_with("If-Match ")),
                "{wrong}"
            );
        }
        // Two lines are one list, and `*` can't be in a list.
        assert!(parse(&["*", "\"a\""]).is_err());
    }

    #[test]
    fn a_version_that_a_proxy_made_weak_is_still_that_version() {
        let current = Version::of(&7);
        let weak = parse(&["W/\"7\""]).unwrap().unwrap();
        assert!(weak.check(&current).is_ok());
        assert!(matches!(weak.check(&Version::of(&8)), Err(Error::PreconditionFailed)));
    }

    #[tokio::test]
    async fn a_handler_can_require_it_or_not() {
        let mut parts = axum::http::Request::new(()).into_parts().0;
        let required = <IfMatch as FromRequestParts<()>>::from_request_parts(&mut parts, &()).await;
        assert!(matches!(required, Err(Error::PreconditionRequired { .. })));
        let optional = <IfMatch as OptionalFromRequestParts<()>>::from_request_parts(&mut parts, &()).await;
        assert_eq!(optional.unwrap(), None);
    }
}
