//! The request of a log reader: the first line, the filter, the format, and the caller's identity.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::error::{Error, Result};
use crate::http::{Acceptable, Core, Path, Query, ServiceState, Team, accepted};
use crate::runs::line_filter::{Level, LineFilter};
use crate::runs::readers::{Permission, ReaderPermit};
use crate::runs::registry::Runs;

/// The default and the maximum number of lines in a page.
const DEFAULT_PAGE: usize = 100;
const MAX_PAGE: usize = 1_000;

/// The query parameters of a request for lines.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ReadParams {
    /// The number of the first line; 0 also means the first line of the log.
    #[param(value_type = Option<u64>, minimum = 0)]
    from_sequence: Option<String>,
    /// The number of the line after which to begin.
    #[param(value_type = Option<u64>, minimum = 0)]
    after_sequence: Option<String>,
    /// Only lines of these types, separated by commas; `run.*` matches all types that begin with `run.`.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Only lines of at least this level: `debug`, `info`, `warning` or `error`.
    level: Option<String>,
    /// The maximum number of lines in a page: 1 to 1000, by default 100. Only for pages.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
    /// If `true`, the response is server-sent events, as with `Accept: text/event-stream`.
    #[serde(default)]
    #[expect(dead_code, reason = "read from the URI, because it decides the format of errors")]
    pub(super) stream: bool,
    /// If `true`, NDJSON continues until the run ends.
    #[serde(default)]
    pub(super) follow: bool,
    /// A ticket in place of the Authorization header, which a browser can't set here.
    ticket: Option<String>,
    /// In place of the header `Last-Event-ID`, which has priority. event-source-polyfill can't set headers everywhere,
    /// so it adds this parameter when it reconnects.
    #[serde(rename = "lastEventId")]
    #[param(value_type = Option<u64>, minimum = 0)]
    last_event_id: Option<String>,
}

/// The position at which a reader begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StartAt {
    From(u64),
    After(u64),
}

impl StartAt {
    pub(super) fn first(self) -> u64 {
        match self {
            Self::From(first) => first.max(1),
            Self::After(last) => last.saturating_add(1),
        }
    }
}

/// The format of the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResponseFormat {
    Page,
    EventStream,
    Ndjson,
}

/// The media types for `Accept`. The first one is the default.
const ACCEPTABLE: [Acceptable<ResponseFormat>; 5] = [
    ("application/json", ResponseFormat::Page),
    ("text/event-stream", ResponseFormat::EventStream),
    ("application/x-ndjson", ResponseFormat::Ndjson),
    ("application/ndjson", ResponseFormat::Ndjson),
    ("application/jsonl", ResponseFormat::Ndjson),
];

impl ResponseFormat {
    /// Returns the format that a request asks for with `stream=true` or `Accept`; `None` if `Accept` allows none of
    /// these formats.
    pub(super) fn requested(headers: &HeaderMap, uri: &Uri) -> Option<Self> {
        let query = uri.query().unwrap_or_default();
        let is_stream = form_urlencoded::parse(query.as_bytes()).any(|(name, text)| name == "stream" && text == "true");
        match is_stream {
            true => Some(Self::EventStream),
            false => accepted(headers, &ACCEPTABLE),
        }
    }
}

/// The lines that a reader requests.
#[derive(Debug, Clone)]
pub(super) struct ReadRequest {
    pub(super) start: StartAt,
    pub(super) filter: LineFilter,
}

impl ReadParams {
    pub(super) fn read_request(&self, headers: &HeaderMap) -> Result<ReadRequest> {
        let number = |name: &str, text: &str| {
            let number = text.parse::<i64>().ok().and_then(|number| u64::try_from(number).ok());
            number.ok_or_else(|| Error::invalid(name, "must be the number of a line, from 0 to 2^63 - 1"))
        };
        let by_header = headers.get("last-event-id").map(|id| id.to_str().unwrap_or_default());
        let by_header = by_header.map(|id| ("Last-Event-ID", id));
        let by_parameter = self.last_event_id.as_deref().map(|id| ("lastEventId", id));
        let last_seen = [by_header, by_parameter]
            .into_iter()
            .flatten()
            .find(|(_, id)| !id.is_empty());
        let start = match (last_seen, &self.from_sequence, &self.after_sequence) {
            // A browser that reconnects still sends the parameters of its first request.
            (Some((name, id)), ..) => StartAt::After(number(name, id)?),
            (_, Some(_), Some(_)) => {
                return Err(Error::invalid(
                    "after_sequence",
                    "can't be used together with from_sequence",
                ));
            }
            (_, Some(from), None) => StartAt::From(number("from_sequence", from)?),
            (_, None, Some(after)) => StartAt::After(number("after_sequence", after)?),
            _ => StartAt::From(1),
        };
        let level = self.level.as_deref().map(|word| {
            Level::of(word).ok_or_else(|| Error::invalid("level", "must be debug, info, warning or error"))
        });
        let types = self.kind.iter().flat_map(|types| types.split(','));
        Ok(ReadRequest {
            start,
            filter: LineFilter {
                types: types
                    .map(|kind| kind.trim().to_owned())
                    .filter(|kind| !kind.is_empty())
                    .collect(),
                level: level.transpose()?,
            },
        })
    }

    pub(super) fn limit(&self) -> Result<usize> {
        let Some(text) = &self.limit else {
            return Ok(DEFAULT_PAGE);
        };
        let limit = text.parse().ok().filter(|limit| (1..=MAX_PAGE).contains(limit));
        limit.ok_or_else(|| Error::invalid("limit", format!("must be a whole number from 1 to {MAX_PAGE}")))
    }
}

/// The caller, authenticated by a ticket or by the Authorization header, and the query parameters.
pub(super) struct Caller(pub(super) Team, pub(super) ReadParams);

impl<S: ServiceState> FromRequestParts<S> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let Query(params) = Query::<ReadParams>::from_request_parts(parts, state).await?;
        let team = match &params.ticket {
            Some(ticket) => {
                let Path(run_id) = Path::from_request_parts(parts, state).await?;
                Team::of_ticket(state.core(), parts, ticket, Some(run_id)).await?
            }
            None => Team::from_request_parts(parts, state).await?,
        };
        Ok(Self(team, params))
    }
}

/// A reader that is allowed to read and is counted in the limits.
pub(super) struct AdmittedReader {
    pub(super) permission: Permission,
    pub(super) permit: ReaderPermit,
}

impl AdmittedReader {
    /// Counts one more reader, for the caller that has just entered the team.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the maximum number of readers is reached.
    pub(super) fn of(core: &Core, team: &Team) -> Result<Self> {
        Ok(Self {
            permit: Runs::of(core.database())?.readers().admit(team.id())?,
            permission: Permission::new(team.clone()),
        })
    }
}
