//! The lease of this process's writer node: the time until which other processes consider the node alive.

use std::sync::Arc;
use std::time::{Duration, Instant};

use daybook_run_log::WriterNode;
use parking_lot::Mutex;
use tokio::task::AbortHandle;
use uuid::Uuid;

use crate::error::Result;
use crate::runs::store;
use crate::tenancy::Database;

/// The writer node of this process, and the time until which other processes consider it alive.
#[derive(Debug)]
pub(super) struct NodeLease {
    node: Arc<WriterNode>,
    until: Arc<Mutex<Instant>>,
    renewal_task: Mutex<Option<AbortHandle>>,
}

impl NodeLease {
    pub(super) fn new(node: WriterNode, until: Arc<Mutex<Instant>>) -> Self {
        Self {
            node: Arc::new(node),
            until,
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
        self.node.is_broken() || !is_valid(&self.until)
    }

    /// Stops the node, removes its write-ahead log and marks it as gone in the database.
    pub(super) async fn shut_down(&self, database: &Database) {
        if let Some(renewal_task) = self.renewal_task.lock().take() {
            renewal_task.abort();
        }
        let node = self.node.clone();
        // The committer thread logs its own errors.
        let _ = tokio::task::spawn_blocking(move || node.shut_down()).await;
        if let Err(error) = mark_gone(database, self.id()).await {
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

pub(super) fn is_valid(until: &Mutex<Instant>) -> bool {
    Instant::now() < *until.lock()
}

/// Returns the time until which a lease that was renewed at `at` may be used. The last fifth of the lease is left for
/// commits that have begun.
pub(super) fn holds_until(at: Instant, lease: Duration) -> Instant {
    at + lease - lease / 5
}

/// Marks a node as gone in the database.
pub(super) async fn mark_gone(database: &Database, node: Uuid) -> Result<()> {
    let tx = store::begin_in_system_team(database).await?;
    store::mark_node_gone(&tx, node).await?;
    tx.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_stops_writing_before_others_may_acquire_its_runs() {
        let (renewed, lease) = (Instant::now(), Duration::from_secs(15));
        let until = holds_until(renewed, lease);
        assert!(until < renewed + lease, "a commit that has begun can finish");
        assert!(until > renewed + lease / 5, "the lease is renewed before that");
    }
}
