//! What a transaction tells its [`Observer`] at its end.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::TeamTx;
use crate::tenancy::enter::Entry;
use crate::tenancy::observer::{Ending, Observer, Transaction};
use crate::tenancy::{Context, Stats};

/// What is known of a transaction's work while it runs.
#[derive(Debug, Default)]
pub(super) struct Report {
    observer: Option<Arc<dyn Observer>>,
    recorded: Vec<Uuid>,
    last_recorded: Option<Uuid>,
    queued: Vec<Uuid>,
    wrote: bool,
}

impl Report {
    pub(super) fn begin(observer: Option<&Arc<dyn Observer>>, context: &Context) -> Self {
        if let Some(observer) = observer {
            observer.entered(context);
        }
        Self {
            observer: observer.cloned(),
            ..Self::default()
        }
    }

    /// How many events and jobs there are, to come back to after a savepoint.
    pub(super) fn noted(&self) -> (usize, usize) {
        (self.recorded.len(), self.queued.len())
    }

    pub(super) fn forget_after(&mut self, (recorded, queued): (usize, usize)) {
        self.recorded.truncate(recorded);
        self.queued.truncate(queued);
        self.last_recorded = None;
    }

    /// Tells it, once.
    pub(super) fn tell(&mut self, ending: Ending, stats: &Stats) {
        let Some(observer) = self.observer.take() else {
            return;
        };
        let ending = match ending {
            Ending::Dropped if self.wrote || !self.recorded.is_empty() => Ending::DroppedWithWrites,
            ending => ending,
        };
        observer.ended(&Transaction {
            ending,
            stats,
            recorded: &self.recorded,
            queued: &self.queued,
        });
    }
}

impl TeamTx {
    /// Notes events, for whoever observes this transaction.
    pub(crate) fn note_recorded(&self, events: impl IntoIterator<Item = Uuid>) {
        let mut state = self.state();
        for event in events {
            state.report.last_recorded = Some(event);
            if state.report.observer.is_some() {
                state.report.recorded.push(event);
            }
        }
    }

    /// The last event that was recorded here.
    pub(crate) fn last_recorded(&self) -> Option<Uuid> {
        self.state().report.last_recorded
    }

    /// Notes jobs that were asked for, for whoever observes this transaction.
    pub(crate) fn note_queued(&self, jobs: impl IntoIterator<Item = Uuid>) {
        let mut state = self.state();
        if state.report.observer.is_some() {
            state.report.queued.extend(jobs);
        }
    }

    pub(super) fn tell(&mut self, ending: Ending) {
        let mut report = std::mem::take(&mut self.state().report);
        report.tell(ending, &self.stats);
    }

    /// Notes that rows have changed. What a query of `fetch_…` changes is not looked into: our own changes record an
    /// event.
    pub(super) fn note_affected(&self, rows: u64) {
        if rows > 0 {
            self.state().report.wrote = true;
        }
    }

    /// [`note_affected`](TeamTx::note_affected) of a statement that may be a query: those count their rows, too.
    pub(super) fn note_affected_by(&self, is_query: bool, rows: u64) {
        if !is_query {
            self.note_affected(rows);
        }
    }
}

/// Whether a statement begins as one that changes nothing.
pub(super) fn is_query(sql: &str) -> bool {
    let word = sql.split_ascii_whitespace().next().unwrap_or_default();
    ["select", "show", "set", "values"]
        .iter()
        .any(|query| word.eq_ignore_ascii_case(query))
}

/// Tells of a transaction that was over before it began.
pub(super) fn not_entered(entry: &Entry, waited: Duration) {
    if let Some(observer) = &entry.request.observer {
        let stats = Stats::default();
        stats.add(waited);
        observer.ended(&Transaction {
            ending: Ending::NotEntered,
            stats: &stats,
            recorded: &[],
            queued: &[],
        });
    }
}
