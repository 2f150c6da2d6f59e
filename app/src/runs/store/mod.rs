//! The database rows of runs.

mod feed;
mod leases;
mod list;

pub use self::feed::{RunFeedPage, feed, of_story};
pub(super) use self::leases::{
    Lease, LeaseOutcome, StorageEvidence, acquire_lease, begin_in_system_team, find_lost_runs, mark_node_dead,
    register_node, renew_node, runs_of_node,
};
pub(super) use self::list::{RunFilter, list};

use crate::runs::entity::{ActiveModel, Column, Entity, Model};
use chrono::{DateTime, Utc};
use daybook_run_log::{RunKey, Storage, SyncedBytes};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QuerySelect as _};
use serde_json::Value;
use sqlx::Row as _;
use uuid::Uuid;

use super::model::reason;
use super::new_run::NewRun;
use super::status::RunStatus;
use super::summary::RunSummary;
use crate::error::{Error, Result};
use crate::events::{FieldChange, StateChangedEventData, Track, create_model_with_event, emit_event};
use crate::tenancy::{Actor, SignalTopic, TeamTx};

/// The name of [`RUNS`].
pub(crate) const RUNS_NAME: &str = "runs";
/// Signal: runs of a team have begun, changed or ended.
const RUNS: SignalTopic = SignalTopic::new(RUNS_NAME);

/// Checks that the team has fewer than `limit` runs that have not ended. It locks the team's row until the transaction
/// ends, so that concurrent requests can't exceed the limit together.
///
/// # Errors
/// [`Error::Conflict`] with the limit; any database error.
pub(super) async fn check_open_run_limit(tx: &TeamTx, limit: u32) -> Result<()> {
    // The lock is a separate statement, because the next statement must see what was committed while this one waited.
    let lock = sqlx::query("SELECT FROM teams WHERE id = $1 FOR NO KEY UPDATE");
    tx.fetch_all(lock.bind(tx.team_id())).await?;
    let query = sqlx::query(
        "SELECT count(*) FROM (
            SELECT FROM runs WHERE team_id = $1 AND status IN ('queued', 'building', 'running') LIMIT $2
         ) AS unfinished",
    );
    let row = tx
        .fetch_optional(query.bind(tx.team_id()).bind(i64::from(limit)))
        .await?;
    let unfinished: i64 = row.map(|row| row.try_get(0)).transpose()?.unwrap_or_default();
    if unfinished < i64::from(limit) {
        return Ok(());
    }
    Err(Error::conflict(
        "too-many-open-runs",
        format!(
            "the team has {unfinished} runs that have not ended, and the maximum is {limit}: complete or cancel one of \
             them first (GET …/runs?status=running, ?status=queued, ?status=building)"
        ),
    ))
}

/// Inserts a run and its event.
///
/// # Errors
/// The errors of [`create_model_with_event`].
pub(super) async fn create(tx: &TeamTx, run: RunKey, new: &NewRun) -> Result<Model> {
    use sea_orm::ActiveValue::Set;
    let context = tx.context();
    let session = match &context.actor {
        Actor::Job { id, .. } => Some(*id),
        _ => None,
    };
    let row = ActiveModel {
        id: Set(run.run_id),
        name: Set(new.name.clone()),
        configuration_id: Set(new.configuration_id.clone()),
        status: Set(RunStatus::Queued.as_str().to_owned()),
        events_path: Set(Storage::events_path(run)),
        lost_after_seconds: Set(i32::try_from(new.lost_after.as_secs()).unwrap_or(i32::MAX)),
        job_session_id: Set(session),
        correlation_id: Set(context.correlation_id),
        causation_id: Set(context.causation_id),
        ..Default::default()
    };
    let track = Track::only([Column::Name, Column::ConfigurationId, Column::Status]);
    let model: Model = create_model_with_event(tx, row, track).await?;
    tx.signal(RUNS);
    Ok(model)
}

/// Returns a run.
///
/// # Errors
/// [`Error::NotFound`].
pub(super) async fn get(tx: &TeamTx, id: Uuid) -> Result<Model> {
    let found = Entity::find_by_id(id).filter(Column::TeamId.eq(tx.team_id()));
    found.one(tx).await?.ok_or_else(|| Error::not_found("run"))
}

/// Returns a run and locks its row until the transaction ends.
async fn lock(tx: &TeamTx, id: Uuid) -> Result<Model> {
    let found = Entity::find_by_id(id).filter(Column::TeamId.eq(tx.team_id()));
    found
        .lock_exclusive()
        .one(tx)
        .await?
        .ok_or_else(|| Error::not_found("run"))
}

/// Moves a run to another status that is not final. If it already has that status, nothing is changed.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Conflict`] for a transition that is not allowed.
pub(super) async fn advance(tx: &TeamTx, id: Uuid, next: RunStatus) -> Result<Model> {
    let run = lock(tx, id).await?;
    let now: RunStatus = run.status.parse()?;
    if now == next {
        return Ok(run);
    }
    let next = now.moved_to(next)?;
    let query = sqlx::query(
        "UPDATE runs SET status = $3, started_at = CASE WHEN $3 = 'running' THEN clock_timestamp() ELSE started_at END,
            updated_at = clock_timestamp(), transaction_id = pg_current_xact_id()::text::bigint
         WHERE team_id = $1 AND id = $2",
    );
    tx.execute_sql(query.bind(tx.team_id()).bind(id).bind(next.as_str()))
        .await?;
    record_status_change(tx, id, now, next, None).await
}

/// The final state of a run.
#[derive(Debug, Clone)]
pub(super) struct FinalState {
    pub(super) status: RunStatus,
    pub(super) exit_code: Option<i32>,
    pub(super) failure: Option<Value>,
    pub(super) output_paths: Value,
    pub(super) completed_at: DateTime<Utc>,
    pub(super) reason: Option<String>,
    /// The text that is stored, and its value.
    pub(super) summary: Option<(String, RunSummary)>,
}

/// Ends a run whose log was synced, or is not in this storage. Returns the run, and whether this call has ended it. A run
/// that has already ended is not changed.
///
/// # Errors
/// [`Error::NotFound`].
pub(super) async fn end(tx: &TeamTx, id: Uuid, ended: &FinalState, log: Option<SyncedBytes>) -> Result<(Model, bool)> {
    let run = lock(tx, id).await?;
    let now: RunStatus = run.status.parse()?;
    if now.is_final() {
        return Ok((run, false));
    }
    let derived = DerivedColumns::of(ended.summary.as_ref().map(|(_, summary)| summary));
    let query = sqlx::query(
        "UPDATE runs SET status = $3, exit_code = $4, failure = $5, output_paths = $6, completed_at = $7,
            summary_json = $8::json, input_file_count = $9, table_count = $10, row_count = $11,
            max_validation_severity = $12, log_lines = $13, log_bytes = $14, log_state = 'closed', home = NULL,
            updated_at = clock_timestamp(), transaction_id = pg_current_xact_id()::text::bigint
         WHERE team_id = $1 AND id = $2",
    )
    .bind(tx.team_id())
    .bind(id)
    .bind(ended.status.as_str())
    .bind(ended.exit_code)
    .bind(&ended.failure)
    .bind(&ended.output_paths)
    .bind(ended.completed_at)
    .bind(ended.summary.as_ref().map(|(text, _)| text.as_str()))
    .bind(derived.files)
    .bind(derived.tables)
    .bind(derived.rows)
    .bind(derived.severity)
    .bind(derived.lines)
    .bind(i64::try_from(log.map_or(0, SyncedBytes::get)).unwrap_or(i64::MAX));
    tx.execute_sql(query).await?;
    let given = ended.reason.clone();
    let why = given.or_else(|| reason(ended.exit_code.filter(|code| *code != 0), ended.failure.as_ref()));
    Ok((record_status_change(tx, id, now, ended.status, why).await?, true))
}

async fn record_status_change(
    tx: &TeamTx,
    id: Uuid,
    old: RunStatus,
    new: RunStatus,
    reason: Option<String>,
) -> Result<Model> {
    let run = get(tx, id).await?;
    let state = FieldChange {
        old: old.as_str().into(),
        new: new.as_str().into(),
    };
    emit_event(tx, &run, StateChangedEventData { state, reason }).await?;
    tx.signal(RUNS);
    Ok(run)
}

/// The columns that are derived from a summary. Larger numbers are replaced by the maximum of the column's type.
struct DerivedColumns {
    files: Option<i32>,
    tables: Option<i32>,
    rows: Option<i64>,
    severity: Option<String>,
    lines: Option<i64>,
}

impl DerivedColumns {
    fn of(summary: Option<&RunSummary>) -> Self {
        let int = |number: u64| i32::try_from(number).unwrap_or(i32::MAX);
        let long = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        Self {
            files: summary.map(|summary| int(summary.file_count)),
            tables: summary.map(|summary| int(summary.table_count)),
            rows: summary.map(|summary| long(summary.row_count)),
            severity: summary.and_then(|summary| summary.validation.max_severity.clone()),
            lines: summary.map(|summary| long(summary.lines)),
        }
    }
}

/// Returns the stored text of a run's summary, if there is one.
///
/// # Errors
/// Any database error.
pub(super) async fn summary(tx: &TeamTx, id: Uuid) -> Result<Option<String>> {
    let query = sqlx::query("SELECT summary_json::text AS summary FROM runs WHERE team_id = $1 AND id = $2");
    let row = tx.fetch_optional(query.bind(tx.team_id()).bind(id)).await?;
    Ok(row.map(|row| row.try_get("summary")).transpose()?.flatten())
}

/// Stores a rebuilt summary.
///
/// # Errors
/// Any database error.
pub(super) async fn set_summary(tx: &TeamTx, id: Uuid, text: &str, summary: &RunSummary) -> Result<()> {
    let derived = DerivedColumns::of(Some(summary));
    let query = sqlx::query(
        "UPDATE runs SET summary_json = $3::json, input_file_count = $4, table_count = $5, row_count = $6,
            max_validation_severity = $7, log_lines = $8, updated_at = clock_timestamp(),
            transaction_id = pg_current_xact_id()::text::bigint
         WHERE team_id = $1 AND id = $2",
    )
    .bind(tx.team_id())
    .bind(id)
    .bind(text)
    .bind(derived.files)
    .bind(derived.tables)
    .bind(derived.rows)
    .bind(derived.severity)
    .bind(derived.lines);
    tx.execute_sql(query).await?;
    tx.signal(RUNS);
    Ok(())
}

/// Marks a run as degraded: its log could not be written.
///
/// # Errors
/// Any database error.
pub(super) async fn set_degraded(tx: &TeamTx, id: Uuid) -> Result<()> {
    let query = sqlx::query(
        "UPDATE runs SET log_degraded = true, updated_at = clock_timestamp(),
            transaction_id = pg_current_xact_id()::text::bigint
         WHERE team_id = $1 AND id = $2 AND NOT log_degraded",
    );
    if tx.execute_sql(query.bind(tx.team_id()).bind(id)).await? > 0 {
        tx.signal(RUNS);
    }
    Ok(())
}

/// Sets the state of a run's log, and its path if that has changed.
///
/// # Errors
/// Any database error.
pub(super) async fn set_log_state(tx: &TeamTx, id: Uuid, state: &str, events_path: Option<&str>) -> Result<()> {
    let query = sqlx::query(
        "UPDATE runs SET log_state = $3, events_path = coalesce($4, events_path), updated_at = clock_timestamp(),
            transaction_id = pg_current_xact_id()::text::bigint
         WHERE team_id = $1 AND id = $2",
    );
    let query = query.bind(tx.team_id()).bind(id).bind(state).bind(events_path);
    tx.execute_sql(query).await?;
    tx.signal(RUNS);
    Ok(())
}
