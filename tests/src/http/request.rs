//! A request to the service, and its response.

use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::header::{CONTENT_TYPE, ETAG, IF_MATCH};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use serde_json::Value;
use tower::ServiceExt;

/// A request that is sent when it is awaited.
#[derive(Clone, Debug)]
#[must_use = "a request is not sent until it is awaited"]
pub struct TestRequest {
    pub(super) router: Router,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl TestRequest {
    /// Sets a JSON body.
    pub fn json(self, body: Value) -> Self {
        self.header(CONTENT_TYPE.as_str(), "application/json")
            .body(body.to_string())
    }

    /// Sets a body of any bytes, without changing its content type.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets a header, and replaces a header of the same name.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, value.parse().unwrap());
        self
    }

    /// Removes a header.
    pub fn without_header(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    /// Sets `If-Match` to this version.
    pub fn if_match(self, etag: &str) -> Self {
        self.header(IF_MATCH.as_str(), etag)
    }

    /// Sets an `Idempotency-Key`.
    pub fn idempotency_key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    /// Returns the bytes that a client sends over HTTP/1.1, on a connection that it does not use again.
    pub fn http1_bytes(&self) -> Vec<u8> {
        let mut text = format!(
            "{} {} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n",
            self.method, self.path
        );
        text.push_str(&format!("content-length: {}\r\n", self.body.len()));
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    async fn send(self) -> TestResponse {
        let request_line = format!("{} {}", self.method, self.path);
        let mut request = Request::builder().method(self.method).uri(&self.path);
        *request.headers_mut().unwrap() = self.headers;
        let response = self
            .router
            .oneshot(request.body(Body::from(self.body)).unwrap())
            .await
            .unwrap();
        let (parts, body) = response.into_parts();
        TestResponse {
            request_line,
            status: parts.status,
            headers: parts.headers,
            body: to_bytes(body, usize::MAX).await.unwrap().to_vec(),
        }
    }
}

impl IntoFuture for TestRequest {
    type Output = TestResponse;
    type IntoFuture = Pin<Box<dyn Future<Output = TestResponse> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// The response to a request.
pub struct TestResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, byte for byte.
    pub body: Vec<u8>,
    request_line: String,
}

impl fmt::Debug for TestResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} returned {}: {}", self.request_line, self.status, self.text())
    }
}

impl TestResponse {
    /// Returns the body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }

    /// Returns a header.
    pub fn header(&self, name: &str) -> Option<String> {
        Some(self.headers.get(name)?.to_str().unwrap().to_owned())
    }

    /// Returns the `ETag`.
    pub fn etag(&self) -> String {
        self.header(ETAG.as_str())
            .unwrap_or_else(|| panic!("{self:?} has no ETag"))
    }

    /// Asserts this status.
    pub fn is(self, status: StatusCode) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Asserts a success, and returns its JSON; null for an empty body.
    pub fn ok(self) -> Value {
        assert!(self.status.is_success(), "{self:?}");
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// Asserts a complete problem document with this status and code, and returns it.
    pub fn problem(self, status: StatusCode, code: &str) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(
            self.header("content-type").as_deref(),
            Some("application/problem+json"),
            "{self:?}"
        );
        let problem = self.json();
        assert_eq!(problem["type"], format!("/problems/{code}"), "{self:?}");
        assert_eq!(problem["status"], status.as_u16(), "{self:?}");
        assert!(!problem["title"].as_str().unwrap().is_empty(), "{self:?}");
        assert!(!problem["detail"].as_str().unwrap().is_empty(), "{self:?}");
        assert_eq!(problem["request_id"], self.header("x-request-id").unwrap(), "{self:?}");
        problem
    }

    /// Asserts a 422, and returns the names of the invalid fields, in order.
    pub fn wrong_fields(self) -> Vec<String> {
        let problem = self.problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid");
        let errors = problem["errors"].as_array().unwrap().clone();
        errors
            .iter()
            .map(|error| {
                assert!(!error["detail"].as_str().unwrap().is_empty(), "{problem}");
                error["field"].as_str().unwrap().to_owned()
            })
            .collect()
    }
}
