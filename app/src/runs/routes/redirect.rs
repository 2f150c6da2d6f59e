//! Redirects a request to the process that writes the run's log.

use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};

/// Redirects a client to the process that writes the run's log.
pub(super) fn redirect_to(url: &str, uri: &Uri) -> Response {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let location = format!("{}{path}", url.trim_end_matches('/'));
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, location)]).into_response()
}
