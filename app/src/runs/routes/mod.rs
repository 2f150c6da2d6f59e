//! The HTTP routes of runs, under `/v1/teams/{team_id}`.

mod append_lines;
mod append_request;
mod byte_range;
mod complete_run;
#[cfg(any(test, feature = "fuzzing"))]
mod fuzz_filters;
mod long_requests;
mod read_log;
mod read_request;
mod readable_log;
mod redirect;
mod run_key;

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::fuzz_filters::fuzz_filters;
use self::read_request::{ReadRequest, StartAt};
use self::run_key::key;
use super::entity::Model;
use super::line_filter::LineFilter;
use super::new_run::NewRun;
use super::registry::Runs;
use super::status::RunStatus;
use super::store::{self, RunFilter};
use super::streaming::Form;
use super::summary::RunSummary;
use super::view::RunView;
use crate::error::{Error, Result};
use crate::http::{self, Core, Json, Page, PageParams, Path, Query, ServiceState, Team};
use crate::tenancy::Claim;

/// Returns the routes of runs.
pub fn routes<S: ServiceState>() -> OpenApiRouter<S> {
    OpenApiRouter::new()
        .routes(routes!(create_run, list_runs))
        .routes(routes!(get_run))
        .routes(routes!(get_run_summary))
        .merge(append_lines::routes())
        .merge(complete_run::routes())
        .merge(read_log::routes())
}

/// A run that is requested.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewRun)]
struct NewRunBody {
    /// The name for people: 1 to 200 characters.
    name: String,
    /// Your program's id of the configuration that is run.
    #[serde(default)]
    configuration_id: Option<String>,
    /// Whether the run starts at once. Otherwise it stays `queued` until a line `build.started` or `run.started`.
    #[serde(default = "default_true")]
    #[schema(default = true)]
    start: bool,
    /// The number of seconds of silence after which the writer counts as lost and the run fails.
    #[serde(default)]
    #[schema(minimum = 5, maximum = 86_400, default = 300)]
    lost_after_seconds: Option<u64>,
}

fn default_true() -> bool {
    true
}

/// The form of the response.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct CreateParams {
    /// If true, the response is a stream of the run's lines as server-sent events, and the run's URL is in `Location`.
    #[serde(default)]
    stream: bool,
}

/// Creates a run.
#[utoipa::path(
    post, path = "/runs", tag = "runs", params(CreateParams), request_body = NewRunBody,
    responses(
        (status = 201, description = "The run; with `stream`, its lines", headers(("Location", description = "The run's URL")),
            content((RunView = "application/json"), (String = "text/event-stream"))),
        (status = 404, description = "No such team"),
        (status = 409, description = "`too-many-open-runs`: the team has the maximum number of unfinished runs"),
        (status = 422, description = "The invalid fields"),
    )
)]
async fn create_run(
    State(core): State<Core>,
    team: Team,
    Query(params): Query<CreateParams>,
    claim: Option<Extension<Claim>>,
    Json(body): Json<NewRunBody>,
) -> Result<Response> {
    if params.stream && claim.is_some() {
        let detail = "can't be used with stream=true, because a stream can't be repeated";
        return Err(Error::invalid("Idempotency-Key", detail));
    }
    let mut new = NewRun::new(body.name);
    new.configuration_id = body.configuration_id;
    new.start = body.start;
    if let Some(seconds) = body.lost_after_seconds {
        new = new.lost_after(Duration::from_secs(seconds));
    }
    let new = new.checked()?;
    let runs = Runs::of(core.database())?;
    let tx = team.begin().await?;
    let run = runs.begin(&tx, &new).await?;
    tx.commit().await?;
    let key = key(&team, run.id);
    let location = [(header::LOCATION, format!("/v1/teams/{}/runs/{}", team.id(), run.id))];
    // The run exists even if its log can't be opened. In this case, a client that writes lines receives the error.
    if let Err(error) = runs.find(core.database(), key).await {
        tracing::warn!(run = %run.id, "could not create a run's log, which is tried again when a line is written: {error}");
    }
    if params.stream {
        let request = ReadRequest {
            start: StartAt::From(1),
            filter: LineFilter::default(),
        };
        let lines = read_log::lines(&core, &team, key, &request, Form::Sse).await?;
        return Ok((StatusCode::CREATED, location, lines).into_response());
    }
    Ok((StatusCode::CREATED, location, Json(RunView::from(run))).into_response())
}

/// The filter of a list of runs.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RunParams {
    /// Only runs with this status: `queued`, `building`, `running`, `succeeded`, `failed` or `cancelled`.
    status: Option<String>,
    /// Only runs of this configuration.
    configuration_id: Option<String>,
    /// Only runs of this job session.
    job_session_id: Option<String>,
    /// Only runs of this story.
    correlation_id: Option<String>,
    /// Only runs that were created at this time (RFC 3339) or later.
    since: Option<String>,
    /// Only runs that were created before this time.
    until: Option<String>,
    /// Only runs whose program ended with this exit code.
    exit_code: Option<String>,
    /// Only runs in which validation found an issue of at least this severity: `info`, `warning` or `error`.
    severity: Option<String>,
    /// Only runs with at least this number of rows.
    min_rows: Option<String>,
    /// Only runs with at least this number of tables.
    min_tables: Option<String>,
    /// Only runs with at least this number of files.
    min_files: Option<String>,
    #[serde(flatten)]
    #[param(ignore)]
    page: PageParams,
}

impl RunParams {
    fn filter(&self) -> Result<RunFilter> {
        fn parsed<T: std::str::FromStr>(name: &str, text: Option<&str>, detail: &str) -> Result<Option<T>> {
            text.map(|text| text.parse().map_err(|_| Error::invalid(name, detail)))
                .transpose()
        }
        let timestamp = |name: &str, text: Option<&str>| text.map(|text| http::timestamp(name, text)).transpose();
        let severity = self.severity.as_deref().map(|severity| match severity {
            "info" => Ok(&["info", "warning", "error"][..]),
            "warning" => Ok(&["warning", "error"][..]),
            "error" => Ok(&["error"][..]),
            _ => Err(Error::invalid("severity", "must be info, warning or error")),
        });
        let number = "must be a whole number";
        Ok(RunFilter {
            status: self.status.as_deref().map(str::parse::<RunStatus>).transpose()?,
            configuration_id: self.configuration_id.clone(),
            job_session_id: parsed("job_session_id", self.job_session_id.as_deref(), "must be a UUID")?,
            correlation_id: parsed("correlation_id", self.correlation_id.as_deref(), "must be a UUID")?,
            since: timestamp("since", self.since.as_deref())?,
            until: timestamp("until", self.until.as_deref())?,
            exit_code: parsed("exit_code", self.exit_code.as_deref(), number)?,
            severity: severity.transpose()?,
            min_rows: parsed("min_rows", self.min_rows.as_deref(), number)?,
            min_tables: parsed("min_tables", self.min_tables.as_deref(), number)?,
            min_files: parsed("min_files", self.min_files.as_deref(), number)?,
        })
    }
}

/// Lists runs, the newest first. A page that would exceed 1 MiB ends early, with `next`.
#[utoipa::path(
    get, path = "/runs", tag = "runs", params(RunParams, PageParams),
    responses(
        (status = 200, body = Page<RunView>),
        (status = 404, description = "No such team"),
        (status = 422, description = "A parameter is invalid"),
    )
)]
async fn list_runs(team: Team, Query(params): Query<RunParams>) -> Result<Json<Page<RunView>>> {
    let (limit, after, filter) = (params.page.limit()?, params.page.after()?, params.filter()?);
    let tx = team.read().await?;
    let rows = store::list(&tx, &filter, after, limit).await?;
    tx.commit().await?;
    let page = Page::within_bytes(rows, limit, |row| row.id, |row| Ok(RunView::listed(row)))?;
    Ok(Json(page))
}

/// Returns one run.
#[utoipa::path(
    get, path = "/runs/{run_id}", tag = "runs", params(("run_id" = Uuid, Path, description = "The run")),
    responses((status = 200, body = RunView), (status = 404, description = "No such team or run"))
)]
async fn get_run(team: Team, Path(run_id): Path<Uuid>) -> Result<Json<RunView>> {
    let tx = team.read().await?;
    let run = store::get(&tx, run_id).await?;
    tx.commit().await?;
    Ok(Json(run.into()))
}

/// Returns the summary of a run's log, after the run has ended.
#[utoipa::path(
    get, path = "/runs/{run_id}/summary", tag = "runs", params(("run_id" = Uuid, Path, description = "The run")),
    responses(
        (status = 200, body = RunSummary),
        (status = 404, description = "No such team or run"),
        (status = 409, description = "The run has not ended yet"),
    )
)]
async fn get_run_summary(team: Team, Path(run_id): Path<Uuid>) -> Result<Json<Box<RawValue>>> {
    let tx = team.read().await?;
    let run: Model = store::get(&tx, run_id).await?;
    let summary = store::summary(&tx, run_id).await?;
    tx.commit().await?;
    let summary = summary.ok_or_else(|| {
        let detail = format!("the run is {}: its summary is computed when it ends", run.status);
        Error::conflict("no-summary-yet", detail)
    })?;
    Ok(Json(RawValue::from_string(summary)?))
}
