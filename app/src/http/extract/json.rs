//! JSON bodies.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, OptionalFromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::nul::refuse_nul;
use super::objects::ObjectsOnly;
use super::wrong_field::wrong_field;
use crate::error::{Error, Result};
use crate::json::fault_in;

/// axum's own limit, which holds where [`body_limit`] isn't used.
const AXUM_LIMIT_BYTES: usize = 2 * 1024 * 1024;
/// A JSON body, read or written.
///
/// Reading refuses with 415 what isn't sent as JSON in UTF-8, with 413 what is too large, with 400 what isn't JSON (by
/// line and column), and with 422 what isn't a `T`, by the path of the field: also a list where a struct is expected,
/// more than [`MAX_JSON_DEPTH`](crate::json::MAX_JSON_DEPTH) levels, and numbers beyond 64 bits. `Option<Json<T>>` is
/// `None` for a request without a `Content-Type`, or without a body.
///
/// A `T` that can't be written is a defect: [`Error::Internal`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Json<T>(pub T);

/// The largest body, in bytes, as an extension of the request, so that a refusal can name it.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimit(pub usize);

/// A layer that limits what extractors read of a body.
///
/// The extractor refuses, not the layer: so the refusal is a problem like any other.
pub fn body_limit(bytes: usize) -> (Extension<BodyLimit>, DefaultBodyLimit) {
    (Extension(BodyLimit(bytes)), DefaultBodyLimit::max(bytes))
}

impl<T: DeserializeOwned> Json<T> {
    /// Reads a whole body.
    ///
    /// # Errors
    ///
    /// [`Error::BadRequest`] for what isn't JSON, [`Error::Invalid`] for what isn't a `T`, and for JSON that is too deep
    /// or has numbers that not every reader takes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(Error::BadRequest {
                detail: "the body is empty: send JSON".to_owned(),
            });
        }
        if let Some(fault) = fault_in(bytes) {
            return Err(Error::Invalid(vec![fault]));
        }
        refuse_nul(bytes)?;
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let value = serde_path_to_error::deserialize(ObjectsOnly(&mut deserializer)).map_err(|error| {
            match error.inner().classify() {
                Category::Data => Error::Invalid(vec![wrong_field(error.path(), &error.inner().to_string())]),
                Category::Syntax | Category::Eof | Category::Io => not_json(error.inner()),
            }
        })?;
        deserializer.end().map_err(|error| not_json(&error))?;
        Ok(Self(value))
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

/// What the body is, in lower case and without parameters, if it is in UTF-8: `Content-Type` names no other charset.
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

/// `application/json` and `application/*+json`.
fn is_json(essence: &str) -> bool {
    essence
        .strip_prefix("application/")
        .is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

fn not_json(error: &serde_json::Error) -> Error {
    Error::BadRequest {
        detail: format!("the body isn't JSON: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::routing::post;
    use serde::Deserialize;
    use serde_json::Value;
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
                r#"invalid type: string "y", expected a whole number from 0 on"#
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
        assert_eq!(wrong("[]"), one("$", "invalid type: sequence, expected an object"));
        assert_eq!(
            wrong(r#"["x",1,[],null]"#),
            one("$", "invalid type: sequence, expected an object")
        );
        assert_eq!(
            wrong(r#"{"name":"x","budget":1,"labels":[["a"]]}"#),
            one("labels[0]", "invalid type: sequence, expected an object")
        );
        assert_eq!(
            wrong(r#"{"name":"x","budget":1,"owner":["a"]}"#),
            one("owner", "invalid type: sequence, expected an object")
        );
        assert_eq!(wrong("7"), one("$", "invalid type: integer `7`, expected an object"));
    }

    #[test]
    fn a_field_named_as_its_parent_is_told_apart() {
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
    fn what_not_every_reader_takes_is_refused_by_its_path() {
        let told = wrong(r#"{"name":"x","budget":1e999}"#);
        assert!(told[0].0 == "budget" && told[0].1.contains("a number"), "{told:?}");
        let told = wrong(r#"{"name":"x","more":[0,{"n":18446744073709551616}]}"#);
        assert_eq!(told[0].0, "more[1].n");
        let deep = |levels: usize| format!(r#"{{"name":{}{}}}"#, "[".repeat(levels - 1), "]".repeat(levels - 1));
        let told = wrong(&deep(101));
        assert!(
            told[0].0.starts_with("name[0]") && told[0].1.contains("100 levels"),
            "{told:?}"
        );
        assert!(wrong(&deep(100))[0].1.contains("expected a string"));
    }

    #[test]
    fn long_values_are_not_told_back_in_full() {
        let body = format!(r#"{{"name":"x","budget":"{}"}}"#, "y".repeat(100_000));
        assert!(wrong(&body).first().unwrap().1.chars().count() <= 301);
        let body = format!(r#"{{"{}":"x"}}"#, "y".repeat(100_000));
        assert!(wrong(&body).first().unwrap().0.chars().count() <= 301);
    }

    #[test]
    fn what_is_not_json_is_told_by_line_and_column() {
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
        // A backslash and letters, no U+0000.
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
    async fn requests_are_refused_as_problems() {
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
    async fn what_cannot_be_written_is_a_defect() {
        let unwritable = BTreeMap::from([(vec![1], 1)]);
        assert_eq!(
            Json(unwritable).into_response().status(),
            StatusCode::INTERNAL_SERVER_ERROR
        );
    }
}
