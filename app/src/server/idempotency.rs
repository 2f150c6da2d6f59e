//! `Idempotency-Key`: a POST that is sent twice has one effect and one response.
//!
//! The key and a hash of the request are written by the first transaction that the handler begins, and are committed
//! with its work (see `tenancy::Claim`). The response is stored right after, before it is sent. A second request with
//! the same key waits for the first to commit, and then gets the stored response. If the process crashed between the
//! commit and the storing, the second request gets 409 `outcome-unknown`; the work is never done twice.
//!
//! A request that did not commit leaves no key, so a rejected request may be sent again with the same key.

mod store;

use axum::body::{Body, Bytes, HttpBody as _, to_bytes};
use axum::extract::{FromRequest as _, Request, State};
use axum::http::header::{CONTENT_TYPE, ETAG, LOCATION};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use self::store::{ANSWER, store_answer};
use super::AppState;
use crate::error::{Error, Result};
use crate::http::{NoStore, StoredAnswer};
use crate::tenancy::{Claim, DroppedWrites};
use crate::wide_events::{Outcome, WideEvent};

const HEADER: &str = "idempotency-key";
const MAX_KEY_LENGTH: usize = 255;
/// Maximum size of a stored response. If a response is larger, a repeated request gets `outcome-unknown`.
const MAX_STORED_BYTES: usize = 256 * 1024;

pub(super) async fn once(State(state): State<AppState>, request: Request, next: Next) -> Response {
    if request.method() != Method::POST || !request.headers().contains_key(HEADER) {
        return next.run(request).await;
    }
    // Boxed because this case is rare and its future large: other requests should not reserve space for it.
    Box::pin(answer_once(state, request, next)).await
}

/// Runs on its own task, so that the work commits and its response is stored even if the client disconnects in between.
async fn answer_once(state: AppState, request: Request, next: Next) -> Response {
    let answering = async move { answer(&state, request, next).await };
    let answered = tokio::spawn(WideEvent::current().carry(DroppedWrites::carry(answering)));
    match answered.await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => error.into_response(),
        Err(error) => Error::internal(error).into_response(),
    }
}

async fn answer(state: &AppState, request: Request, next: Next) -> Result<Response> {
    let limit_bytes = state.http().body_limit_bytes;
    let key = key(request.headers())?;
    let team_id = team_id(request.uri().path());
    let (mut parts, body) = request.into_parts();
    let body = Bytes::from_request(Request::from_parts(parts.clone(), body), state)
        .await
        .map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Error::TooLarge { limit_bytes },
            _ => Error::BadRequest {
                detail: "the body ended before it was complete".to_owned(),
            },
        })?;

    let mut hash = Sha256::new();
    hash.update(parts.method.as_str());
    hash.update([0]);
    hash.update(parts.uri.to_string());
    hash.update([0]);
    hash.update(&body);
    let claim = Claim::new(key, hash.finalize().into()).with_outcome(ANSWER);
    parts.extensions.insert(claim.clone());

    // This task continues after the request has timed out, so the work needs its own timeout.
    let work = next.run(Request::from_parts(parts, Body::from(body)));
    let response = tokio::time::timeout(state.http().request_timeout, work)
        .await
        .map_err(|_| {
            WideEvent::current().mark_outcome(Outcome::Timeout);
            Error::too_slow(state.http().request_timeout)
        })?;
    match (team_id, claim.holder()) {
        (Some(team_id), Some(actor)) => store_response(state, team_id, &actor, &claim, response).await,
        _ => Ok(response),
    }
}

/// Stores the response to work that has committed.
async fn store_response(
    state: &AppState,
    team_id: Uuid,
    actor: &str,
    claim: &Claim,
    response: Response,
) -> Result<Response> {
    let storable = !response.status().is_server_error()
        && response.extensions().get::<NoStore>().is_none()
        && response
            .body()
            .size_hint()
            .upper()
            .is_some_and(|bytes| bytes <= MAX_STORED_BYTES as u64);
    if !storable {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, MAX_STORED_BYTES).await.map_err(Error::internal)?;
    let header = |name| {
        parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let answer = StoredAnswer {
        status: parts.status.as_u16(),
        content_type: header(CONTENT_TYPE),
        etag: header(ETAG),
        location: header(LOCATION),
        body: body.to_vec(),
    };
    if let Err(error) = store_answer(state.database(), team_id, actor, claim, &answer).await {
        // The work is committed and this client gets its response; only a repeated request would get `outcome-unknown`.
        tracing::warn!(%team_id, "could not store the response for an Idempotency-Key: {error}");
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn key(headers: &HeaderMap) -> Result<String> {
    let mut values = headers.get_all(HEADER).iter();
    let key = values.next().and_then(|value| value.to_str().ok()).unwrap_or_default();
    let shaped = !key.is_empty() && key.len() <= MAX_KEY_LENGTH && key.bytes().all(|byte| byte.is_ascii_graphic());
    if !shaped || values.next().is_some() {
        return Err(Error::invalid(
            "Idempotency-Key",
            format!("must be one value of 1 to {MAX_KEY_LENGTH} visible ASCII characters, such as a UUID"),
        ));
    }
    Ok(key.to_owned())
}

fn team_id(path: &str) -> Option<Uuid> {
    Uuid::try_parse(path.strip_prefix("/v1/teams/")?.split('/').next()?).ok()
}
