//! What a transaction tells its [`Observer`] at its end.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::TeamTx;
use crate::error::DatabaseError;
use crate::tenancy::enter::Entry;
use crate::tenancy::forgotten::note_dropped_writes;
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

    /// How many events and jobs there are, to come back to after a savepoint.
    pub(super) fn noted(&self) -> (usize, usize) {
        (self.recorded.len(), self.queued.len())
    }

    pub(super) fn forget_after(&mut self, (recorded, queued): (usize, usize)) {
        self.recorded.truncate(recorded);
        self.queued.truncate(queued);
        self.last_recorded = None;
    }

    /// Whatever was written is lost in any case.
    pub(super) fn forget_writes(&mut self) {
        self.wrote = false;
        self.last_recorded = None;
    }

    /// Tells it, once.
    pub(super) fn tell(&mut self, ending: Ending, stats: &Stats) {
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

    /// Notes a statement that failed: whether the database refused it.
    pub(super) fn note_refusal<T>(&self, outcome: &Result<T, sqlx::Error>) -> bool {
        let Some(refusal) = outcome.as_ref().err().and_then(DatabaseError::of) else {
            return false;
        };
        let report = &mut self.state().report;
        if let Some(observer) = &report.observer {
            observer.refused(&refusal);
        }
        report.refusal = Some(refusal);
        true
    }

    /// The last statement that the database refused, once: the error that came of it may be a client's, which says nothing
    /// of the database.
    pub(crate) fn take_refusal(&self) -> Option<DatabaseError> {
        self.state().report.refusal.take()
    }

    pub(super) fn tell(&self, ending: Ending) {
        let mut report = std::mem::take(&mut self.state().report);
        report.tell(ending, &self.stats);
    }

    /// Notes that rows have changed.
    pub(super) fn note_affected(&self, rows: u64) {
        if rows > 0 {
            self.state().report.wrote = true;
        }
    }

    /// Notes the rows that a statement which may change some has returned.
    pub(super) fn note_returned<T>(&self, changes: bool, rows: Vec<T>) -> Vec<T> {
        if changes {
            self.note_affected(rows.len() as u64);
        }
        rows
    }

    /// [`note_affected`](TeamTx::note_affected) of a statement that may be a query: those count their rows, too.
    pub(super) fn note_affected_by(&self, is_query: bool, rows: u64) {
        if !is_query {
            self.note_affected(rows);
        }
    }
}

/// Whether a statement changes rows, by its words: an INSERT, UPDATE, DELETE or MERGE, by itself or behind WITH.
pub(in crate::tenancy) fn changes_rows(mut sql: &str) -> bool {
    // A statement that is a file begins with a comment.
    while let Some(comment) = sql.trim_start().strip_prefix("--") {
        sql = comment.split_once('\n').map_or("", |(_, rest)| rest);
    }
    let mut words = sql
        .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| !word.is_empty());
    let is = |word: &str, of: &[&str]| of.iter().any(|known| word.eq_ignore_ascii_case(known));
    let first = words.next().unwrap_or_default();
    if is(first, &["insert", "update", "delete", "merge"]) {
        return true;
    }
    if !is(first, &["with"]) {
        return false;
    }
    let mut before = first;
    for word in words {
        let changes = match word {
            into_or_from if is(into_or_from, &["into"]) => is(before, &["insert", "merge"]),
            from if is(from, &["from"]) => is(before, &["delete"]),
            // Not of a lock, `FOR UPDATE`, `FOR NO KEY UPDATE`.
            update if is(update, &["update"]) => !is(before, &["for", "key"]),
            _ => false,
        };
        if changes {
            return true;
        }
        before = word;
    }
    false
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_rows_is_known_by_its_words() {
        for sql in [
            "INSERT INTO a VALUES (1) RETURNING id",
            "-- Writes rows.\n--\n-- $1 team\nINSERT INTO a VALUES ($1) RETURNING id",
            "  update a SET b = 1 RETURNING b",
            "WITH x AS (\n INSERT INTO a SELECT 1 RETURNING id) SELECT id FROM x",
            "WITH x AS (SELECT 1 FOR UPDATE) UPDATE a SET b = 1 RETURNING b",
            "with x as (delete from a returning 1) select 1",
        ] {
            assert!(changes_rows(sql), "{sql}");
        }
        for sql in [
            "SELECT * FROM a FOR UPDATE",
            "WITH x AS (SELECT id FROM a FOR NO KEY UPDATE) SELECT id FROM x",
            "WITH RECURSIVE x AS (SELECT updated_at, deleted_at FROM inserts) SELECT * FROM x",
            "",
        ] {
            assert!(!changes_rows(sql), "{sql}");
        }
    }
}
