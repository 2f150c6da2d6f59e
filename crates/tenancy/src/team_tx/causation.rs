//! The causes of a transaction's changes, for their causation ids.

use uuid::Uuid;

use super::TeamTx;

impl TeamTx {
    /// Returns the causation id of the current changes: the id of the innermost `CauseGuard`, or the context's
    /// causation id.
    pub fn causation_id(&self) -> Option<Uuid> {
        self.state.lock().causes.last().copied().or(self.context.causation_id)
    }

    /// Makes `id` the cause of the changes that follow, until the `CauseGuard` is dropped.
    pub fn begin_cause(&self, id: Uuid) -> CauseGuard<'_> {
        let mut state = self.state.lock();
        state.causes.push(id);
        CauseGuard {
            tx: self,
            depth: state.causes.len(),
        }
    }
}

/// The cause of the changes in a transaction, until this is dropped.
pub struct CauseGuard<'a> {
    tx: &'a TeamTx,
    /// The number of causes within each other, including this one.
    pub depth: usize,
}

impl Drop for CauseGuard<'_> {
    fn drop(&mut self) {
        self.tx.state.lock().causes.truncate(self.depth - 1);
    }
}
