//! Commits that were forgotten: a [`TeamTx`](super::TeamTx) that wrote and was dropped, in work that says it succeeded.
//!
//! A transaction that is dropped is rolled back, which is right when its work failed (`?` drops it), and loses what was
//! written when it didn't. Only whoever knows how the work ended can tell the two apart: so the drop is counted in the
//! unit of work around it (a request, a job's attempt), and looked at when that has succeeded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Database;

tokio::task_local! {
    static DROPPED: DroppedWrites;
}

/// Transactions of a unit of work that were dropped with what they had written.
#[derive(Debug, Clone, Default)]
pub(crate) struct DroppedWrites(Arc<AtomicU64>);

impl DroppedWrites {
    /// Runs work whose dropped transactions are counted here. What it spawns isn't its own.
    pub(crate) fn around<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        DROPPED.scope(self.clone(), work)
    }

    /// Work that goes on in a task of its own, counted where the current work is.
    pub(crate) fn carry<F: Future>(work: F) -> impl Future<Output = F::Output> + use<F> {
        let current: Self = DROPPED.try_with(Clone::clone).unwrap_or_default();
        current.around(work)
    }

    /// After work that succeeded: how many commits were forgotten in it.
    ///
    /// # Panics
    /// If there were any, in tests: where the database carries [`ForgottenCommits::Panic`].
    pub(crate) fn forgotten(&self, database: &Database) -> u64 {
        let forgotten = self.0.load(Ordering::Relaxed);
        let in_tests = matches!(database.extension(), Some(ForgottenCommits::Panic));
        assert!(
            forgotten == 0 || !in_tests || std::thread::panicking(),
            "{forgotten} transactions wrote and were dropped, and their work succeeded all the same: {ADVICE}"
        );
        forgotten
    }
}

/// What to do about it.
pub(crate) const ADVICE: &str = "call commit() when the work is done, or rollback() when it is not to be kept";

/// What a forgotten commit is in work that succeeds: an extension of the [`Database`]. Without it, a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForgottenCommits {
    /// A panic, so that a test fails; `daybook::testing` says so.
    Panic,
}

/// Counts a transaction that was dropped with what it had written.
pub(super) fn note_dropped_writes() {
    // Outside a unit of work there is no result to compare with.
    let _ = DROPPED.try_with(|dropped| dropped.0.fetch_add(1, Ordering::Relaxed));
}
