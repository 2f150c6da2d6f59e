//! Who writes a run's log: leases, and the processes that hold them.

use std::time::Duration;

use sqlx::Row as _;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::runs::log::RunKey;
use crate::runs::status::RunStatus;
use crate::tenancy::{Database, TeamTx, WorkerDatabase};

/// A run whose log this process may write.
#[derive(Debug)]
pub(in crate::runs) struct Lease {
    pub(in crate::runs) epoch: u64,
    pub(in crate::runs) configuration_id: Option<String>,
    pub(in crate::runs) status: RunStatus,
    pub(in crate::runs) lost_after: Duration,
}

/// What came of asking for a run's log.
#[derive(Debug)]
pub(in crate::runs) enum LeaseOutcome {
    /// It is this process's.
    Granted(Lease),
    /// A process that lives has it: there.
    Elsewhere { url: String },
    /// The run has ended: its log is only read.
    RunEnded,
    /// Who had it is gone, and has left it elsewhere.
    LogNotHere,
    /// Who had it is dead, and what it left here is to be taken over before anything else.
    NeedsRecovery { node: Uuid },
    /// Somebody is taking over what who had it left.
    RecoveryUnderWay,
}

/// What the storage shows, which knows better than the clock.
pub(in crate::runs) struct StorageEvidence<'a> {
    /// Whether a process lives, as far as that shows.
    pub(in crate::runs) is_alive: &'a (dyn Fn(Uuid) -> Option<bool> + Sync),
    /// Whether the run's log is here.
    pub(in crate::runs) has_log: bool,
}

/// The next epoch, for a home that has not had it before.
const NEXT_LEASE: &str = "WITH lease AS (
        INSERT INTO run_leases (team_id, run_id, epoch, home)
        SELECT $1, $2, coalesce(max(epoch), 0) + 1, $3 FROM run_leases WHERE team_id = $1 AND run_id = $2
        RETURNING epoch
     )
     UPDATE runs SET home = $3 WHERE team_id = $1 AND id = $2 RETURNING (SELECT epoch FROM lease) AS epoch";

/// Takes a run's log for `home`, if nobody who lives has it.
///
/// # Errors
/// [`Error::NotFound`].
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
    let before: Option<Uuid> = row.try_get("home")?;
    if let Some(before) = before.filter(|before| *before != node) {
        let url: Option<String> = row.try_get("url")?;
        let renewed: bool = row.try_get("renewed")?;
        match ((evidence.is_alive)(before), url) {
            (Some(true), Some(url)) => return Ok(LeaseOutcome::Elsewhere { url }),
            (Some(true), None) => return Ok(LeaseOutcome::RecoveryUnderWay),
            (Some(false), _) => return Ok(LeaseOutcome::NeedsRecovery { node: before }),
            (None, Some(url)) if renewed => return Ok(LeaseOutcome::Elsewhere { url }),
            (None, _) if !evidence.has_log => return Ok(LeaseOutcome::LogNotHere),
            (None, _) => {}
        }
    }
    // Taking it up again, as after a disk was full, needs no new epoch: nobody else had it.
    let query = match before == Some(node) {
        true => {
            sqlx::query("SELECT max(epoch) AS epoch FROM run_leases WHERE team_id = $1 AND run_id = $2 AND home = $3")
        }
        false => sqlx::query(NEXT_LEASE),
    };
    let taken = tx
        .fetch_optional(query.bind(tx.team_id()).bind(run_id).bind(node))
        .await?;
    let epoch: i64 = taken.ok_or_else(|| Error::not_found("run"))?.try_get("epoch")?;
    let lost_after: i32 = row.try_get("lost_after_seconds")?;
    Ok(LeaseOutcome::Granted(Lease {
        epoch: u64::try_from(epoch).map_err(Error::internal)?,
        configuration_id: row.try_get("configuration_id")?,
        status,
        lost_after: Duration::from_secs(u64::try_from(lost_after).unwrap_or(60)),
    }))
}

/// Of these runs, those that are still `home`'s.
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

/// Says that a process lives, and where it is reached.
///
/// # Errors
/// Any database error.
pub(in crate::runs) async fn register_node(tx: &TeamTx, node: Uuid, url: &str) -> Result<()> {
    let query = sqlx::query("INSERT INTO run_homes (id, url) VALUES ($1, $2)");
    tx.execute_sql(query.bind(node).bind(url)).await?;
    Ok(())
}

/// Says that a process lives still. False if others may have taken it for dead.
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

/// Says that a process is gone: others may take up its runs at once. Until when it was there is remembered for longer than any
/// writer may be silent.
///
/// # Errors
/// Any database error.
pub(in crate::runs) async fn mark_node_gone(tx: &TeamTx, node: Uuid) -> Result<()> {
    let query = sqlx::query("UPDATE run_homes SET left_at = clock_timestamp() WHERE id = $1 AND left_at IS NULL");
    tx.execute_sql(query.bind(node)).await?;
    tx.execute_sql(sqlx::query(
        "DELETE FROM run_homes WHERE renewed_at < now() - interval '2 days'",
    ))
    .await?;
    Ok(())
}

/// Runs under way that nobody has said anything of for as long as each allows, and that no process holds that lives.
///
/// # Errors
/// [`Error::Internal`] where there are no workers; any database error.
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

/// A transaction of the service's own, in no team in particular: processes belong to none.
///
/// # Errors
/// As [`Database::begin`].
pub(in crate::runs) async fn begin_in_system_team(database: &Database) -> Result<TeamTx> {
    use crate::tenancy::{Context, SYSTEM_TEAM};
    database.begin(&Context::system(SYSTEM_TEAM, "run logs")).await
}
