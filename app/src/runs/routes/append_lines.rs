//! Appends lines to a run's log over HTTP.

use axum::body::{Body, BodyDataStream};
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, Request};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use daybook_run_log::{Appended, IncomingLine, LogError, Writer};
use futures_util::{FutureExt as _, StreamExt as _};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::append_request::AppendRequest;
use super::long_requests::{count_lines, wait_for_refusal};
use super::redirect::redirect_to;
use super::run_key::key;
use crate::error::{Error, Result};
use crate::http::{Core, Json, Path, ServiceState, Team, media_type};
use crate::runs::incoming::{parse_line, status_in};
use crate::runs::log_error::log_error;
use crate::runs::registry::{LogLocation, OpenLog, Runs, not_here};
use crate::wide_events::WideEvent;

/// The maximum number of received bytes that are committed together.
const MAX_BATCH_BYTES: usize = 256 << 10;
/// The source of a line that has none.
const DEFAULT_SOURCE: &str = "api";

pub(super) fn routes<S: ServiceState>() -> OpenApiRouter<S> {
    OpenApiRouter::new().routes(routes!(append_run_events))
}

/// An event of a run. The service adds the envelope: the number, the id, the team and the run.
#[derive(Debug, ToSchema)]
#[schema(as = NewRunEvent)]
#[expect(dead_code, reason = "a shape for the OpenAPI document")]
struct NewRunEvent {
    /// The type of the event: `console.line`, `run.table.summary`, or a type of your own.
    #[schema(pattern = "^[a-z][a-z0-9._-]{0,99}$")]
    r#type: String,
    /// The content of the event, a JSON object.
    #[schema(value_type = Option<Object>)]
    payload: Option<serde_json::Value>,
    /// The time of the event (RFC 3339), if it is not the current time.
    created_at: Option<String>,
    /// The part of your program that sends the event; by default `api`.
    source: Option<String>,
}

/// The result of appending lines. The lines are durable on disk.
#[derive(Debug, Default, Serialize, ToSchema)]
struct RunEventsAppended {
    /// The number of lines that are new.
    appended: u64,
    /// The number of lines that the log already had, according to their writer's numbers.
    duplicates: u64,
    /// The number of the first new line.
    first_sequence: Option<u64>,
    /// The number of the last line.
    last_sequence: u64,
}

impl RunEventsAppended {
    fn add(&mut self, appended: Appended) {
        self.appended += appended.appended;
        self.duplicates += appended.duplicates;
        if appended.appended > 0 {
            self.first_sequence.get_or_insert(appended.first_sequence);
        }
        self.last_sequence = appended.last_sequence;
    }
}

/// Appends lines to a run's log: one event as JSON, or many as NDJSON. An NDJSON request may last as long as the run.
/// Lines that were appended stay, even if a later line is invalid. An NDJSON body without lines is a heartbeat of the
/// writer.
///
/// A writer that numbers its lines (`Writer-Id`, `Writer-Epoch`, `Writer-Seq`) may send them again after a lost
/// connection. Lines that the log already has are not appended again.
#[utoipa::path(
    post, path = "/runs/{run_id}/events", tag = "runs",
    params(
        ("run_id" = Uuid, Path, description = "The run"),
        ("Writer-Id" = Option<String>, Header, description = "The name that the writer gives itself: 1 to 64 of A-Z a-z 0-9 . _ -"),
        ("Writer-Epoch" = Option<u64>, Header, description = "From 1; the writer increases it each time it starts. An older one is refused"),
        ("Writer-Seq" = Option<u64>, Header, description = "The number of the first line in the request, from 1 in each epoch"),
    ),
    request_body(content((NewRunEvent = "application/json"), (String = "application/x-ndjson"))),
    responses(
        (status = 200, body = RunEventsAppended),
        (status = 307, description = "Another process has the run's log; `Location` is its URL"),
        (status = 404, description = "No such team or run"),
        (status = 409, description = "The run has ended, its log is full, or the writer's numbers don't fit"),
        (status = 415, description = "Neither JSON nor NDJSON"),
        (status = 422, description = "The first invalid line and its error; the lines before it are kept"),
        (status = 503, description = "The log can't be written now: send the lines again"),
    )
)]
async fn append_run_events(
    State(core): State<Core>,
    team: Team,
    Path(run_id): Path<Uuid>,
    OriginalUri(uri): OriginalUri,
    request: Request<Body>,
) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let run = key(&team, run_id);
    let form = form(&parts.headers)?;
    let writer = writer(&parts.headers)?;
    let append = AppendRequest {
        runs: Runs::of(core.database())?,
        database: core.database(),
        team: &team,
        parts: &parts,
        run,
    };
    append.allowed().await?;
    let open = match append.runs.find(append.database, run).await {
        Ok(LogLocation::Open(open)) => open,
        Ok(LogLocation::Elsewhere(url)) => return Ok(redirect_to(&url, &uri)),
        Ok(LogLocation::Closed) => return Err(log_error(LogError::Ended)),
        Ok(LogLocation::NotHere) => return Err(not_here()),
        Err(error) => {
            // A writer that numbers its lines sends them again. For other writers, a line of the log later records how
            // many lines are missing.
            if writer.is_none() && matches!(error, Error::Unavailable { .. }) {
                append.runs.count_refused(run, count_lines(body).await);
            }
            return Err(error);
        }
    };
    append.runs.record_activity(run);
    let result = match form {
        BodyForm::Json => append.append_one(&open, body, writer).await?,
        BodyForm::Ndjson => append.append_many(&open, body.into_data_stream(), writer).await?,
    };
    WideEvent::current().set("run.lines", result.appended);
    Ok(Json(result).into_response())
}

enum BodyForm {
    Json,
    Ndjson,
}

fn form(headers: &HeaderMap) -> Result<BodyForm> {
    match media_type(headers).unwrap_or_default().as_str() {
        "application/json" => Ok(BodyForm::Json),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(BodyForm::Ndjson),
        _ => Err(Error::UnsupportedMediaType {
            expected: "application/json, or application/x-ndjson for many lines, in UTF-8",
        }),
    }
}

/// Reads the writer's headers; `None` if the lines are not numbered.
fn writer(headers: &HeaderMap) -> Result<Option<Writer>> {
    for name in ["Writer-Id", "Writer-Epoch", "Writer-Seq"] {
        if headers.get_all(name).iter().nth(1).is_some() {
            return Err(Error::invalid(name, "must be one value"));
        }
    }
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let (id, epoch, seq) = (text("writer-id"), text("writer-epoch"), text("writer-seq"));
    let Some(id) = id else {
        return match epoch.or(seq) {
            None => Ok(None),
            Some(_) => Err(Error::invalid(
                "Writer-Id",
                "is required with Writer-Epoch and Writer-Seq",
            )),
        };
    };
    let is_valid = (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if !is_valid {
        return Err(Error::invalid(
            "Writer-Id",
            "must be 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-'",
        ));
    }
    let number = |name: &str, text: Option<&str>| {
        let number = text.and_then(|text| text.parse::<u64>().ok());
        number
            .filter(|number| (1..=1 << 53).contains(number))
            .ok_or_else(|| Error::invalid(name, "must be a whole number from 1 to 2^53"))
    };
    Ok(Some(Writer {
        id: id.to_owned(),
        epoch: number("Writer-Epoch", epoch)?,
        seq: number("Writer-Seq", seq)?,
    }))
}

impl AppendRequest<'_> {
    async fn append_one(&self, open: &OpenLog, body: Body, writer: Option<Writer>) -> Result<RunEventsAppended> {
        let limit = self.runs.max_line_bytes();
        let mut stream = body.into_data_stream();
        let mut text = BytesMut::new();
        while let Some(chunk) = stream.next().await {
            text.extend_from_slice(&chunk.map_err(|_| incomplete())?);
            if text.len() > limit + MAX_BATCH_BYTES {
                break;
            }
        }
        if text.trim_ascii().is_empty() {
            return Err(Error::BadRequest {
                detail: "the body is empty: send an event as JSON, or lines as application/x-ndjson".to_owned(),
            });
        }
        let incoming = parse_line(text.trim_ascii(), limit, None)?;
        self.team.check_not_expired()?;
        let mut result = RunEventsAppended::default();
        self.append(open, &[incoming], writer.as_ref(), &mut result).await?;
        Ok(result)
    }

    async fn append_many(
        &self,
        open: &OpenLog,
        mut body: BodyDataStream,
        mut writer: Option<Writer>,
    ) -> Result<RunEventsAppended> {
        let mut result = RunEventsAppended {
            last_sequence: open.log.durable().borrow().sequence,
            ..RunEventsAppended::default()
        };
        let mut buffer = BytesMut::new();
        let mut number = 0;
        loop {
            let read = match fill(&mut body, &mut buffer).now_or_never() {
                Some(read) => read,
                None => tokio::select! {
                    biased;
                    refusal = wait_for_refusal(self, open) => {
                        return Err(with_kept_lines(refusal, &result));
                    }
                    read = fill(&mut body, &mut buffer) => read,
                },
            };
            let ended = !matches!(read, BodyRead::More);
            // The rest of an interrupted body is not a complete line.
            let complete_bytes = match read {
                BodyRead::End => buffer.len(),
                BodyRead::More | BodyRead::Broken => memchr::memrchr(b'\n', &buffer).map_or(0, |at| at + 1),
            };
            let lines = buffer.split_to(complete_bytes);
            let (batch, invalid) = self.batch(&lines, &mut number);
            if !batch.is_empty() {
                self.allowed().await.map_err(|error| with_kept_lines(error, &result))?;
                self.append(open, &batch, writer.as_ref(), &mut result).await?;
                if let Some(writer) = &mut writer {
                    writer.seq += batch.len() as u64;
                }
            }
            if let Some(error) = invalid.or_else(|| self.too_long(&buffer, number)) {
                return Err(with_kept_lines(error, &result));
            }
            match (ended, read) {
                (_, BodyRead::Broken) => return Err(with_kept_lines(incomplete(), &result)),
                (true, _) => return Ok(result),
                _ => {}
            }
        }
    }

    /// Parses the lines of a chunk up to the first invalid line. Returns the parsed lines, and the error of the invalid
    /// one.
    fn batch<'a>(&self, lines: &'a [u8], number: &mut u64) -> (Vec<IncomingLine<'a>>, Option<Error>) {
        let limit = self.runs.max_line_bytes();
        let mut batch = Vec::with_capacity(lines.len() / 128);
        let mut rest = lines;
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            let (line, after) = rest.split_at(end);
            rest = after;
            *number += 1;
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            match parse_line(line, limit, Some(*number)) {
                Ok(incoming) => batch.push(incoming),
                Err(error) => return (batch, Some(error)),
            }
        }
        (batch, None)
    }

    /// Returns an error if an incomplete line is already too long.
    fn too_long(&self, line: &[u8], number: u64) -> Option<Error> {
        let limit = self.runs.max_line_bytes();
        (line.len() > limit).then(|| {
            let detail = format!("is longer than {limit} bytes, the maximum length of a line");
            Error::invalid(format!("line {}", number + 1), detail)
        })
    }

    async fn append(
        &self,
        open: &OpenLog,
        batch: &[IncomingLine<'_>],
        writer: Option<&Writer>,
        result: &mut RunEventsAppended,
    ) -> Result<()> {
        for status in batch.iter().filter_map(status_in) {
            let advance = async {
                let tx = self.team.begin().await?;
                self.runs.advance(&tx, self.run, status).await?;
                tx.commit().await
            };
            // Boxed, because this is rare, and the caller's future should stay small.
            Box::pin(advance).await?;
        }
        let appended = self
            .runs
            .append(self.database, self.run, open, batch, DEFAULT_SOURCE, writer)
            .await?;
        result.add(appended);
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum BodyRead {
    /// More data may follow.
    More,
    /// The body is complete.
    End,
    /// The connection was lost.
    Broken,
}

/// Waits for data. Then it also takes the data that has already arrived, until the buffer has [`MAX_BATCH_BYTES`].
async fn fill(body: &mut BodyDataStream, buffer: &mut BytesMut) -> BodyRead {
    let mut next = body.next().await;
    loop {
        match next {
            None => return BodyRead::End,
            Some(Err(_)) => return BodyRead::Broken,
            Some(Ok(chunk)) => buffer.extend_from_slice(&chunk),
        }
        if buffer.len() >= MAX_BATCH_BYTES {
            return BodyRead::More;
        }
        match body.next().now_or_never() {
            Some(ready) => next = ready,
            None => return BodyRead::More,
        }
    }
}

fn incomplete() -> Error {
    Error::BadRequest {
        detail: "the body ended before it was complete".to_owned(),
    }
}

/// Adds to an error which lines of the request are kept.
fn with_kept_lines(error: Error, result: &RunEventsAppended) -> Error {
    let before = match result.first_sequence {
        Some(first) => format!("; the lines before it are kept, as {first} to {}", result.last_sequence),
        None => "; no line of this request is kept".to_owned(),
    };
    match error {
        Error::Invalid(mut errors) => {
            if let Some(first) = errors.first_mut() {
                first.detail.push_str(&before);
            }
            Error::Invalid(errors)
        }
        Error::BadRequest { detail } => Error::BadRequest {
            detail: detail + &before,
        },
        Error::Unauthenticated { detail } => Error::unauthenticated(format!("{detail}{before}")),
        Error::Conflict { code, detail } => Error::Conflict {
            code,
            detail: detail + &before,
        },
        other => other,
    }
}
