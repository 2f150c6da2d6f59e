//! A transaction's side of the rows that wait for its end. See [`numbered_rows`](crate::numbered_rows).

use sqlx::postgres::PgConnection;
use tokio::task;

use crate::Database;
use crate::enter::Entry;
use crate::numbered_rows::{Defer, WrittenRows};
use crate::signals::Signal;

/// The rows that wait for the end of one transaction.
#[derive(Debug)]
pub(crate) struct DeferredRows {
    rows: std::sync::Arc<dyn Defer>,
    database: Database,
    /// The task that began the transaction.
    task: Option<task::Id>,
    /// Whether the rows may be written inside the transaction.
    may_write: bool,
    team_id: uuid::Uuid,
}

impl DeferredRows {
    /// Notes that a transaction has begun. Returns `None` if the work has no rows of this kind.
    pub(super) async fn open(database: &Database, entry: &Entry) -> Option<Box<Self>> {
        let rows = database.deferred()?.0.clone();
        let task = task::try_id();
        rows.opened(task).await;
        Some(Box::new(Self {
            may_write: !entry.read_only && rows.belong_to(entry.team_id),
            rows,
            database: database.clone(),
            task,
            team_id: entry.team_id,
        }))
    }

    /// Notes that the task that began the transaction has released it.
    pub(super) fn release_task(&mut self) {
        if let Some(task) = self.task.take() {
            self.rows.release_task(task);
        }
    }

    /// Writes the waiting rows, before the COMMIT.
    ///
    /// # Errors
    /// Those of any database statement. Then the transaction can only be rolled back.
    pub(super) async fn write_within(
        &self,
        connection: &mut PgConnection,
    ) -> Result<Option<Box<dyn WrittenRows>>, sqlx::Error> {
        if !self.may_write {
            return Ok(None);
        }
        self.rows.write_within(connection, &self.database).await
    }

    /// Notes the outcome of the COMMIT, which is that of the rows, too. Returns the signal to publish.
    pub(super) fn record_commit(&self, written: Box<dyn WrittenRows>, outcome: Result<(), &sqlx::Error>) -> Signal {
        Signal {
            team_id: self.team_id,
            topic: written.record_commit(outcome),
        }
    }

    /// Notes that the transaction has ended. `connection`, if it is usable, has no open transaction.
    pub(super) async fn closed(mut self: Box<Self>, connection: Option<&mut PgConnection>) {
        self.release_task();
        self.rows.closed(connection, &self.database).await;
    }
}
