//! What causes the changes that a transaction makes, for their causation id.

use uuid::Uuid;

use super::TeamTx;

impl TeamTx {
    /// Returns the id of what causes the changes that are made now: that of the innermost [`Cause`], or the context's.
    pub fn causation_id(&self) -> Option<Uuid> {
        self.state.lock().causes.last().copied().or(self.context.causation_id)
    }

    /// Makes `id` the cause of the changes that follow, until the [`Cause`] is dropped.
    pub fn begin_cause(&self, id: Uuid) -> Cause<'_> {
        let mut state = self.state.lock();
        state.causes.push(id);
        Cause {
            tx: self,
            depth: state.causes.len(),
        }
    }
}

/// The cause of the changes in a transaction, until this is dropped.
pub struct Cause<'a> {
    tx: &'a TeamTx,
    /// The number of causes within each other, including this one.
    pub depth: usize,
}

impl Drop for Cause<'_> {
    fn drop(&mut self) {
        self.tx.state.lock().causes.truncate(self.depth - 1);
    }
}
