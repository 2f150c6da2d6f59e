//! Seals logs some time after their runs have ended, and deletes them later. The row and the summary stay.
//!
//! The process needs access to the storage. It skips runs whose folder is not in its storage, because another process
//! handles them.

use daybook_run_log::{RunKey, Sealed, Storage};
use sqlx::Row as _;

use super::registry::Runs;
use super::store;
use crate::error::{Error, Result};
use crate::tenancy::{Context, Database, WorkerDatabase};

/// What happens to an old log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetentionAction {
    /// The log is compressed.
    Sealed,
    /// The log is deleted.
    Deleted,
}

/// Returns the logs for which `action` is due: their runs ended at least `days` ago, and the action was not done yet.
/// The oldest come first, at most `limit`.
///
/// # Errors
/// Any database error.
pub async fn due_logs(workers: &WorkerDatabase, action: RetentionAction, days: u32, limit: i64) -> Result<Vec<RunKey>> {
    let query = sqlx::query(
        "SELECT team_id, id FROM runs
         WHERE log_state IN ('closed', 'sealed') AND log_state = ANY ($1)
            AND completed_at <= now() - $2 * interval '1 day'
         ORDER BY completed_at LIMIT $3",
    );
    let states: &[&str] = match action {
        RetentionAction::Sealed => &["closed"],
        RetentionAction::Deleted => &["closed", "sealed"],
    };
    let query = query
        .bind(states)
        .bind(i32::try_from(days).unwrap_or(i32::MAX))
        .bind(limit);
    let rows = workers.fetch_all(query).await?;
    rows.iter()
        .map(|row| {
            Ok(RunKey {
                team_id: row.try_get("team_id")?,
                run_id: row.try_get("id")?,
            })
        })
        .collect()
}

impl Runs {
    /// Seals a log. Returns `None` if it is not in this storage.
    ///
    /// # Errors
    /// [`Error::Internal`] for an error of the file system, or if the sealed file differs from the plain log. Then the
    /// plain log stays. Any database error.
    pub async fn seal(&self, database: &Database, run: RunKey) -> Result<Option<Sealed>> {
        let storage = self.storage().clone();
        let (is_here, sealed) = tokio::task::spawn_blocking(move || {
            let is_here = storage.is_here(run);
            (is_here, if is_here { storage.seal(run) } else { Ok(None) })
        })
        .await
        .map_err(Error::internal)?;
        let sealed = sealed.map_err(Error::internal)?;
        if !is_here {
            return Ok(None);
        }
        // An earlier call may have sealed the log without updating the row.
        let path = format!("{}.zst", Storage::events_path(run));
        set_log_state(database, run, "sealed", Some(&path)).await?;
        Ok(Some(sealed.unwrap_or_default()))
    }

    /// Deletes a log. Returns false if it is not in this storage.
    ///
    /// # Errors
    /// [`Error::Internal`] for an error of the file system; any database error.
    pub async fn delete_log(&self, database: &Database, run: RunKey) -> Result<bool> {
        let storage = self.storage().clone();
        let deleted = tokio::task::spawn_blocking(move || match storage.is_here(run) {
            true => storage.delete(run).map(|()| true),
            false => Ok(false),
        });
        if !deleted.await.map_err(Error::internal)?.map_err(Error::internal)? {
            return Ok(false);
        }
        set_log_state(database, run, "deleted", None).await?;
        let storage = self.storage().clone();
        // The empty folder is kept until the row is updated, because it shows that the log was in this storage.
        let _ = tokio::task::spawn_blocking(move || storage.forget(run)).await;
        Ok(true)
    }
}

async fn set_log_state(database: &Database, run: RunKey, state: &str, events_path: Option<&str>) -> Result<()> {
    let tx = database.begin(&Context::system(run.team_id, "run logs")).await?;
    store::set_log_state(&tx, run.run_id, state, events_path).await?;
    tx.commit().await
}
