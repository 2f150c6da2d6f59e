//! The writer node of this process: starting it, renewing its lease, recovering the logs of dead nodes, and ending the
//! runs whose writers are lost.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use daybook_run_log::{OpenFilesLimits, RunKey, WriterNode, WriterNodeOptions};
use nix::sys::resource::{Resource, getrlimit};
use uuid::Uuid;

use super::end_run::EndOutcome;
use super::errors::stopping;
use super::node_lease::{LeaseValidity, NodeLease, mark_dead};
use super::open_log::LogLocation;
use super::runs::{RegistryState, Runs};
use crate::error::{Error, Result};
use crate::runs::log_error::log_error;
use crate::runs::new_run::RunOutcome;
use crate::runs::store;
use crate::tenancy::internal::DatabaseInternals as _;
use crate::tenancy::{Context, Database};

/// Limits open files to a quarter of the process's descriptor limit, but to no fewer than 8.
fn limit_to_descriptors(limits: OpenFilesLimits) -> OpenFilesLimits {
    let descriptors = getrlimit(Resource::RLIMIT_NOFILE).map_or(1_024, |(soft, _)| soft);
    let quarter = usize::try_from(descriptors / 4).unwrap_or(usize::MAX);
    OpenFilesLimits::new(limits.max.min(quarter).max(8), limits.idle_after)
}

impl Runs {
    /// Returns the lease of this process's writer node. Starts the node at the first call, and again after its lease
    /// was lost.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the storage can't be written or the process stops; any database error.
    pub(super) async fn node_lease(&self, database: &Database) -> Result<Arc<NodeLease>> {
        let mut held = self.0.node_lease.lock().await;
        if let Some(node_lease) = held.as_ref().filter(|node_lease| !node_lease.is_lost()) {
            return Ok(node_lease.clone());
        }
        if *self.0.closing.borrow() {
            return Err(stopping());
        }
        if let Some(lost) = held.take() {
            tracing::warn!("run logs: the node lease was lost or a commit failed, so a new writer node is started");
            self.slots().values().for_each(|slot| slot.release());
            lost.shut_down(database).await;
        }
        let lease = self.0.options.lease;
        let validity = LeaseValidity::new(self.0.clock.clone(), lease);
        let options = WriterNodeOptions::default()
            .max_log_bytes(self.0.options.run_bytes)
            .segment_bytes(self.0.options.segment_bytes)
            .open_files(limit_to_descriptors(self.0.options.open_files));
        let (storage, may_write) = (self.storage().clone(), validity.clone());
        let start = move || WriterNode::start(&storage, options, move || may_write.is_valid());
        let node = tokio::task::spawn_blocking(start)
            .await
            .map_err(Error::internal)?
            .map_err(log_error)?;
        let tx = store::begin_in_system_team(database).await?;
        store::register_node(&tx, node.id(), &self.0.options.url).await?;
        tx.commit().await?;
        let node_lease = Arc::new(NodeLease::new(node, validity.clone()));
        let renewal = renew_and_recover(
            Arc::downgrade(&self.0),
            database.clone(),
            node_lease.id(),
            validity,
            lease,
        );
        node_lease.set_renewal_task(tokio::spawn(renewal).abort_handle());
        *held = Some(node_lease.clone());
        drop(held);
        self.recover_dead_nodes(database).await;
        Ok(node_lease)
    }

    /// Recovers the logs of all dead nodes in this storage.
    async fn recover_dead_nodes(&self, database: &Database) {
        let nodes = self.storage().nodes().unwrap_or_default();
        for node in nodes {
            if let Err(error) = self.recover_node(database, node).await {
                tracing::warn!(%node, "run logs: could not recover the logs of a node, which is tried again: {error}");
            }
        }
    }

    /// Recovers the logs of a node, if it is dead and its write-ahead log is in this storage.
    ///
    /// # Errors
    /// Any error of the database or of the storage. Then the write-ahead log is kept.
    pub(super) async fn recover_node(&self, database: &Database, node: Uuid) -> Result<()> {
        let _alone = self.0.recovering.write().await;
        let storage = self.storage().clone();
        let unrecovered = tokio::task::spawn_blocking(move || storage.unrecovered_runs(node)).await;
        let Some(runs) = unrecovered.map_err(Error::internal)?.map_err(Error::internal)? else {
            return Ok(());
        };
        // The node is dead, but other processes consider it alive until its row is changed.
        mark_dead(database, node).await?;
        let mut by_team: BTreeMap<Uuid, Vec<Uuid>> = BTreeMap::new();
        for run in runs {
            by_team.entry(run.team_id).or_default().push(run.run_id);
        }
        let mut owned: Vec<RunKey> = Vec::new();
        for (team_id, runs) in by_team {
            let tx = database.read(&Context::system(team_id, "run logs")).await?;
            owned.extend(store::runs_of_node(&tx, node, &runs).await?);
            tx.commit().await?;
        }
        let storage = self.storage().clone();
        tokio::task::spawn_blocking(move || storage.recover(node, &owned))
            .await
            .map_err(Error::internal)?
            .map_err(log_error)?;
        Ok(())
    }

    /// Ends the runs whose writers were silent for too long. Returns the number of runs that this call has ended: a run
    /// that another call ends at the same time, in this process or another, is not counted.
    pub async fn end_silent(&self, database: &Database) -> usize {
        let mut ended = 0;
        let silent: Vec<_> = self
            .slots()
            .iter()
            .filter(|(_, slot)| slot.silence(self.now()).is_some())
            .map(|(run, slot)| (*run, slot.clone()))
            .collect();
        for (run, slot) in silent {
            // The writer may have sent lines while other runs were ended.
            let Some(silence) = slot.silence(self.now()) else {
                continue;
            };
            let reason = format!("its writer was silent for {} s", silence.as_secs());
            ended += usize::from(self.end_lost(database, run, reason).await);
        }
        // Runs whose log no process holds can be found only through the workers' database.
        let Some(workers) = database.workers() else {
            return ended;
        };
        match store::find_lost_runs(workers, self.0.options.lease).await {
            Ok(lost) => {
                for run in lost {
                    if self.slots().get(&run).is_some_and(|slot| slot.has_writer(self.now())) {
                        continue;
                    }
                    let reason = "the process that wrote its log is gone, and no line was written since".to_owned();
                    ended += usize::from(self.end_lost(database, run, reason).await);
                }
            }
            Err(error) => tracing::warn!("run logs: could not look for lost runs: {error}"),
        }
        ended
    }

    /// Ends a run whose writer is lost. Returns whether this call has ended it, and logs that. Nothing is logged for a
    /// run that had ended before, or whose log another process holds.
    async fn end_lost(&self, database: &Database, run: RunKey, reason: String) -> bool {
        let context = Context::system(run.team_id, "run logs");
        let ending = RunOutcome::failed("writer-lost", reason);
        let ended = match self.find(database, run).await {
            Ok(LogLocation::NotHere) => self.end_without_log(database, run, &ending).await,
            _ => {
                let outcome = self.end(database, &context, run, ending).await;
                outcome.map(|outcome| matches!(outcome, EndOutcome::Ended(_)))
            }
        };
        match &ended {
            Ok(true) => tracing::warn!(run = %run.run_id, "a run was ended: its writer is lost"),
            Ok(false) => {}
            Err(error) => tracing::warn!(run = %run.run_id, "could not end a run whose writer is lost: {error}"),
        }
        matches!(ended, Ok(true))
    }

    /// Ends the runs whose writers are lost, at intervals, until the process shuts down. It is for a process with
    /// workers.
    pub async fn watch_for_lost_runs(self, database: Database) {
        let mut ticks = tokio::time::interval(self.0.options.lease / 3);
        loop {
            ticks.tick().await;
            if *self.0.closing.borrow() {
                return;
            }
            self.end_silent(&database).await;
        }
    }
}

/// Renews the node lease, ends the runs of silent writers, and recovers dead nodes, until the registry is dropped or
/// the lease is lost.
fn renew_and_recover(
    runs: Weak<RegistryState>,
    database: Database,
    node: Uuid,
    validity: LeaseValidity,
    lease: Duration,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    // Boxed, because this future is recursive: ending runs may start a new node.
    Box::pin(renew_loop(runs, database, node, validity, lease))
}

async fn renew_loop(
    runs: Weak<RegistryState>,
    database: Database,
    node: Uuid,
    validity: LeaseValidity,
    lease: Duration,
) {
    let mut ticks = tokio::time::interval(lease / 5);
    ticks.tick().await;
    let mut tick_count: u32 = 0;
    loop {
        ticks.tick().await;
        let requested_at = validity.now();
        let renewed = async {
            let tx = store::begin_in_system_team(&database).await?;
            let renewed = store::renew_node(&tx, node, lease).await?;
            tx.commit().await?;
            Ok::<_, Error>(renewed)
        };
        match renewed.await {
            Ok(true) => validity.extend(requested_at, lease),
            Ok(false) => {
                // Other processes may have acquired the runs.
                validity.end();
                tracing::warn!("run logs: the node lease has expired: other processes may write its runs");
                return;
            }
            Err(error) => tracing::warn!("run logs: could not renew the node lease: {error}"),
        }
        let Some(runs) = runs.upgrade().map(Runs) else { return };
        tick_count = tick_count.wrapping_add(1);
        runs.end_silent(&database).await;
        if tick_count.is_multiple_of(5) {
            runs.recover_dead_nodes(&database).await;
        }
    }
}
