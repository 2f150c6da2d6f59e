//! The events whose consumers are running.

use uuid::Uuid;

use super::TeamTx;

impl TeamTx {
    /// Returns the event whose consumer is running, the innermost one: it is the cause of the events emitted now.
    pub(crate) fn cause(&self) -> Option<Uuid> {
        self.state().causes.last().copied().or(self.context.causation_id)
    }

    /// Makes `event_id` the cause of the events that follow, until the [`Cause`] is dropped.
    pub(crate) fn begin_cause(&self, event_id: Uuid) -> Cause<'_> {
        let mut state = self.state();
        state.causes.push(event_id);
        Cause {
            tx: self,
            depth: state.causes.len(),
        }
    }
}

/// The event whose consumer is running, until this is dropped.
pub(crate) struct Cause<'a> {
    tx: &'a TeamTx,
    /// The number of causes, including this one.
    pub depth: usize,
}

impl Drop for Cause<'_> {
    fn drop(&mut self) {
        self.tx.state().causes.truncate(self.depth - 1);
    }
}
