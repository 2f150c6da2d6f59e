//! The head of a request, kept without copying: its parts share their bytes.

use std::net::SocketAddr;

use http::{HeaderName, HeaderValue, Method, Request, Uri, Version, header};

use super::axum_extensions::{self, Route};
use super::bounded::{MAX_CLIENT_TEXT_BYTES, MAX_QUERY_BYTES, bounded, cut};
use super::fields::{Fields, Text, Value};
use super::redaction::REDACTED;

/// Maximum length of a query parameter's name in an event.
const MAX_PARAMETER_NAME_BYTES: usize = 256;

/// The parts of a request's head that its event has.
#[derive(Debug, Clone)]
pub(super) struct RequestHead {
    pub(super) method: Method,
    uri: Uri,
    version: Version,
    route: Option<Route>,
    user_agent: Option<HeaderValue>,
    peer: Option<SocketAddr>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl RequestHead {
    pub(super) fn of<B>(request: &Request<B>, headers: &[HeaderName]) -> Self {
        let kept = headers.iter().filter_map(|name| {
            let value = request.headers().get(name)?;
            Some((name.clone(), value.clone()))
        });
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            route: axum_extensions::route(request.extensions()),
            user_agent: request.headers().get(header::USER_AGENT).cloned(),
            peer: axum_extensions::peer(request.extensions()),
            headers: kept.collect(),
        }
    }

    /// Returns the matched route, such as `/v1/teams/{team_id}/threads`. None if no route matched.
    pub(super) fn route(&self) -> Option<&str> {
        self.route.as_ref().map(Route::as_str)
    }

    /// Adds the fields that can't contain a secret, because they have one of a few known values.
    pub(super) fn add_safe_fields(&self, fields: &mut Fields) {
        fields.push("method", method(&self.method));
        if let Some(route) = self.route() {
            fields.push("route", Text::from(route));
        }
        fields.push("http_version", version(self.version));
    }

    /// Adds the fields with text that the client can choose freely.
    pub(super) fn add_client_fields(&self, fields: &mut Fields) {
        fields.push("path", Text::from(bounded(self.uri.path(), MAX_CLIENT_TEXT_BYTES)));
        if let Some(query) = self.uri.query() {
            fields.push_if_absent("query", query_fields(query));
        }
        if let Some(user_agent) = &self.user_agent {
            fields.push_if_absent("user_agent", text(user_agent));
        }
        if let Some(peer) = self.peer {
            fields.push_if_absent("ip", peer.ip().to_canonical().to_string());
        }
        if !self.headers.is_empty() {
            let mut headers = Fields::with_capacity(self.headers.len());
            for (name, value) in &self.headers {
                let value = if value.is_sensitive() {
                    Value::from(REDACTED)
                } else {
                    text(value)
                };
                headers.push(name.as_str().to_owned(), value);
            }
            fields.push_if_absent("headers", headers);
        }
    }
}

/// Converts a query to an object with its parameters' names, so that rules for names apply. If a name is repeated, the
/// last value counts.
fn query_fields(query: &str) -> Fields {
    let mut fields = Fields::default();
    let mut bytes = 0;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let name = bounded(&name, MAX_PARAMETER_NAME_BYTES).into_owned();
        let value = bounded(&value, MAX_CLIENT_TEXT_BYTES);
        bytes += name.len() + value.len();
        // `put` doesn't treat dots in a name as a path.
        let place = match bytes > MAX_QUERY_BYTES {
            true => fields.put(
                "…".to_owned(),
                format!("the query is longer: {} bytes", query.len()).into(),
            ),
            false => fields.put(name, Text::from(value).into()),
        };
        if place.is_err() || bytes > MAX_QUERY_BYTES {
            break;
        }
    }
    fields
}

fn text(value: &HeaderValue) -> Value {
    // Only the part that can be kept is decoded.
    let bytes = value.as_bytes();
    let readable = bytes.get(..MAX_CLIENT_TEXT_BYTES + 4).unwrap_or(bytes);
    let text = String::from_utf8_lossy(readable);
    match bytes.len() > MAX_CLIENT_TEXT_BYTES {
        false => Text::from(text).into(),
        true => Text::from(cut(&text, MAX_CLIENT_TEXT_BYTES, bytes.len())).into(),
    }
}

/// Returns the name of a method. hyper accepts any word; an unknown method is `_OTHER`, as in OpenTelemetry.
fn method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        "CONNECT" => "CONNECT",
        "TRACE" => "TRACE",
        _ => "_OTHER",
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}
