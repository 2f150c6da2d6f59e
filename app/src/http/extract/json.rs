//! JSON bodies.

#[cfg(any(test, feature = "server"))]
use axum::Extension;
use axum::body::Bytes;
#[cfg(any(test, feature = "server"))]
use axum::extract::DefaultBodyLimit;
use axum::extract::{FromRequest, OptionalFromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::json_value::JsonValue;
use super::nul::refuse_nul;
use crate::error::{Error, Result};
use crate::json::fault_in;

/// axum's own limit, which applies where [`body_limit`] isn't used.
const AXUM_LIMIT_BYTES: usize = 2 * 1024 * 1024;

/// A JSON body, of a request or of a response.
///
/// A request gets 415 if it isn't sent as JSON in UTF-8, 413 if it is too large, and 400, with line and column, if it
/// isn't JSON. It gets 422, with the path of the field, if it isn't a `T`, if it has a list in place of an object, if
/// it has more than [`MAX_JSON_DEPTH`](crate::json::MAX_JSON_DEPTH) levels, or if it has a number beyond 64 bits.
/// `Option<Json<T>>` is `None` for a request without a `Content-Type` or without a body.
///
/// A `T` of a request can't contain serde_json's `RawValue`. A `T` of a response that can't be serialised is a defect:
/// [`Error::Internal`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Json<T>(pub T);

/// The maximum size of a body in bytes, as an extension of the request, so that the error can name it.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimit(pub usize);

/// Returns a layer that limits the size of a body that extractors read. The extractor reports the error, as a problem
/// document like any other.
#[cfg(any(test, feature = "server"))]
pub fn body_limit(bytes: usize) -> (Extension<BodyLimit>, DefaultBodyLimit) {
    (Extension(BodyLimit(bytes)), DefaultBodyLimit::max(bytes))
}

impl<T: DeserializeOwned> Json<T> {
    /// Reads a whole body.
    ///
    /// # Errors
    ///
    /// [`Error::BadRequest`] for a text that isn't JSON. [`Error::Invalid`] for JSON that isn't a `T`, that is too
    /// deep, or that has numbers which some parsers can't represent.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(Error::BadRequest {
                detail: "the body is empty: send JSON".to_owned(),
            });
        }
        if let Some(fault) = fault_in(bytes) {
            return Err(Error::Invalid(vec![fault]));
        }
        let value: Value = serde_json::from_slice(bytes).map_err(|error| Error::BadRequest {
            detail: format!("the body isn't JSON: {error}"),
        })?;
        refuse_nul(bytes, &value)?;
        serde_path_to_error::deserialize(JsonValue(&value))
            .map(Self)
            .map_err(|error| Error::Invalid(vec![error.inner().at(error.path())]))
    }
}

impl<T, S> FromRequest<S> for Json<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        if !media_type(request.headers()).is_some_and(|essence| is_json(&essence)) {
            return Err(Error::UnsupportedMediaType {
                expected: "application/json in UTF-8",
            });
        }
        let limit_bytes = request
            .extensions()
            .get::<BodyLimit>()
            .map_or(AXUM_LIMIT_BYTES, |limit| limit.0);
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => Error::TooLarge { limit_bytes },
                _ => Error::BadRequest {
                    detail: "the body ended before it was complete".to_owned(),
                },
            })?;
        Self::from_bytes(&bytes)
    }
}

impl<T, S> OptionalFromRequest<S> for Json<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>> {
        let empty = axum::body::HttpBody::is_end_stream(request.body());
        if empty || !request.headers().contains_key(CONTENT_TYPE) {
            return Ok(None);
        }
        <Self as FromRequest<S>>::from_request(request, state).await.map(Some)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(bytes) => ([(CONTENT_TYPE, "application/json")], bytes).into_response(),
            Err(error) => Error::internal(error).into_response(),
        }
    }
}

/// Returns the body's media type in lower case and without parameters; `None` if `Content-Type` names a charset other
/// than UTF-8.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<String> {
    let mut parts = headers.get(CONTENT_TYPE)?.to_str().ok()?.split(';');
    let essence = parts.next()?.trim().to_ascii_lowercase();
    let parameters = parts.filter_map(|parameter| parameter.split_once('='));
    let mut charsets = parameters.filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    let is_utf_8 = charsets.all(|(_, charset)| {
        let charset = charset.trim().trim_matches('"');
        ["utf-8", "utf8"]
            .iter()
            .any(|known| charset.eq_ignore_ascii_case(known))
    });
    is_utf_8.then_some(essence)
}

/// Returns whether a media type is `application/json` or `application/*+json`.
fn is_json(essence: &str) -> bool {
    essence
        .strip_prefix("application/")
        .is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::routing::post;
    use serde::Deserialize;
    use tower::ServiceExt;

    use super::*;

    #[derive(Debug, Deserialize, Serialize)]
    #[serde(deny_unknown_fields)]
    struct Campaign {
        name: String,
        budget: u32,
        #[serde(default)]
        labels: Vec<Label>,
        owner: Option<Label>,
    }

    #[derive(Debug, Deserialize, Serialize)]
    #[serde(deny_unknown_fields)]
    struct Label {
        text: String,
    }

    fn wrong(body: &str) -> Vec<(String, String)> {
        match Json::<Campaign>::from_bytes(body.as_bytes()) {
            Err(Error::Invalid(errors)) => errors.into_iter().map(|e| (e.field, e.detail)).collect(),
            other => panic!("{body} gave {other:?}"),
        }
    }

    fn one(field: &str, detail: &str) -> Vec<(String, String)> {
        vec![(field.to_owned(), detail.to_owned())]
    }

    #[test]
    fn wrong_fields_are_named_by_their_path() {
        assert_eq!(wrong(r#"{"name":"x"}"#), one("budget", "is missing, and required"));
        assert_eq!(
            wrong(r#"{"name":"x","budget":"y"}"#),
            one(
                "budget",
                "expected a whole number of 32 bits, not below 0, found a string"
            )
        );
        assert_eq!(
            wrong(r#"{"name":"x","budgett":1}"#),
            one(
                "budgett",
                "is unknown: expected one of `name`, `budget`, `labels`, `owner`"
            )
        );
        assert_eq!(
            wrong(r#"{"name":"x","budget":1,"name":"y"}"#),
            one("name", "is given more than once")
        );
        assert_eq!(
            wrong(r#"{"name":"x","budget":1,"labels":[{"text":"a"},{}]}"#),
            one("labels[1].text", "is missing, and required")
        );
        assert_eq!(
            wrong(r#"{"name":"x","budget":1,"labels":[{"tex":"a"}]}"#),
            one("labels[0].tex", "is unknown: expected `text`")
        );
        assert_eq!(
            wrong(r#"{"name":"x","budget":1,"owner":{"text":"a","owner":1}}"#),
            one("owner.owner", "is unknown: expected `text`")
        );
        assert_eq!(wrong("[]"), one("$", "expected an object, found a list"));
        assert_eq!(
            wrong(r#"["x",1,[],null]"#),
            one("$", "expected an object, found a list")
        );
        assert_eq!(
            wrong(r#"{"name":"x","budget":1,"labels":[["a"]]}"#),
            one("labels[0]", "expected an object, found a list")
        );
        assert_eq!(
            wrong(r#"{"name":"x","budget":1,"owner":["a"]}"#),
            one("owner", "expected an object, found a list")
        );
        assert_eq!(wrong("7"), one("$", "expected an object, found a whole number"));
    }

    #[test]
    fn a_field_with_the_name_of_its_parent_is_named_by_its_path() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Node {
            #[expect(dead_code, reason = "only its absence matters")]
            id: u32,
            #[serde(rename = "in")]
            _in: Option<Box<Node>>,
        }
        let field = |body: &str| match Json::<Node>::from_bytes(body.as_bytes()) {
            Err(Error::Invalid(errors)) => errors[0].field.clone(),
            other => panic!("{body} gave {other:?}"),
        };
        assert_eq!(field(r#"{"id":1,"in":{"in":null,"in":null}}"#), "in.in");
        assert_eq!(field(r#"{"id":1,"in":{"id":1,"in":{}}}"#), "in.in.id");
        assert_eq!(field(r#"{"id":1,"in":{"id":1,"inn":{}}}"#), "in.inn");
    }

    #[test]
    fn json_that_some_parsers_cannot_read_is_refused_by_its_path() {
        let errors = wrong(r#"{"name":"x","budget":1e999}"#);
        assert!(
            errors[0].0 == "budget" && errors[0].1.contains("a number"),
            "{errors:?}"
        );
        let errors = wrong(r#"{"name":"x","more":[0,{"n":18446744073709551616}]}"#);
        assert_eq!(errors[0].0, "more[1].n");
        let deep = |levels: usize| format!(r#"{{"name":{}{}}}"#, "[".repeat(levels - 1), "]".repeat(levels - 1));
        let errors = wrong(&deep(101));
        assert!(
            errors[0].0.starts_with("name[0]") && errors[0].1.contains("100 levels"),
            "{errors:?}"
        );
        assert!(wrong(&deep(100))[0].1.contains("expected a string"));
    }

    #[test]
    fn an_error_does_not_quote_the_value_and_cuts_a_long_name() {
        let body = format!(r#"{{"name":"x","budget":"{}"}}"#, "y".repeat(100_000));
        assert!(!wrong(&body)[0].1.contains("yy"));
        let body = format!(r#"{{"{}":"x"}}"#, "y".repeat(100_000));
        assert!(wrong(&body)[0].0.chars().count() <= 301);
    }

    #[test]
    fn invalid_json_is_refused_with_its_line_and_column() {
        for (body, words) in [
            ("", "the body is empty: send JSON"),
            (" \n", "the body is empty: send JSON"),
            (
                "{\n  \"name\": ,}",
                "the body isn't JSON: expected value at line 2 column 11",
            ),
            (
                "{",
                "the body isn't JSON: EOF while parsing an object at line 1 column 1",
            ),
            (
                r#"{"name":"x","budget":1} x"#,
                "the body isn't JSON: trailing characters at line 1 column 25",
            ),
        ] {
            match Json::<Campaign>::from_bytes(body.as_bytes()) {
                Err(Error::BadRequest { detail }) => assert_eq!(detail, words),
                other => panic!("{body} gave {other:?}"),
            }
        }
    }

    #[test]
    fn nul_is_refused_by_its_path() {
        let words = "contains U+0000, which can't be stored";
        assert_eq!(wrong(r#"{"name":"a\u0000b","budget":1}"#), one("name", words));
        assert_eq!(
            wrong(r#"{"name":"x","budget":1,"labels":[{"text":"a"},{"text":"\u0000"}]}"#),
            one("labels[1].text", words)
        );
        assert_eq!(wrong(r#"{"na\u0000me":"x"}"#), one("na\u{FFFD}me", words));
        assert_eq!(wrong(r#""\u0000""#), one("$", words));
        // A backslash and letters, not U+0000.
        assert!(Json::<Campaign>::from_bytes(br#"{"name":"\\u0000","budget":1}"#).is_ok());
        let many = format!("[{}]", vec![r#""\u0000""#; 1000].join(","));
        assert_eq!(wrong(&many).len(), 20);
    }

    async fn send(content_type: Option<&str>, body: &str) -> (StatusCode, Value) {
        let router = Router::new()
            .route("/", post(async |Json(campaign): Json<Campaign>| Json(campaign)))
            .route(
                "/maybe",
                post(async |body: Option<Json<Campaign>>| Json(body.is_some())),
            )
            .layer(body_limit(100));
        let path = if body.is_empty() { "/maybe" } else { "/" };
        let mut request = Request::builder().method("POST").uri(path);
        if let Some(content_type) = content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let response = router
            .oneshot(request.body(Body::from(body.to_owned())).unwrap())
            .await
            .unwrap();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    #[tokio::test]
    async fn errors_are_problem_documents() {
        let good = r#"{"name":"x","budget":1}"#;
        for content_type in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/json;charset=\"UTF8\"; version=1",
            "application/merge-patch+json",
        ] {
            assert_eq!(send(Some(content_type), good).await.0, StatusCode::OK, "{content_type}");
        }
        for content_type in [
            None,
            Some("text/plain"),
            Some("application/jsonx"),
            Some("application/xjson"),
            Some("application/json; charset=iso-8859-1"),
            Some("application/json;Charset=\"utf-16\""),
            Some("application/x-www-form-urlencoded"),
        ] {
            let (status, problem) = send(content_type, good).await;
            assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type:?}");
            assert_eq!(problem["type"], "/problems/unsupported-media-type");
        }
        let (status, problem) = send(Some("application/json"), &"x".repeat(101)).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(problem["detail"], "the body is larger than 100 bytes");
        assert_eq!(send(None, "").await, (StatusCode::OK, Value::Bool(false)));
    }

    #[tokio::test]
    async fn a_response_that_cannot_be_serialised_is_a_defect() {
        let unwritable = BTreeMap::from([(vec![1], 1)]);
        assert_eq!(
            Json(unwritable).into_response().status(),
            StatusCode::INTERNAL_SERVER_ERROR
        );
    }

    /// serde reads both from a buffer, where the path doesn't lead to the field.
    #[test]
    fn an_unknown_field_is_named_beside_a_tag_and_a_flattened_struct() {
        #[derive(Debug, Deserialize)]
        #[serde(tag = "kind", deny_unknown_fields)]
        enum Tagged {
            A {
                #[expect(dead_code, reason = "only read")]
                x: u8,
            },
        }
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Flattened {
            #[serde(flatten)]
            #[expect(dead_code, reason = "only read")]
            label: Label,
        }
        let fields = |error: Error| match error {
            Error::Invalid(fields) => fields.into_iter().map(|field| field.field).collect::<Vec<_>>(),
            other => panic!("{other}"),
        };
        let tagged = Json::<Tagged>::from_bytes(br#"{"kind": "A", "x": 1, "y": 2}"#).unwrap_err();
        assert_eq!(fields(tagged), ["y"]);
        let flattened = Json::<Flattened>::from_bytes(br#"{"text": "x", "colour": 1}"#).unwrap_err();
        assert_eq!(fields(flattened), ["colour"]);
    }
}
