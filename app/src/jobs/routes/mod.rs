//! Routes to read sessions, and to retry or cancel their jobs.

mod changes;
#[cfg(any(test, feature = "fuzzing"))]
mod fuzz;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::fuzz::fuzz_filters;

use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::http::{Json, Page, PageParams, Path, Query, ServiceState, Team, timestamp};
use crate::jobs::store::{self, SessionFilter};
use crate::jobs::view::{ActionView, SessionView};

/// Returns the routes of job sessions, under `/v1/teams/{team_id}`.
pub fn routes<S: ServiceState>() -> OpenApiRouter<S> {
    OpenApiRouter::new()
        .routes(routes!(list_job_sessions))
        .routes(routes!(get_job_session))
        .routes(routes!(list_job_actions))
        .merge(changes::routes())
}

/// Filters of job sessions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SessionParams {
    /// Only sessions with this status: `running`, `succeeded`, `failed`, `cancelled` or `lost`.
    status: Option<String>,
    /// Only sessions of the job with this name.
    job: Option<String>,
    /// Only sessions that started at this time (RFC 3339) or later.
    since: Option<String>,
    /// Only the attempts at the job with this id.
    job_id: Option<String>,
    /// Only sessions with this correlation id.
    correlation_id: Option<String>,
    #[serde(flatten)]
    #[param(ignore)]
    page: PageParams,
}

impl SessionParams {
    fn filter(&self) -> Result<SessionFilter> {
        let since = self.since.as_deref().map(|text| timestamp("since", text));
        let uuid = |name: &str, text: Option<&str>| {
            text.map(|text| Uuid::try_parse(text).map_err(|_| Error::invalid(name, "must be a UUID")))
                .transpose()
        };
        Ok(SessionFilter {
            status: self.status.as_deref().map(str::parse).transpose()?,
            job_name: self.job.clone(),
            since: since.transpose()?,
            job_id: uuid("job_id", self.job_id.as_deref())?,
            correlation_id: uuid("correlation_id", self.correlation_id.as_deref())?,
        })
    }
}

/// Lists job sessions, the newest first.
///
/// A page that would exceed 1 MiB ends early, with `next`. Long values are cut (`truncated`).
#[utoipa::path(
    get, path = "/job-sessions", tag = "jobs",
    params(SessionParams, PageParams),
    responses(
        (status = 200, body = Page<SessionView>),
        (status = 404, description = "No such team"),
        (status = 422, description = "A parameter is invalid"),
    )
)]
async fn list_job_sessions(team: Team, Query(params): Query<SessionParams>) -> Result<Json<Page<SessionView>>> {
    let (limit, after, filter) = (params.page.limit()?, params.page.after()?, params.filter()?);
    let tx = team.read().await?;
    let rows = store::list(&tx, &filter, after, limit).await?;
    tx.commit().await?;
    let page = Page::within_bytes(rows, limit, |row| row.id, |row| Ok(SessionView::from(row)))?;
    Ok(Json(page))
}

/// Returns one job session.
#[utoipa::path(
    get, path = "/job-sessions/{session_id}", tag = "jobs",
    params(("session_id" = Uuid, Path, description = "The session")),
    responses(
        (status = 200, body = SessionView),
        (status = 404, description = "No such team or session"),
    )
)]
async fn get_job_session(team: Team, Path(session_id): Path<Uuid>) -> Result<Json<SessionView>> {
    let tx = team.read().await?;
    let row = store::get(&tx, session_id).await?;
    tx.commit().await?;
    Ok(Json(row.ok_or_else(|| Error::not_found("job session"))?.into()))
}

/// Filters of a session's actions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ActionParams {
    /// Only actions after this number. A client that has the actions up to this number thus receives all others,
    /// without a gap.
    after_seq: Option<String>,
    #[serde(flatten)]
    #[param(ignore)]
    page: PageParams,
}

/// Lists a session's actions, in order. A page that would exceed 1 MiB ends early, with `next`.
#[utoipa::path(
    get, path = "/job-sessions/{session_id}/actions", tag = "jobs",
    params(("session_id" = Uuid, Path, description = "The session"), ActionParams, PageParams),
    responses(
        (status = 200, body = Page<ActionView>),
        (status = 404, description = "No such team or session"),
        (status = 422, description = "A parameter is invalid"),
    )
)]
async fn list_job_actions(
    team: Team,
    Path(session_id): Path<Uuid>,
    Query(params): Query<ActionParams>,
) -> Result<Json<Page<ActionView>>> {
    let seen = params.after_seq.as_deref().map(|text| {
        let seq = text.parse::<i64>().ok().filter(|seq| *seq >= 0);
        seq.ok_or_else(|| Error::invalid("after_seq", "must be a whole number, 0 or more"))
    });
    let (limit, cursor) = (params.page.limit()?, params.page.after::<i64>()?);
    let after = cursor.max(seen.transpose()?);
    let tx = team.read().await?;
    let rows = store::actions(&tx, session_id, after.unwrap_or(0), limit).await?;
    // A session with actions exists.
    if rows.is_empty() && store::get(&tx, session_id).await?.is_none() {
        return Err(Error::not_found("job session"));
    }
    tx.commit().await?;
    let page = Page::within_bytes(rows, limit, |row| row.seq, |row| Ok(ActionView::from(row)))?;
    Ok(Json(page))
}
