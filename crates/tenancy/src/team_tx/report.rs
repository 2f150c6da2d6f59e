//! Collects what a transaction did, and reports it to the [`Observer`] at the transaction's end.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::TeamTx;
use super::statement_kind::StatementKind;
use crate::enter::Entry;
use crate::error::DatabaseError;
use crate::forgotten::note_dropped_writes;
use crate::observer::{Ending, Observer, Transaction};
use crate::{Context, Stats};

/// What is known about a transaction's work while it runs.
#[derive(Debug, Default)]
pub(super) struct Report {
    observer: Option<Arc<dyn Observer>>,
    recorded: Vec<Uuid>,
    last_recorded: Option<Uuid>,
    queued: Vec<Uuid>,
    wrote: bool,
    refusal: Option<DatabaseError>,
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

    /// Returns the number of events and jobs, for [`truncate_to`](Self::truncate_to) when a savepoint is rolled back.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.recorded.len(), self.queued.len())
    }

    pub(super) fn truncate_to(&mut self, (recorded, queued): (usize, usize)) {
        self.recorded.truncate(recorded);
        self.queued.truncate(queued);
        self.last_recorded = None;
    }

    /// Forgets the writes of a transaction that could not have committed: their loss is not a forgotten commit.
    pub(super) fn forget_writes(&mut self) {
        self.wrote = false;
        self.last_recorded = None;
    }

    /// Reports the end to the observer, once.
    pub(super) fn report_end(&mut self, ending: Ending, stats: &Stats) {
        let ending = match ending {
            Ending::Dropped if self.wrote || self.last_recorded.is_some() => Ending::DroppedWithWrites,
            ending => ending,
        };
        if ending == Ending::DroppedWithWrites {
            note_dropped_writes();
        }
        let Some(observer) = self.observer.take() else {
            return;
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
    /// Notes recorded events, for the observer of this transaction.
    pub fn note_recorded(&self, events: impl IntoIterator<Item = Uuid>) {
        let mut state = self.state.lock();
        for event in events {
            state.report.last_recorded = Some(event);
            if state.report.observer.is_some() {
                state.report.recorded.push(event);
            }
        }
    }

    /// Returns the last event that was recorded in this transaction.
    pub fn last_recorded(&self) -> Option<Uuid> {
        self.state.lock().report.last_recorded
    }

    /// Notes enqueued jobs, for the observer of this transaction.
    pub fn note_queued(&self, jobs: impl IntoIterator<Item = Uuid>) {
        let mut state = self.state.lock();
        if state.report.observer.is_some() {
            state.report.queued.extend(jobs);
        }
    }

    /// Notes a statement that failed. Returns whether the database refused it.
    pub(super) fn note_refusal<T>(&self, outcome: &Result<T, sqlx::Error>) -> bool {
        let Some(refusal) = outcome.as_ref().err().and_then(DatabaseError::of) else {
            return false;
        };
        let report = &mut self.state.lock().report;
        if let Some(observer) = &report.observer {
            observer.refused(&refusal);
        }
        report.refusal = Some(refusal);
        true
    }

    /// Returns the database's last refusal, once. It is needed because the error that was made from it may be one for
    /// the client, which does not mention the database.
    pub fn take_refusal(&self) -> Option<DatabaseError> {
        self.state.lock().report.refusal.take()
    }

    pub(super) fn report_end(&self, ending: Ending) {
        let mut report = std::mem::take(&mut self.state.lock().report);
        report.report_end(ending, &self.stats);
    }

    /// Notes how many rows a statement has changed.
    pub(super) fn note_affected(&self, rows: u64) {
        if rows > 0 {
            self.state.lock().report.wrote = true;
        }
    }

    /// Notes the rows that a statement returned, if it is one that changes rows.
    pub(super) fn note_returned<T>(&self, kind: StatementKind, rows: Vec<T>) -> Vec<T> {
        if kind == StatementKind::Change {
            self.note_affected(rows.len() as u64);
        }
        rows
    }

    /// Notes the number of rows that PostgreSQL reported for a statement. A query is left out: its number is that of
    /// its results.
    pub(super) fn note_affected_by(&self, kind: StatementKind, rows: u64) {
        if kind != StatementKind::Query {
            self.note_affected(rows);
        }
    }
}

/// Reports a transaction whose team could not be entered.
pub(super) fn report_not_entered(entry: &Entry, waited: Duration) {
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
