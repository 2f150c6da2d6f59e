//! Finds a run's log, and acquires it if no process holds it.

use daybook_run_log::RunKey;
use uuid::Uuid;

use super::errors::{recovery_under_way, stopping};
use super::open_log::{LogLocation, OpenLog};
use super::runs::Runs;
use super::slot::Slot;
use crate::error::{Error, Result};
use crate::runs::log_error::log_error;
use crate::runs::status::RunStatus;
use crate::runs::store::{self, LeaseOutcome, StorageEvidence};
use crate::tenancy::{Context, Database};

impl Runs {
    /// Finds a run's log. If no process holds the log, this process acquires it.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Unavailable`] when the log can't be read or written; [`Error::Conflict`] when a
    /// process whose URL is not known has locked the log's file.
    pub(in crate::runs) async fn find(&self, database: &Database, run: RunKey) -> Result<LogLocation> {
        let slot = self.slot(run);
        let mut open = slot.open().await;
        if let Some(open) = open
            .as_ref()
            .filter(|open| !open.log.has_failed() && !open.node_lease.is_lost())
        {
            return Ok(LogLocation::Open(open.clone()));
        }
        if let Some(lost) = open.take() {
            slot.note_durable_bytes(lost.log.durable().borrow().bytes);
        }
        // Boxed, because it is rare (usually the log is open), and the caller's future should stay small.
        match Box::pin(self.acquire(database, run, &slot)).await {
            Ok(found) => {
                match &found {
                    LogLocation::Open(acquired) => *open = Some(acquired.clone()),
                    LogLocation::Elsewhere(_) | LogLocation::Closed | LogLocation::NotHere => {
                        drop(self.slots().remove(&run))
                    }
                }
                Ok(found)
            }
            Err(error) => {
                if matches!(error, Error::NotFound { .. }) {
                    self.slots().remove(&run);
                }
                Err(error)
            }
        }
    }

    async fn acquire(&self, database: &Database, run: RunKey, slot: &Slot) -> Result<LogLocation> {
        if *self.0.closing.borrow() {
            return Err(stopping());
        }
        // This check comes before the writer node is started, which is expensive. A request for an unknown run is
        // usually a mistake.
        let context = Context::system(run.team_id, "run logs");
        let tx = database.read(&context).await?;
        let row = store::get(&tx, run.run_id).await?;
        tx.commit().await?;
        if row.status.parse::<RunStatus>()?.is_final() {
            return Ok(LogLocation::Closed);
        }
        let node_lease = self.node_lease(database).await?;
        let lease = loop {
            match self.acquire_lease(database, run, node_lease.id()).await? {
                LeaseOutcome::Granted(lease) => break lease,
                LeaseOutcome::RunEnded => return Ok(LogLocation::Closed),
                LeaseOutcome::LogNotHere => return Ok(LogLocation::NotHere),
                // The process that has the log has the same URL as this one. It is this one's predecessor, and is about
                // to stop.
                LeaseOutcome::Elsewhere { url } if url == self.0.options.url => return Err(recovery_under_way()),
                LeaseOutcome::Elsewhere { url } => return Ok(LogLocation::Elsewhere(url)),
                LeaseOutcome::RecoveryUnderWay => return Err(recovery_under_way()),
                // The lines of the dead node must be in the file before the run moves to another node. After the move,
                // nothing would recover them.
                LeaseOutcome::NeedsRecovery { node } => self.recover_node(database, node).await?,
            }
        };
        let opening = node_lease.clone();
        let (epoch, configuration) = (lease.epoch, lease.configuration_id.clone());
        let opened = tokio::task::spawn_blocking(move || opening.node().open(run, epoch, configuration.as_deref()))
            .await
            .map_err(Error::internal)?;
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.report_degraded(database, run);
                return Err(log_error(error));
            }
        };
        slot.acquired(&lease, self.now());
        if opened.completed {
            self.end_from_log(database, run, &opened.log).await?;
            return Ok(LogLocation::Closed);
        }
        if let Err(error) = slot.append_opening_lines(&node_lease, &opened, &lease).await {
            self.report_degraded(database, run);
            return Err(log_error(error));
        }
        Ok(LogLocation::Open(OpenLog {
            node_lease,
            log: opened.log,
        }))
    }

    async fn acquire_lease(&self, database: &Database, run: RunKey, node: Uuid) -> Result<LeaseOutcome> {
        let _no_recovery = self.0.recovering.read().await;
        let storage = self.storage().clone();
        let evidence = StorageEvidence {
            is_alive: &|node| storage.is_alive(node).ok().flatten(),
            has_log: storage.is_here(run),
        };
        let tx = database.begin(&Context::system(run.team_id, "run logs")).await?;
        let outcome = store::acquire_lease(&tx, run.run_id, node, self.0.options.lease, &evidence).await?;
        tx.commit().await?;
        Ok(outcome)
    }
}
