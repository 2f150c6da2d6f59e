//! The leases of logs, and the writer nodes that hold them.

use std::time::Duration;

use daybook_run_log::RunKey;
use sqlx::Row as _;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::runs::status::RunStatus;
use crate::tenancy::{Database, TeamTx, WorkerDatabase};

/// The right to write a run's log.
#[derive(Debug)]
pub(in crate::runs) struct Lease {
    pub(in crate::runs) epoch: u64,
    pub(in crate::runs) configuration_id: Option<String>,
    pub(in crate::runs) status: RunStatus,
    pub(in crate::runs) lost_after: Duration,
}

/// The result of a request for the lease of a run's log.
#[derive(Debug)]
pub(in crate::runs) enum LeaseOutcome {
    /// This process has the lease.
    Granted(Lease),
    /// A live process has the lease; it is reached at `url`.
    Elsewhere { url: String },
    /// The run has ended, so its log is only read.
    RunEnded,
    /// The node that had the lease is gone, and the log is in another storage.
    LogNotHere,
    /// The node that had the lease is dead. Its write-ahead log is in this storage and must be recovered first.
    NeedsRecovery { node: Uuid },
    /// Another process is recovering the log of the node that had the lease.
    RecoveryUnderWay,
}

/// What the storage shows about the node that has a run's lease. It is more reliable than the time of the last renewal.
pub(in crate::runs) struct StorageEvidence<'a> {
    /// Returns whether a node is alive; `None` if the storage does not show it.
    pub(in crate::runs) is_alive: &'a (dyn Fn(Uuid) -> Option<bool> + Sync),
    /// Whether the run's log is in this storage.
    pub(in crate::runs) has_log: bool,
}

/// Inserts a lease with the next epoch, for a node that does not have the run's lease.
const NEXT_LEASE: &str = "WITH lease AS (
        INSERT INTO run_leases (team_id, run_id, epoch, home)
        SELECT $1, $2, coalesce(max(epoch), 0) + 1, $3 FROM run_leases WHERE team_id = $1 AND run_id = $2
        RETURNING epoch
     )
     UPDATE runs SET home = $3 WHERE team_id = $1 AND id = $2 RETURNING (SELECT epoch FROM lease) AS epoch";

/// Acquires the lease of a run's log for `node`, unless a live node has it.
///
/// # Errors
/// [`Error::NotFound`] for an unknown run; any database error.
pub(in crate::runs) async fn acquire_lease(
    tx: &TeamTx,
    run_id: Uuid,
    node: Uuid,
    lease: Duration,
    evidence: &StorageEvidence<'_>,
) -> Result<LeaseOutcome> {
    let query = sqlx::query(
        "SELECT r.status, r.home, r.configuration_id, r.lost_after_seconds, h.url,
            coalesce(h.renewed_at > clock_timestamp() - $3 * interval '1 millisecond', false) AS renewed
         FROM runs r LEFT JOIN run_homes h ON h.id = r.home AND h.left_at IS NULL
         WHERE r.team_id = $1 AND r.id = $2 FOR UPDATE OF r",
    );
    let query = query.bind(tx.team_id()).bind(run_id).bind(millis(lease));
    let row = tx.fetch_optional(query).await?.ok_or_else(|| Error::not_found("run"))?;
    let status: RunStatus = row.try_get::<&str, _>("status")?.parse()?;
    if status.is_final() {
        return Ok(LeaseOutcome::RunEnded);
    }
    let previous: Option<Uuid> = row.try_get("home")?;
    if let Some(previous) = previous.filter(|previous| *previous != node) {
        let url: Option<String> = row.try_get("url")?;
        let renewed: bool = row.try_get("renewed")?;
        match ((evidence.is_alive)(previous), url) {
            (Some(true), Some(url)) => return Ok(LeaseOutcome::Elsewhere { url }),
            (Some(true), None) => return Ok(LeaseOutcome::RecoveryUnderWay),
            (Some(false), _) => return Ok(LeaseOutcome::NeedsRecovery { node: previous }),
            (None, Some(url)) if renewed => return Ok(LeaseOutcome::Elsewhere { url }),
            (None, _) if !evidence.has_log => return Ok(LeaseOutcome::LogNotHere),
            (None, _) => {}
        }
    }
    // A node that acquires its own run again, for example after a full disk, needs no new epoch, because no other node
    // had the run.
    let query = match previous == Some(node) {
        true => {
            sqlx::query("SELECT max(epoch) AS epoch FROM run_leases WHERE team_id = $1 AND run_id = $2 AND home = $3")
        }
        false => sqlx::query(NEXT_LEASE),
    };
    let epoch_row = tx
        .fetch_optional(query.bind(tx.team_id()).bind(run_id).bind(node))
        .await?;
    let epoch: i64 = epoch_row.ok_or_else(|| Error::not_found("run"))?.try_get("epoch")?;
    let lost_after: i32 = row.try_get("lost_after_seconds")?;
    Ok(LeaseOutcome::Granted(Lease {
        epoch: u64::try_from(epoch).map_err(Error::internal)?,
        configuration_id: row.try_get("configuration_id")?,
        status,
        lost_after: Duration::from_secs(u64::try_from(lost_after).unwrap_or(60)),
    }))
}

/// Returns those of the given runs whose lease `node` still has.
///
/// # Errors
/// Any database error.
pub(in crate::runs) async fn runs_of_node(tx: &TeamTx, node: Uuid, runs: &[Uuid]) -> Result<Vec<RunKey>> {
    let query = sqlx::query("SELECT id FROM runs WHERE team_id = $1 AND home = $2 AND id = ANY ($3)");
    let rows = tx.fetch_all(query.bind(tx.team_id()).bind(node).bind(runs)).await?;
    rows.iter()
        .map(|row| {
            Ok(RunKey {
                team_id: tx.team_id(),
                run_id: row.try_get("id")?,
            })
        })
        .collect()
}

/// Inserts the row of a node, with the URL of its process.
///
/// # Errors
/// Any database error.
pub(in crate::runs) async fn register_node(tx: &TeamTx, node: Uuid, url: &str) -> Result<()> {
    let query = sqlx::query("INSERT INTO run_homes (id, url) VALUES ($1, $2)");
    tx.execute_sql(query.bind(node).bind(url)).await?;
    Ok(())
}

/// Renews a node's lease. Returns false if the lease has expired, so that other processes may consider the node dead.
///
/// # Errors
/// Any database error.
pub(in crate::runs) async fn renew_node(tx: &TeamTx, node: Uuid, lease: Duration) -> Result<bool> {
    let query = sqlx::query(
        "UPDATE run_homes SET renewed_at = clock_timestamp()
         WHERE id = $1 AND left_at IS NULL AND renewed_at > clock_timestamp() - $2 * interval '1 millisecond'",
    );
    Ok(tx.execute_sql(query.bind(node).bind(millis(lease))).await? > 0)
}

/// Marks a node as gone, so that other nodes can acquire its runs at once. A node's row, with the time of its last
/// renewal, is kept for two days. That is longer than any writer may be silent.
///
/// # Errors
/// Any database error.
pub(in crate::runs) async fn mark_node_dead(tx: &TeamTx, node: Uuid) -> Result<()> {
    let query = sqlx::query("UPDATE run_homes SET left_at = clock_timestamp() WHERE id = $1 AND left_at IS NULL");
    tx.execute_sql(query.bind(node)).await?;
    tx.execute_sql(sqlx::query(
        "DELETE FROM run_homes WHERE renewed_at < now() - interval '2 days'",
    ))
    .await?;
    Ok(())
}

/// Returns the runs that are in progress, had no activity for longer than they allow, and whose lease no live node has.
/// At most 1,000 are returned.
///
/// # Errors
/// Any database error.
pub(in crate::runs) async fn find_lost_runs(workers: &WorkerDatabase, lease: Duration) -> Result<Vec<RunKey>> {
    let query = sqlx::query(
        "SELECT r.team_id, r.id FROM runs r LEFT JOIN run_homes h ON h.id = r.home
         WHERE r.completed_at IS NULL AND r.status IN ('building', 'running')
            AND greatest(r.updated_at, h.renewed_at) < clock_timestamp() - r.lost_after_seconds * interval '1 second'
            AND (h.id IS NULL OR h.left_at IS NOT NULL
                OR h.renewed_at < clock_timestamp() - $1 * interval '1 millisecond')
         LIMIT 1000",
    );
    let rows = workers.fetch_all(query.bind(millis(lease))).await?;
    rows.iter()
        .map(|row| {
            Ok(RunKey {
                team_id: row.try_get("team_id")?,
                run_id: row.try_get("id")?,
            })
        })
        .collect()
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Begins a transaction in the system team, because nodes belong to no other team.
///
/// # Errors
/// The errors of [`Database::begin`].
pub(in crate::runs) async fn begin_in_system_team(database: &Database) -> Result<TeamTx> {
    use crate::tenancy::{Context, SYSTEM_TEAM};
    database.begin(&Context::system(SYSTEM_TEAM, "run logs")).await
}
