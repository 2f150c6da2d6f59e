//! The extractor that passes the current event to a handler.

use std::convert::Infallible;

use axum_core::extract::FromRequestParts;
use http::request::Parts;

use super::event::WideEvent;

impl<S: Sync> FromRequestParts<S> for WideEvent {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::current())
    }
}
