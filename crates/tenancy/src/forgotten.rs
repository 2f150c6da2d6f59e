//! Detects forgotten commits: a [`TeamTx`](super::TeamTx) that wrote and was dropped, in work that succeeded.
//!
//! A transaction that is dropped is rolled back. That is right if its work failed (`?` drops it), but loses the changes
//! if the work succeeded. The drop itself can't distinguish the two. So the drop is counted in the unit of work around
//! it (a request, an attempt at a job), and the count is checked when that unit has succeeded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Database;

tokio::task_local! {
    static DROPPED: DroppedWrites;
}

/// The number of a unit of work's transactions that were dropped with changes.
#[derive(Debug, Clone, Default)]
pub struct DroppedWrites(Arc<AtomicU64>);

impl DroppedWrites {
    /// Runs work whose dropped transactions are counted here. Tasks that it spawns are not included.
    pub fn around<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        DROPPED.scope(self.clone(), work)
    }

    /// Wraps work that continues in its own task, so that it is counted with the current work.
    pub fn carry<F: Future>(work: F) -> impl Future<Output = F::Output> + use<F> {
        let current: Self = DROPPED.try_with(Clone::clone).unwrap_or_default();
        current.around(work)
    }

    /// Returns the number of forgotten commits, after work that succeeded.
    ///
    /// # Panics
    /// If there are any and the database has the policy [`ForgottenCommits::Panic`], as in tests.
    pub fn forgotten(&self, database: &Database) -> u64 {
        let forgotten = self.0.load(Ordering::Relaxed);
        let in_tests = database.forgotten_commits() == ForgottenCommits::Panic;
        assert!(
            forgotten == 0 || !in_tests || std::thread::panicking(),
            "{forgotten} transactions wrote and were dropped, but their work succeeded: {ADVICE}"
        );
        forgotten
    }
}

/// Advice for the author of code that forgot a commit.
pub const ADVICE: &str = "call commit() when the work is done, or rollback() to discard it";

/// The reaction to a forgotten commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ForgottenCommits {
    /// A warning, and an error in the wide event.
    #[default]
    Warn,
    /// A panic, so that a test fails. `daybook::testing` sets this.
    Panic,
}

/// Counts a transaction that was dropped with changes.
pub(super) fn note_dropped_writes() {
    // Outside a unit of work there is no result to compare with.
    let _ = DROPPED.try_with(|dropped| dropped.0.fetch_add(1, Ordering::Relaxed));
}
