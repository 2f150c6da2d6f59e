//! What was asked for, held without copying: a request's parts share their bytes.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, MatchedPath};
use axum::http::{HeaderName, HeaderValue, Method, Request, Uri, Version, header};

use super::fields::{Fields, Text, Value};
use super::redaction::REDACTED;

/// The part of a request that events have.
#[derive(Debug, Clone)]
pub(super) struct RequestHead {
    pub(super) method: Method,
    uri: Uri,
    version: Version,
    route: Option<MatchedPath>,
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
            route: request.extensions().get::<MatchedPath>().cloned(),
            user_agent: request.headers().get(header::USER_AGENT).cloned(),
            peer: request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0),
            headers: kept.collect(),
        }
    }

    /// The path as the router has it: `/v1/teams/{team_id}/threads`. None where no route matched.
    pub(super) fn route(&self) -> Option<&str> {
        self.route.as_ref().map(MatchedPath::as_str)
    }

    /// What can't hold a secret: it is one of a few.
    pub(super) fn plain_fields(&self, fields: &mut Fields) {
        fields.push("method", method(&self.method));
        if let Some(route) = self.route() {
            fields.push("route", Text::from(route));
        }
        fields.push("http_version", version(self.version));
    }

    /// What the client chose freely.
    pub(super) fn free_fields(&self, fields: &mut Fields) {
        fields.push("path", Text::from(self.uri.path()));
        if let Some(query) = self.uri.query() {
            fields.push_unless_there("query", query_fields(query));
        }
        if let Some(user_agent) = &self.user_agent {
            fields.push_unless_there("user_agent", text(user_agent));
        }
        if let Some(peer) = self.peer {
            fields.push_unless_there("ip", peer.ip().to_canonical().to_string());
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
            fields.push_unless_there("headers", headers);
        }
    }
}

/// By name, so that rules for names reach them; of a name that comes again, the last.
fn query_fields(query: &str) -> Fields {
    let mut fields = Fields::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        // A name with dots is one name.
        let place = fields.put(name.into_owned(), Text::from(value).into());
        if place.is_err() {
            break;
        }
    }
    fields
}

fn text(value: &HeaderValue) -> Value {
    Text::from_utf8_lossy(value.as_bytes()).into()
}

/// hyper takes any word for a method; one of a client's own is told as OpenTelemetry does.
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
