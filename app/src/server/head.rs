//! Checks the head of a request before it is processed: required headers, and headers that may occur only once.

use axum::body::HttpBody as _;
use axum::extract::Request;
use axum::http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, IF_RANGE, ORIGIN, RANGE,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Version};

use crate::error::{Error, Result};
use crate::http::Client;

/// Headers that may occur only once. With two values, a proxy could check one and this service use the other.
const SINGLE: [HeaderName; 12] = [
    AUTHORIZATION,
    HOST,
    ORIGIN,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    IF_RANGE,
    RANGE,
    SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("last-event-id"),
    HeaderName::from_static("x-request-id"),
];

/// Rejects a request whose head is ambiguous, or whose body is encoded.
///
/// # Errors
/// [`Error::BadRequest`], [`Error::UnsupportedMediaType`].
pub(super) fn check(request: &Request) -> Result<()> {
    let headers = request.headers();
    for name in &SINGLE {
        if headers.get_all(name).iter().nth(1).is_some() {
            return Err(bad(format!("the header {name} is given more than once: send it once")));
        }
    }
    // In-process requests, as in tests, have no connection and need no Host.
    if request.extensions().get::<Client>().is_some() {
        check_host(headers, request.version())?;
    }
    if !request.body().is_end_stream() && is_encoded(headers) {
        return Err(Error::UnsupportedMediaType {
            expected: "unencoded: omit Content-Encoding",
        });
    }
    Ok(())
}

/// Checks that an HTTP/1.1 request has exactly one valid Host (RFC 9112 §3.2).
fn check_host(headers: &HeaderMap, version: Version) -> Result<()> {
    let Some(host) = headers.get(HOST) else {
        if version == Version::HTTP_11 {
            return Err(bad("a request of HTTP/1.1 must have the header Host".to_owned()));
        }
        return Ok(());
    };
    let valid = host
        .to_str()
        .is_ok_and(|host| host.is_empty() || (!host.contains(['@', ',']) && host.parse::<Authority>().is_ok()));
    if valid {
        return Ok(());
    }
    Err(bad(
        "the header Host must be a host's name, and a port if one is needed".to_owned(),
    ))
}

fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().any(|value| {
        let codings = value.to_str().unwrap_or("?").split(',').map(str::trim);
        codings
            .filter(|coding| !coding.is_empty())
            .any(|coding| !coding.eq_ignore_ascii_case("identity"))
    })
}

fn bad(detail: String) -> Error {
    Error::BadRequest { detail }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::StatusCode;

    use super::*;

    fn status(headers: &[(&'static str, &str)], body: &'static str) -> Option<StatusCode> {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check(&request.body(Body::from(body)).unwrap())
            .err()
            .map(|error| error.status())
    }

    #[test]
    fn duplicates_of_single_headers_are_refused() {
        for name in SINGLE {
            let name = name.as_str().to_owned().leak();
            assert_eq!(
                status(&[(name, "a"), (name, "a")], ""),
                Some(StatusCode::BAD_REQUEST),
                "{name}"
            );
            assert_eq!(status(&[(name, "a")], ""), None, "{name}");
        }
        assert_eq!(status(&[("accept", "a/b"), ("accept", "c/d")], ""), None);
    }

    #[test]
    fn an_encoded_body_is_refused() {
        let unsupported = Some(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert_eq!(status(&[("content-encoding", "gzip")], "x"), unsupported);
        assert_eq!(status(&[("content-encoding", "identity, br")], "x"), unsupported);
        assert_eq!(status(&[("content-encoding", "Identity")], "x"), None);
        assert_eq!(
            status(&[("content-encoding", "gzip")], ""),
            None,
            "there is nothing to decode"
        );
    }

    #[test]
    fn a_request_needs_one_valid_host() {
        let with = |host: &'static str, version| {
            let headers = HeaderMap::from_iter([(HOST, host.parse().unwrap())]);
            check_host(&headers, version).is_ok()
        };
        for host in ["example.com", "127.0.0.1:8080", "[::1]:80", ""] {
            assert!(with(host, Version::HTTP_11), "{host}");
        }
        for host in ["a b", "a/b", "ada@example.com", "a,b"] {
            assert!(!with(host, Version::HTTP_11), "{host}");
        }
        assert!(check_host(&HeaderMap::new(), Version::HTTP_11).is_err());
        assert!(check_host(&HeaderMap::new(), Version::HTTP_10).is_ok());
        assert!(check_host(&HeaderMap::new(), Version::HTTP_2).is_ok());
    }
}
