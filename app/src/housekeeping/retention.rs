//! Deletes old rows: idempotency keys, job sessions, jobs that were given up, and consumers' records of effects.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::jobs::{Job, JobResult, JobSession};
use crate::tenancy::internal::DatabaseInternals as _;

/// Maximum number of rows that one statement deletes.
const BATCH_ROWS: i64 = 5_000;
/// Maximum age of an idempotency key, in hours: how long a request may be repeated with it.
const MAX_KEY_AGE_HOURS: i32 = 24;
/// Maximum age of a consumer's record of an effect, in days. No job is retried for that long.
const MAX_EFFECT_AGE_DAYS: i32 = 90;

/// How long data is kept. `App::equip` attaches the default, and a process with workers the configured one.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Retention {
    /// Days after their end until job sessions and their actions are deleted.
    pub sessions_days: u32,
    /// Days after a run's end until its log is compressed.
    pub seal_runs_after_days: u32,
    /// Days after a run's end until its log is deleted, compressed or not.
    pub run_logs_days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            sessions_days: 90,
            seal_runs_after_days: 7,
            run_logs_days: 90,
        }
    }
}

impl Retention {
    /// Sets the days after their end until job sessions and their actions are deleted.
    #[must_use]
    pub fn sessions_days(mut self, sessions_days: u32) -> Self {
        self.sessions_days = sessions_days;
        self
    }

    /// Sets the days after a run's end until its log is compressed.
    #[must_use]
    pub fn seal_runs_after_days(mut self, seal_runs_after_days: u32) -> Self {
        self.seal_runs_after_days = seal_runs_after_days;
        self
    }

    /// Sets the days after a run's end until its log is deleted.
    #[must_use]
    pub fn run_logs_days(mut self, run_logs_days: u32) -> Self {
        self.run_logs_days = run_logs_days;
        self
    }
}

#[derive(Debug, Serialize)]
enum PurgeAction {
    Deleted { rows: usize, of: &'static str },
}

impl fmt::Display for PurgeAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Deleted { rows, of } = self;
        write!(f, "Deleted {rows} {of}")
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PurgeIdempotencyKeys {}

#[async_trait]
impl Job for PurgeIdempotencyKeys {
    const NAME: &'static str = "purge_idempotency_keys";

    fn sentence(&self) -> String {
        format!("Started deleting idempotency keys older than {MAX_KEY_AGE_HOURS} hours")
    }

    async fn run(self, session: &JobSession) -> JobResult {
        let sql = "DELETE FROM idempotency_keys k WHERE ctid IN (
            SELECT ctid FROM idempotency_keys WHERE created_at < now() - $1 * interval '1 hour' LIMIT $2)
            RETURNING 1";
        purge(session, sql, MAX_KEY_AGE_HOURS, "idempotency keys").await?;
        Ok(())
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RetainSessions {}

#[async_trait]
impl Job for RetainSessions {
    const NAME: &'static str = "retain_sessions";

    fn sentence(&self) -> String {
        "Started deleting old job sessions".to_owned()
    }

    async fn run(self, session: &JobSession) -> JobResult {
        let retention = Retention::of(session.database())?;
        let days = i32::try_from(retention.sessions_days).unwrap_or(i32::MAX);
        let sql = "DELETE FROM job_sessions s WHERE (team_id, id) IN (
            SELECT team_id, id FROM job_sessions WHERE finished_at < now() - $1 * interval '1 day' LIMIT $2)
            RETURNING s.id";
        purge(session, sql, days, "job sessions with their actions").await?;
        let sql = "DELETE FROM graphile_worker._private_jobs j WHERE id IN (
            SELECT id FROM graphile_worker._private_jobs WHERE attempts >= max_attempts AND locked_at IS NULL
                AND updated_at < now() - $1 * interval '1 day' LIMIT $2)
            RETURNING j.id";
        purge(session, sql, days, "jobs that were given up").await?;
        let sql = "DELETE FROM consumer_effects e WHERE ctid IN (
            SELECT ctid FROM consumer_effects WHERE created_at < now() - $1 * interval '1 day' LIMIT $2)
            RETURNING 1";
        purge(session, sql, MAX_EFFECT_AGE_DAYS, "records of consumers' effects").await?;
        Ok(())
    }
}

/// Deletes rows older than `age`, in batches, so that other statements don't wait long. Adds an action with the number
/// of deleted rows.
async fn purge(session: &JobSession, sql: &'static str, age: i32, of: &'static str) -> Result<()> {
    let workers = session
        .database()
        .workers()
        .ok_or_else(|| Error::internal(format!("deleting {of} needs a process that runs workers")))?;
    let mut rows = 0;
    loop {
        let batch = workers
            .fetch_all(sqlx::query(sql).bind(age).bind(BATCH_ROWS))
            .await?
            .len();
        rows += batch;
        if i64::try_from(batch).unwrap_or(i64::MAX) < BATCH_ROWS {
            break;
        }
    }
    session.add_action(&PurgeAction::Deleted { rows, of }).await?;
    Ok(())
}
