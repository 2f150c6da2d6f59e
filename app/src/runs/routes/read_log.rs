//! Reads a run's log over HTTP: as server-sent events, as NDJSON, or in pages.

use axum::Extension;
use axum::body::Body;
use axum::extract::{OriginalUri, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use daybook_run_log::{Durable, LogEnd, RunKey, Source, offset_of};
use rand::Rng as _;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::watch;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::byte_range::{ByteRange, byte_range};
use super::read_request::{AdmittedReader, Caller, ReadParams, ReadRequest, ResponseFormat, StartAt};
use super::redirect::redirect_to;
use super::run_key::key;
use crate::auth::tickets;
use crate::error::{Error, Result};
use crate::http::{Core, Json, NoStore, Path, Problem, ServiceState, Team};
use crate::runs::registry::{LogLocation, Runs, not_here};
use crate::runs::store;
use crate::runs::streaming::{Following, Form, Reader, byte_stream, line_stream};
use crate::tenancy::Role;
use crate::wide_events::{EventError, WideEvent};

/// The time in milliseconds after which a browser reconnects. It is random, so that not all browsers reconnect at the
/// same time.
const RETRY_MS: std::ops::Range<u32> = 500..2_500;
const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");
/// Tells proxies not to buffer lines.
const UNBUFFERED: (HeaderName, HeaderValue) = (
    HeaderName::from_static("x-accel-buffering"),
    HeaderValue::from_static("no"),
);

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

/// A page of a log.
#[derive(Debug, Serialize, ToSchema)]
struct RunEventsPage {
    /// The lines, in order.
    #[schema(value_type = Vec<Object>)]
    items: Vec<Box<RawValue>>,
    /// The value of `after_sequence` for the next page, now or when there are more lines.
    next_after_sequence: u64,
    /// Whether there are more lines now.
    more: bool,
    /// Whether the run has ended. Then no more lines are added.
    ended: bool,
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
        // A browser does not reconnect after any response that is not an event stream.
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
    // This comes before the log is opened, so that a refused reader costs no descriptor.
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

/// A log that is open for a reader.
struct ReadableLog {
    run: RunKey,
    source: Source,
    /// The number of bytes that may be read.
    bytes: u64,
    durable: Option<watch::Receiver<Durable>>,
    /// Whether the run has ended and the log is complete.
    ended: bool,
}

impl ReadableLog {
    /// Opens a run's log, or returns the URL of the process that has it.
    async fn of(core: &Core, run: RunKey) -> Result<Result<Self, String>> {
        let runs = Runs::of(core.database())?;
        let (durable, bytes, ended) = match runs.find(core.database(), run).await {
            Ok(LogLocation::Elsewhere(url)) => return Ok(Err(url)),
            Ok(LogLocation::Open(open)) => {
                let durable = open.log.durable();
                let bytes = durable.borrow().bytes;
                (Some(durable), Some(bytes), false)
            }
            Ok(LogLocation::Closed) => (None, None, true),
            Ok(LogLocation::NotHere) => return Err(not_here()),
            // The durable part of a log that can't be written now can still be read.
            Err(error) => match (&error, runs.durable_bytes(run)) {
                (Error::Unavailable { .. }, Some(bytes)) => (None, Some(bytes), false),
                _ => return Err(error),
            },
        };
        let source = runs.source(run)?;
        Ok(Ok(Self {
            run,
            bytes: bytes.unwrap_or(source.length()),
            source,
            durable,
            ended,
        }))
    }

    fn has_ended(&self) -> bool {
        let complete = |durable: &watch::Receiver<Durable>| durable.borrow().end == Some(LogEnd::Complete);
        self.ended || self.durable.as_ref().is_some_and(complete)
    }

    /// Returns the log, and the offset of the first requested line.
    async fn seek(self, start: StartAt) -> Result<(Self, u64)> {
        let first = start.first();
        if first == 1 {
            return Ok((self, 0));
        }
        let Self {
            run,
            mut source,
            bytes,
            durable,
            ended,
        } = self;
        let seeking = tokio::task::spawn_blocking(move || {
            let offset = offset_of(&mut source, first, bytes);
            (source, offset)
        });
        let (source, offset) = seeking.await.map_err(Error::internal)?;
        let opened = Self {
            run,
            source,
            bytes,
            durable,
            ended,
        };
        Ok((opened, offset.map_err(Error::internal)?))
    }

    async fn lines(self, core: &Core, reads: AdmittedReader, request: &ReadRequest, form: Form) -> Result<Response> {
        let (opened, offset) = self.seek(request.start).await?;
        if form == Form::Sse && opened.has_ended() && offset >= opened.bytes {
            // A browser that has received all lines must not reconnect.
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        let first = (form == Form::Sse).then(|| {
            let retry = rand::rng().random_range(RETRY_MS);
            Bytes::from(format!("retry: {retry}\n\n"))
        });
        let before = request.start.first() - 1;
        let reader = Reader::new(
            opened.source,
            (offset, before),
            opened.bytes,
            request.filter.clone(),
            form,
            opened.run.run_id,
        );
        let following = Following {
            durable: opened.durable,
            complete: opened.ended,
            closing: Runs::of(core.database())?.closing(),
            permission: reads.permission,
            permit: reads.permit,
        };
        let kind = match form {
            Form::Sse => HeaderValue::from_static("text/event-stream"),
            Form::Ndjson => NDJSON,
        };
        let headers = [
            (header::CONTENT_TYPE, kind),
            (
                header::CACHE_CONTROL,
                HeaderValue::from_static("no-cache, no-transform"),
            ),
            UNBUFFERED,
        ];
        let body = Body::from_stream(line_stream(reader, following, first));
        Ok((Extension(NoStore), headers, body).into_response())
    }

    /// Responds with the log as it is now, or with a byte range of it. Ranges count from the first requested line, at
    /// `request.start`.
    async fn ndjson(
        self,
        core: &Core,
        reads: AdmittedReader,
        request: &ReadRequest,
        headers: &HeaderMap,
    ) -> Result<Response> {
        let ended = self.has_ended();
        let (opened, offset) = self.seek(request.start).await?;
        let (total, run_id) = (opened.bytes.saturating_sub(offset), opened.run.run_id);
        if !request.filter.takes_all() {
            let before = request.start.first() - 1;
            let filter = request.filter.clone();
            let reader = Reader::new(
                opened.source,
                (offset, before),
                opened.bytes,
                filter,
                Form::Ndjson,
                run_id,
            );
            let following = Following {
                durable: None,
                complete: true,
                closing: Runs::of(core.database())?.closing(),
                permission: reads.permission,
                permit: reads.permit,
            };
            let body = Body::from_stream(line_stream(reader, following, None));
            return Ok(([(header::CONTENT_TYPE, NDJSON), UNBUFFERED], body).into_response());
        }
        // A log has an ETag only after the run has ended, because it grows until then.
        let etag = (ended && offset == 0).then(|| format!("\"{run_id}-{total}\""));
        let requested = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
        let requested = requested.filter(|_| match headers.get(header::IF_RANGE) {
            None => true,
            Some(version) => etag
                .as_deref()
                .is_some_and(|etag| version.as_bytes() == etag.as_bytes()),
        });
        let range = match requested.map(|requested| byte_range(requested, total)) {
            None | Some(ByteRange::Ignored) => None,
            Some(ByteRange::Satisfiable(range)) => Some(range),
            Some(ByteRange::Unsatisfiable) => {
                let content_range = [(header::CONTENT_RANGE, format!("bytes */{total}"))];
                let problem = Problem::new(
                    StatusCode::RANGE_NOT_SATISFIABLE,
                    "range-not-satisfiable",
                    format!("the log has {total} bytes now"),
                );
                return Ok((content_range, problem).into_response());
            }
        };
        let span = range.clone().unwrap_or(0..total);
        let mut response = Response::builder()
            .header(header::CONTENT_TYPE, NDJSON)
            .header(header::ACCEPT_RANGES, "bytes")
            .header(header::CONTENT_LENGTH, span.end - span.start);
        if let Some(etag) = etag {
            response = response.header(header::ETAG, etag);
        }
        if range.is_some() {
            let range = format!("bytes {}-{}/{total}", span.start, span.end - 1);
            response = response
                .status(StatusCode::PARTIAL_CONTENT)
                .header(header::CONTENT_RANGE, range);
        }
        let span = offset + span.start..offset + span.end;
        let body = Body::from_stream(byte_stream(opened.source, span, reads.permission, reads.permit));
        response.body(body).map_err(Error::internal)
    }

    async fn page(self, request: &ReadRequest, limit: usize) -> Result<Response> {
        let ended = self.has_ended();
        let (opened, offset) = self.seek(request.start).await?;
        let before = request.start.first() - 1;
        let (filter, run_id) = (request.filter.clone(), opened.run.run_id);
        let mut reader = Reader::new(
            opened.source,
            (offset, before),
            opened.bytes,
            filter,
            Form::Ndjson,
            run_id,
        );
        let (items, next_after_sequence, more) = tokio::task::spawn_blocking(move || reader.page(limit))
            .await
            .map_err(Error::internal)??;
        Ok(Json(RunEventsPage {
            items,
            next_after_sequence,
            more,
            ended,
        })
        .into_response())
    }
}
