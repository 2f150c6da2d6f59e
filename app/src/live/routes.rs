//! The way in: the upgrade, and the tickets for it.

use axum::Extension;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRef, FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Live;
use super::limits::MAX_MESSAGE_BYTES;
use crate::auth::tickets;
use crate::error::{Error, Result};
use crate::http::{Core, Json, NoStore, Problem, Query, ServiceState, Team};
use crate::tenancy::Role;
use crate::wide_events::WideEvent;

/// The live socket's routes, under `/v1/teams/{team_id}`.
pub fn routes<S>() -> OpenApiRouter<S>
where
    S: ServiceState,
    Live: FromRef<S>,
{
    OpenApiRouter::new()
        .routes(routes!(open_live_socket))
        .routes(routes!(issue_live_ticket))
}

/// How to come in.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct LiveParams {
    /// Instead of an Authorization header, which a browser can't set here.
    ticket: Option<String>,
}

/// What opens a socket once.
#[derive(Debug, Serialize, ToSchema)]
struct LiveTicket {
    /// For `?ticket=`. It is shown this once.
    ticket: String,
    /// After this it opens nothing.
    expires_at: DateTime<Utc>,
}

/// A ticket for one socket, for a page: a browser can't set headers there.
#[utoipa::path(
    post, path = "/live/tickets", tag = "live",
    responses(
        (status = 201, body = LiveTicket),
        (status = 401, description = "No credential", body = Problem),
        (status = 404, description = "No such team", body = Problem),
    )
)]
async fn issue_live_ticket(team: Team) -> Result<impl IntoResponse> {
    let tx = team.begin_as(Role::Viewer).await?;
    let issued = tickets::issue(&tx, team.expires_at(), None).await?;
    tx.commit().await?;
    let ticket = LiveTicket {
        ticket: issued.ticket,
        expires_at: issued.expires_at,
    };
    Ok((StatusCode::CREATED, Extension(NoStore), Json(ticket)))
}

/// Who asks, by their ticket or by their Authorization header.
struct Caller(Team);

impl<S: ServiceState> FromRequestParts<S> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let Query(LiveParams { ticket }) = Query::from_request_parts(parts, state).await?;
        let Some(ticket) = ticket else {
            return Team::from_request_parts(parts, state).await.map(Self);
        };
        let team_id = Team::id_in_path(parts).await?;
        let ticketed = tickets::redeem(state.core().database(), team_id, &ticket).await?;
        Ok(Self(Team::of_context(
            state.core(),
            parts,
            ticketed.context,
            ticketed.credential_expires_at,
        )))
    }
}

/// A socket on which you follow threads and notifications as they happen. `docs/live.md` has the frames.
#[utoipa::path(
    get, path = "/live", tag = "live", params(LiveParams),
    responses(
        (status = 101, description = "The WebSocket is open"),
        (status = 400, description = "Not a request for a WebSocket", body = Problem),
        (status = 401, description = "No credential, or a ticket that doesn't hold", body = Problem),
        (status = 403, description = "A page of another origin", body = Problem),
        (status = 404, description = "No such team", body = Problem),
        (status = 503, description = "As many sockets as this process takes", body = Problem),
    )
)]
async fn open_live_socket(
    State(core): State<Core>,
    State(live): State<Live>,
    headers: HeaderMap,
    event: WideEvent,
    Caller(team): Caller,
    upgrade: Result<Upgrade>,
) -> Result<Response> {
    refuse_foreign_origin(&headers, core.allowed_origins())?;
    let tx = team.read().await?;
    let context = tx.context().clone();
    tx.commit().await?;
    // Not before it is known that they may be here: a team that isn't theirs has no address either.
    let Upgrade(upgrade) = upgrade?;
    let seat = live.admit(&team, &context)?;
    let upgrade = upgrade
        // Most sockets are idle, and a frame of a client's is short.
        .read_buffer_size(4 * 1024)
        .write_buffer_size(0)
        .max_message_size(MAX_MESSAGE_BYTES)
        .max_frame_size(MAX_MESSAGE_BYTES);
    // The socket has an event of its own, at its end.
    Ok(upgrade.on_upgrade(move |socket| event.unit("socket", seat.serve(socket))))
}

/// A request for a WebSocket; what is none is refused in our words.
struct Upgrade(WebSocketUpgrade);

impl<S: ServiceState> FromRequestParts<S> for Upgrade {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        check_key(&parts.headers)?;
        WebSocketUpgrade::from_request_parts(parts, state)
            .await
            .map(Self)
            .map_err(|rejection| Error::BadRequest {
                detail: format!("this address is a WebSocket's: {}", rejection.body_text()),
            })
    }
}

/// RFC 6455 §4.1: the key is 16 random bytes, in base64.
fn check_key(headers: &HeaderMap) -> Result<()> {
    // Without one the extractor says what is missing.
    let Some(key) = headers.get(header::SEC_WEBSOCKET_KEY) else {
        return Ok(());
    };
    if STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16) {
        return Ok(());
    }
    Err(Error::BadRequest {
        detail: "Sec-WebSocket-Key must be 16 bytes in base64".to_owned(),
    })
}

/// A page of another origin would act with what its visitor's browser may carry. Programs send no `Origin`.
fn refuse_foreign_origin(headers: &HeaderMap, allowed: &[String]) -> Result<()> {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let origin = origin.to_str().unwrap_or_default();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let own = origin
        .split_once("://")
        .is_some_and(|(_, authority)| Some(authority) == host);
    if own || allowed.iter().any(|allowed| allowed == origin) {
        return Ok(());
    }
    Err(Error::Forbidden {
        detail: "pages of this origin can't open sockets here; DAYBOOK_ALLOWED_ORIGINS says which can".to_owned(),
    })
}
