//! A log that is open for a reader, and the responses from it.

use axum::Extension;
use axum::body::Body;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use daybook_run_log::{Durable, LogEnd, RunKey, Source, offset_of};
use rand::Rng as _;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::watch;
use utoipa::ToSchema;

use super::byte_range::{ByteRange, byte_range};
use super::read_request::{AdmittedReader, ReadRequest, StartAt};
use crate::error::{Error, Result};
use crate::http::{Core, Json, NoStore, Problem};
use crate::runs::registry::{LogLocation, Runs, not_here};
use crate::runs::streaming::{FollowState, Form, Reader, byte_stream, line_stream};

/// The range of the time after which a browser reconnects, in milliseconds. The time is random, so that not all
/// browsers reconnect at once.
pub(super) const RETRY_MS: std::ops::Range<u32> = 500..2_500;
const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");
/// Tells proxies not to buffer lines.
pub(super) const UNBUFFERED: (HeaderName, HeaderValue) = (
    HeaderName::from_static("x-accel-buffering"),
    HeaderValue::from_static("no"),
);

/// A page of a log.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RunEventsPage {
    /// The lines, in order.
    #[schema(value_type = Vec<Object>)]
    items: Vec<Box<RawValue>>,
    /// The value of `after_sequence` for the next page. If there are no more lines now, use it later.
    next_after_sequence: u64,
    /// Whether there are more lines now.
    more: bool,
    /// Whether the run has ended. Then no more lines are added.
    ended: bool,
}

/// A log that is open for a reader.
pub(super) struct ReadableLog {
    run: RunKey,
    source: Source,
    /// The number of bytes that may be read.
    bytes: u64,
    durable: Option<watch::Receiver<Durable>>,
    /// Whether the run has ended and the log is complete.
    ended: bool,
}

impl ReadableLog {
    /// Opens a run's log for reading. If another process writes the log, returns that process's URL as the inner error.
    pub(super) async fn of(core: &Core, run: RunKey) -> Result<Result<Self, String>> {
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

    /// Responds with a stream of lines, from the first requested line until the run ends.
    pub(super) async fn lines(
        self,
        core: &Core,
        reads: AdmittedReader,
        request: &ReadRequest,
        form: Form,
    ) -> Result<Response> {
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
        let following = FollowState {
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
    pub(super) async fn ndjson(
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
            let following = FollowState {
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

    /// Responds with a page of at most `limit` lines, from the first requested line.
    pub(super) async fn page(self, request: &ReadRequest, limit: usize) -> Result<Response> {
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
