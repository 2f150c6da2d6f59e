//! Reads a run's log over HTTP: as server-sent events, as NDJSON, or in pages.

use axum::Extension;
use axum::extract::{OriginalUri, State};
use axum::http::header::{self, HeaderValue};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use daybook_run_log::RunKey;
use rand::Rng as _;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::read_request::{AdmittedReader, Caller, ReadParams, ReadRequest, ResponseFormat};
use super::readable_log::{RETRY_MS, ReadableLog, RunEventsPage, UNBUFFERED};
use super::redirect::redirect_to;
use super::run_key::key;
use crate::auth::tickets;
use crate::error::{Error, Result};
use crate::http::{Core, Json, NoStore, Path, Problem, ServiceState, Team};
use crate::runs::store;
use crate::runs::streaming::Form;
use crate::tenancy::Role;
use crate::wide_events::{EventError, WideEvent};

pub(super) fn routes<S: ServiceState>() -> OpenApiRouter<S> {
    OpenApiRouter::new()
        .routes(routes!(read_run_events))
        .routes(routes!(issue_run_ticket))
}

/// A ticket to read one run's log. It is for browsers, which can't set headers on such requests.
#[derive(Debug, Serialize, ToSchema)]
struct RunTicket {
    /// The secret for `?ticket=`. It is returned only once.
    ticket: String,
    /// The time at which the ticket expires.
    expires_at: DateTime<Utc>,
}

/// Issues a ticket to read one run's log. It can be used several times until it expires: after half a day, or when your
/// token expires.
#[utoipa::path(
    post, path = "/runs/{run_id}/tickets", tag = "runs", params(("run_id" = Uuid, Path, description = "The run")),
    responses((status = 201, body = RunTicket), (status = 404, description = "No such team or run"))
)]
async fn issue_run_ticket(team: Team, Path(run_id): Path<Uuid>) -> Result<impl IntoResponse> {
    let tx = team.begin_as(Role::Viewer).await?;
    store::get(&tx, run_id).await?;
    let issued = tickets::issue(&tx, team.expires_at(), Some(run_id)).await?;
    tx.commit().await?;
    let ticket = RunTicket {
        ticket: issued.ticket,
        expires_at: issued.expires_at,
    };
    Ok((StatusCode::CREATED, Extension(NoStore), Json(ticket)))
}

/// Reads a run's log. Server-sent events (`Accept: text/event-stream`) continue until the run ends. Each line has its
/// number as `id`, and the last event is `end`. NDJSON (`Accept: application/x-ndjson`) can be read by byte ranges.
/// Otherwise, also without `Accept`, the response is a page of JSON. `stream=true` has priority over `Accept`.
/// `Last-Event-ID` has priority over `lastEventId`, and both have priority over `from_sequence` and `after_sequence`.
#[utoipa::path(
    get, path = "/runs/{run_id}/events", tag = "runs",
    params(("run_id" = Uuid, Path, description = "The run"), ReadParams),
    responses(
        (status = 200, content((RunEventsPage = "application/json"), (String = "application/x-ndjson"), (String = "text/event-stream"))),
        (status = 204, description = "Server-sent events of a run that has ended, after its last line"),
        (status = 206, description = "A range of bytes of the NDJSON"),
        (status = 307, description = "Another process has the run's log; `Location` is its URL"),
        (status = 401, description = "No credential, or an invalid ticket"),
        (status = 404, description = "No such team or run"),
        (status = 406, description = "`Accept` allows none of the three formats"),
        (status = 410, description = "The log was deleted after its retention time"),
        (status = 416, description = "The range begins after the end of the log"),
        (status = 422, description = "A parameter is invalid"),
        (status = 503, description = "This process or the team has the maximum number of readers; an event stream gets 200 and is empty"),
    )
)]
async fn read_run_events(
    State(core): State<Core>,
    caller: Result<Caller>,
    Path(run_id): Path<Uuid>,
    headers: HeaderMap,
    OriginalUri(uri): OriginalUri,
) -> Result<Response> {
    let answer = ResponseFormat::requested(&headers, &uri);
    let is_sse = answer == Some(ResponseFormat::EventStream);
    let read = async {
        let Caller(team, params) = caller?;
        match answer {
            Some(answer) => read_events(&core, &team, &params, run_id, &headers, &uri, answer).await,
            None => Ok(not_acceptable()),
        }
    };
    let mut response = match read.await {
        // A browser reconnects after a response only if the response was an event stream.
        Err(error @ Error::Unavailable { .. }) if is_sse => retry_later(&error),
        read => read?,
    };
    let origin = headers.get(header::ORIGIN);
    let allowed = core.allowed_origins();
    if let Some(origin) = origin.filter(|origin| allowed.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()))
    {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
    }
    Ok(response)
}

fn not_acceptable() -> Response {
    let detail = "Accept must allow application/json, text/event-stream or application/x-ndjson";
    Problem::new(StatusCode::NOT_ACCEPTABLE, "not-acceptable", detail).into_response()
}

/// Returns an event stream that ends at once, so that the browser reconnects later.
fn retry_later(error: &Error) -> Response {
    WideEvent::current().mark_error(EventError::new(error.kind(), error.to_string()).retriable(true));
    let retry = rand::rng().random_range(RETRY_MS);
    let body = format!("retry: {retry}\n: {error}\n\n");
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("no-cache, no-transform"),
        ),
        UNBUFFERED,
    ];
    (headers, body).into_response()
}

async fn read_events(
    core: &Core,
    team: &Team,
    params: &ReadParams,
    run_id: Uuid,
    headers: &HeaderMap,
    uri: &Uri,
    answer: ResponseFormat,
) -> Result<Response> {
    let request = params.read_request(headers)?;
    let limit = params.limit()?;
    let run = key(team, run_id);
    let tx = team.read().await?;
    let row = store::get(&tx, run_id).await?;
    tx.commit().await?;
    if row.log_state == "deleted" {
        return Err(Error::Gone {
            detail: "the run's log was deleted after its retention time; the run and its summary are kept".to_owned(),
        });
    }
    // This comes before the log is opened, so that a refused reader costs no file descriptor.
    let reader = match answer {
        ResponseFormat::EventStream | ResponseFormat::Ndjson => Some(AdmittedReader::of(core, team)?),
        ResponseFormat::Page => None,
    };
    let opened = match ReadableLog::of(core, run).await? {
        Ok(opened) => opened,
        Err(url) => return Ok(redirect_to(&url, uri)),
    };
    match (answer, reader) {
        (ResponseFormat::EventStream, Some(reader)) => opened.lines(core, reader, &request, Form::Sse).await,
        (ResponseFormat::Ndjson, Some(reader)) if params.follow => {
            opened.lines(core, reader, &request, Form::Ndjson).await
        }
        (ResponseFormat::Ndjson, Some(reader)) => opened.ndjson(core, reader, &request, headers).await,
        (ResponseFormat::Page, _) | (_, None) => opened.page(&request, limit).await,
    }
}

/// Streams the lines of a run whose log this process writes.
pub(super) async fn lines(
    core: &Core,
    team: &Team,
    run: RunKey,
    request: &ReadRequest,
    form: Form,
) -> Result<Response> {
    let reader = AdmittedReader::of(core, team)?;
    match ReadableLog::of(core, run).await? {
        Ok(opened) => opened.lines(core, reader, request, form).await,
        Err(_) => Err(Error::not_found("run log")),
    }
}
