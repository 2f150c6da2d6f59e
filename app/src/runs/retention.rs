//! What becomes of logs once their runs have ended: sealed after a while, deleted after another. The row and the summary stay.
//!
//! Whoever does it needs the storage's folder. A run whose folder is not here is somebody else's to look after.

use sqlx::Row as _;

use super::log::{RunKey, Sealed};
use super::registry::Runs;
use super::store;
use crate::error::{Error, Result};
use crate::tenancy::{Context, Database, WorkerDatabase};

/// What becomes of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetentionAction {
    /// It is compressed.
    Sealed,
    /// It is deleted.
    Deleted,
}

/// Logs whose runs ended more than `days` ago and that have not met their fate, the oldest first, at most `limit`, after
/// `after` in that order.
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
    /// Seals a log. None if it is not here.
    ///
    /// # Errors
    /// [`Error::Internal`] if what was written does not read as what it was made of: then the plain log stays.
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
        // Also one that was sealed before, and of which that was not told.
        let path = format!("{}.zst", super::log::Storage::events_path(run));
        set_log_state(database, run, "sealed", Some(&path)).await?;
        Ok(Some(sealed.unwrap_or(Sealed {
            plain_bytes: 0,
            sealed_bytes: 0,
        })))
    }

    /// Deletes a log. False if it is not here.
    ///
    /// # Errors
    /// [`Error::Internal`] for what the file system says.
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
        // The empty folder says that the log was here, for as long as it is not told.
        let _ = tokio::task::spawn_blocking(move || storage.forget(run)).await;
        Ok(true)
    }
}

async fn set_log_state(database: &Database, run: RunKey, state: &str, events_path: Option<&str>) -> Result<()> {
    let tx = database.begin(&Context::system(run.team_id, "run logs")).await?;
    store::set_log_state(&tx, run.run_id, state, events_path).await?;
    tx.commit().await
}
