//! The lease of this process's writer node: the time until which other processes consider the node alive.

use std::sync::Arc;
use std::time::{Duration, Instant};

use daybook_run_log::WriterNode;
use parking_lot::Mutex;
use tokio::task::AbortHandle;
use uuid::Uuid;

use crate::clock::Clock;
use crate::error::Result;
use crate::runs::store;
use crate::tenancy::Database;

/// The writer node of this process, and the time until which other processes consider it alive.
#[derive(Debug)]
pub(super) struct NodeLease {
    node: Arc<WriterNode>,
    validity: LeaseValidity,
    renewal_task: Mutex<Option<AbortHandle>>,
}

impl NodeLease {
    pub(super) fn new(node: WriterNode, validity: LeaseValidity) -> Self {
        Self {
            node: Arc::new(node),
            validity,
            renewal_task: Mutex::default(),
        }
    }

    /// Sets the task that renews the lease. The task is aborted when this value is dropped.
    pub(super) fn set_renewal_task(&self, task: AbortHandle) {
        *self.renewal_task.lock() = Some(task);
    }

    pub(super) fn id(&self) -> Uuid {
        self.node.id()
    }

    pub(super) fn node(&self) -> &WriterNode {
        &self.node
    }

    /// Returns whether the node can't write, because its lease has expired or a commit has failed.
    pub(super) fn is_lost(&self) -> bool {
        self.node.is_broken() || !self.validity.is_valid()
    }

    /// Stops the node, removes its write-ahead log and marks it as gone in the database.
    pub(super) async fn shut_down(&self, database: &Database) {
        if let Some(renewal_task) = self.renewal_task.lock().take() {
            renewal_task.abort();
        }
        let node = self.node.clone();
        // The committer thread logs its own errors.
        let _ = tokio::task::spawn_blocking(move || node.shut_down()).await;
        if let Err(error) = mark_dead(database, self.id()).await {
            tracing::warn!("run logs: could not release the node lease: {error}");
        }
    }
}

impl Drop for NodeLease {
    fn drop(&mut self) {
        if let Some(renewal_task) = self.renewal_task.lock().take() {
            renewal_task.abort();
        }
    }
}

/// Whether a node may still write. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct LeaseValidity {
    clock: Clock,
    until: Arc<Mutex<Instant>>,
}

impl LeaseValidity {
    /// Starts with a lease that is requested now.
    pub(super) fn new(clock: Clock, lease: Duration) -> Self {
        let until = usable_until(clock.instant(), lease);
        Self {
            clock,
            until: Arc::new(Mutex::new(until)),
        }
    }

    /// Returns the time at which a lease is requested, for [`LeaseValidity::extend`].
    pub(super) fn now(&self) -> Instant {
        self.clock.instant()
    }

    pub(super) fn is_valid(&self) -> bool {
        self.now() < *self.until.lock()
    }

    /// Extends the validity by a lease that was requested at `requested_at`.
    pub(super) fn extend(&self, requested_at: Instant, lease: Duration) {
        *self.until.lock() = usable_until(requested_at, lease);
    }

    pub(super) fn end(&self) {
        *self.until.lock() = self.now();
    }
}

/// Returns the time until which a lease may be used. The last fifth is kept for a commit that has begun.
fn usable_until(requested_at: Instant, lease: Duration) -> Instant {
    requested_at + lease - lease / 5
}

/// Marks a node as gone in the database.
pub(super) async fn mark_dead(database: &Database, node: Uuid) -> Result<()> {
    let tx = store::begin_in_system_team(database).await?;
    store::mark_node_dead(&tx, node).await?;
    tx.commit().await
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    const LEASE: Duration = Duration::from_secs(15);

    #[test]
    fn a_process_stops_writing_before_others_may_acquire_its_runs() {
        let clock = Clock::system();
        let validity = LeaseValidity::new(clock.clone(), LEASE);
        let may_write = validity.clone();
        clock.advance(TimeDelta::seconds(11));
        assert!(may_write.is_valid());
        // One second later the last fifth of the lease begins, in which a commit that has begun can finish.
        clock.advance(TimeDelta::seconds(1));
        assert!(!may_write.is_valid());
    }

    #[test]
    fn a_renewed_lease_counts_from_the_request_for_it() {
        let clock = Clock::system();
        let validity = LeaseValidity::new(clock.clone(), LEASE);
        let requested_at = clock.instant();
        // The database answers late.
        clock.advance(TimeDelta::seconds(5));
        validity.extend(requested_at, LEASE);
        clock.advance(TimeDelta::seconds(6));
        assert!(validity.is_valid());
        clock.advance(TimeDelta::seconds(2));
        assert!(!validity.is_valid());
    }

    #[test]
    fn a_lease_that_the_database_refuses_to_renew_is_not_used() {
        let validity = LeaseValidity::new(Clock::system(), LEASE);
        validity.end();
        assert!(!validity.is_valid());
    }

    #[test]
    fn setting_the_time_of_day_back_does_not_lengthen_a_lease() {
        let clock = Clock::system();
        let validity = LeaseValidity::new(clock.clone(), LEASE);
        clock.advance(TimeDelta::seconds(-60));
        clock.advance(TimeDelta::seconds(15));
        assert!(!validity.is_valid());
    }
}
