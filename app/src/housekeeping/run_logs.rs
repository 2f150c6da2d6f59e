//! Compresses the logs of runs that ended some time ago, and later deletes them.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Retention;
use crate::error::Error;
use crate::jobs::{Job, JobResult, JobSession, badge};
use crate::runs::{RetentionAction, Runs, due_logs};
use crate::tenancy::internal::DatabaseInternals as _;

/// Maximum number of logs that one query returns.
const BATCH_LOGS: i64 = 200;

#[derive(Debug, Serialize)]
enum RunLogAction {
    Sealed {
        run_id: Uuid,
        plain_bytes: u64,
        sealed_bytes: u64,
    },
    Deleted {
        run_id: Uuid,
    },
    Failed {
        run_id: Uuid,
        reason: String,
    },
    NotHere {
        logs: usize,
    },
}

impl fmt::Display for RunLogAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sealed {
                run_id,
                plain_bytes,
                sealed_bytes,
            } => write!(
                f,
                "Sealed the log of run {}: compressed {plain_bytes} bytes to {sealed_bytes}",
                badge("run", run_id.to_string())
            ),
            Self::Deleted { run_id } => write!(f, "Deleted the log of run {}", badge("run", run_id.to_string())),
            Self::Failed { run_id, reason } => {
                write!(
                    f,
                    "Left the log of run {} unchanged: {reason}",
                    badge("run", run_id.to_string())
                )
            }
            Self::NotHere { logs } => write!(f, "Skipped {logs} logs that are not in this process's storage"),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SealRunLogs {}

#[async_trait]
impl Job for SealRunLogs {
    const NAME: &'static str = "seal_run_logs";

    fn sentence(&self) -> String {
        "Started sealing logs of runs that have ended".to_owned()
    }

    async fn run(self, session: &JobSession) -> JobResult {
        let retention = Retention::of(session.database())?;
        apply_to_old_logs(session, RetentionAction::Sealed, retention.seal_runs_after_days).await
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DeleteRunLogs {}

#[async_trait]
impl Job for DeleteRunLogs {
    const NAME: &'static str = "delete_run_logs";

    fn sentence(&self) -> String {
        "Started deleting logs of old runs".to_owned()
    }

    async fn run(self, session: &JobSession) -> JobResult {
        let retention = Retention::of(session.database())?;
        apply_to_old_logs(session, RetentionAction::Deleted, retention.run_logs_days).await
    }
}

/// Seals or deletes the logs that are old enough. The query doesn't find a log again that was sealed or deleted. Any
/// other log is skipped until the next run of the job.
async fn apply_to_old_logs(session: &JobSession, action: RetentionAction, days: u32) -> JobResult {
    let database = session.database();
    let (Ok(runs), Some(workers)) = (Runs::of(database), database.workers()) else {
        return Err(Error::internal(
            "sealing and deleting run logs needs a process that runs workers and has the run logs' storage",
        )
        .into());
    };
    let mut skipped: Vec<Uuid> = Vec::new();
    let mut not_here = 0;
    loop {
        let limit = BATCH_LOGS + i64::try_from(skipped.len()).unwrap_or(i64::MAX - BATCH_LOGS);
        let found = due_logs(workers, action, days, limit).await?;
        let next: Vec<_> = found.into_iter().filter(|run| !skipped.contains(&run.run_id)).collect();
        if next.is_empty() {
            break;
        }
        for run in next {
            let run_id = run.run_id;
            let outcome = match action {
                RetentionAction::Sealed => runs.seal(database, run).await.map(|sealed| {
                    sealed.map(|sealed| RunLogAction::Sealed {
                        run_id,
                        plain_bytes: sealed.plain_bytes,
                        sealed_bytes: sealed.sealed_bytes,
                    })
                }),
                RetentionAction::Deleted => {
                    let deleted = runs.delete_log(database, run).await;
                    deleted.map(|deleted| deleted.then_some(RunLogAction::Deleted { run_id }))
                }
            };
            match outcome {
                Ok(Some(action)) => drop(session.add_action(&action).await?),
                Ok(None) => {
                    skipped.push(run_id);
                    not_here += 1;
                }
                Err(error) => {
                    tracing::warn!(%run_id, "could not seal or delete a run's log, the next job tries again: {error}");
                    skipped.push(run_id);
                    let reason = error.to_string();
                    session.add_action(&RunLogAction::Failed { run_id, reason }).await?;
                }
            }
        }
    }
    if not_here > 0 {
        session.add_action(&RunLogAction::NotHere { logs: not_here }).await?;
    }
    Ok(())
}
