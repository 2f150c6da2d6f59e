//! Routes that open a live socket and issue tickets for it.

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

use super::handle::Live;
use super::limits::MAX_MESSAGE_BYTES;
use crate::auth::tickets;
use crate::error::{Error, Result};
use crate::http::{Core, Json, NoStore, Query, ServiceState, Team};
use crate::tenancy::Role;
use crate::wide_events::WideEvent;

/// Returns the live socket's routes, under `/v1/teams/{team_id}`.
pub fn routes<S>() -> OpenApiRouter<S>
where
    S: ServiceState,
    Live: FromRef<S>,
{
    OpenApiRouter::new()
        .routes(routes!(open_live_socket))
        .routes(routes!(issue_live_ticket))
}

/// Query parameters of the live socket.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct LiveParams {
    /// A ticket. It replaces the Authorization header, which a browser can't set here.
    ticket: Option<String>,
}

/// A ticket that opens one socket, once.
#[derive(Debug, Serialize, ToSchema)]
struct LiveTicket {
    /// The value for `?ticket=`. It is shown only here.
    ticket: String,
    /// When the ticket expires.
    expires_at: DateTime<Utc>,
}

/// Issues a ticket for one live socket. Pages need it, because a browser can't set headers on a WebSocket.
#[utoipa::path(
    post, path = "/live/tickets", tag = "live",
    responses(
        (status = 201, body = LiveTicket),
        (status = 401, description = "No credential"),
        (status = 404, description = "No such team"),
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

/// The caller, authenticated by a ticket or by the Authorization header.
struct SocketCaller(Team);

impl<S: ServiceState> FromRequestParts<S> for SocketCaller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let Query(LiveParams { ticket }) = Query::from_request_parts(parts, state).await?;
        let team = match ticket {
            Some(ticket) => Team::of_ticket(state.core(), parts, &ticket, None).await,
            None => Team::from_request_parts(parts, state).await,
        };
        team.map(Self)
    }
}

/// Opens a WebSocket on which a client follows threads, notifications, jobs and runs. `docs/live.md` describes the
/// frames.
#[utoipa::path(
    get, path = "/live", tag = "live", params(LiveParams),
    responses(
        (status = 101, description = "The WebSocket is open"),
        (status = 400, description = "Not a valid WebSocket request"),
        (status = 401, description = "No credential, or an invalid ticket"),
        (status = 403, description = "The page's origin is not allowed"),
        (status = 404, description = "No such team"),
        (status = 503, description = "The limit of open sockets is reached"),
    )
)]
async fn open_live_socket(
    State(core): State<Core>,
    State(live): State<Live>,
    headers: HeaderMap,
    event: WideEvent,
    SocketCaller(team): SocketCaller,
    upgrade: Result<Upgrade>,
) -> Result<Response> {
    refuse_foreign_origin(&headers, core.allowed_origins())?;
    let tx = team.read().await?;
    let context = tx.context().clone();
    tx.commit().await?;
    // The upgrade is checked after the membership: for a caller who isn't in the team, this address doesn't exist.
    let Upgrade(upgrade) = upgrade?;
    let guard = live.admit(&team, &context)?;
    let upgrade = upgrade
        // Most sockets are idle, and the frames of clients are short.
        .read_buffer_size(4 * 1024)
        .write_buffer_size(0)
        .max_message_size(MAX_MESSAGE_BYTES)
        .max_frame_size(MAX_MESSAGE_BYTES);
    // The socket has its own wide event, which is written when it closes.
    Ok(upgrade.on_upgrade(move |socket| event.unit("socket", guard.serve(socket))))
}

/// A WebSocket upgrade. An invalid request is rejected with a problem document.
struct Upgrade(WebSocketUpgrade);

impl<S: ServiceState> FromRequestParts<S> for Upgrade {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        check_key(&parts.headers)?;
        WebSocketUpgrade::from_request_parts(parts, state)
            .await
            .map(Self)
            .map_err(|rejection| Error::BadRequest {
                detail: format!(
                    "this address accepts only WebSocket requests: {}",
                    rejection.body_text()
                ),
            })
    }
}

/// Checks the header `Sec-WebSocket-Key`: it must be 16 random bytes in base64 (RFC 6455 §4.1).
fn check_key(headers: &HeaderMap) -> Result<()> {
    // If the header is missing, the extractor reports it.
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

/// Refuses requests from pages of other origins. Such a page could use credentials that its visitor's browser sends.
/// Programs send no `Origin`.
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
        detail: "pages of this origin can't open sockets here; DAYBOOK_ALLOWED_ORIGINS lists the allowed origins"
            .to_owned(),
    })
}
