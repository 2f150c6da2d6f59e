//! What a transaction does for rows that wait for its end.

use sqlx::postgres::PgConnection;
use tokio::task;

use crate::tenancy::Database;
use crate::tenancy::enter::Entry;
use crate::tenancy::hints::Hint;
use crate::tenancy::numbered_rows::{Defer, Deferred, Written};

/// A transaction of work whose rows wait for it, until its end is reported.
#[derive(Debug)]
pub(in crate::tenancy) struct Beside {
    rows: std::sync::Arc<dyn Defer>,
    database: Database,
    /// The task that began it.
    task: Option<task::Id>,
    /// Whether the rows may be written inside it.
    may_write: bool,
    team_id: uuid::Uuid,
}

impl Beside {
    /// None for a transaction that nothing waits for.
    pub(super) async fn of(database: &Database, entry: &Entry) -> Option<Box<Self>> {
        let rows = database.extension::<Deferred>()?.0.clone();
        let task = task::try_id();
        rows.opened(task).await;
        Some(Box::new(Self {
            may_write: !entry.read_only && rows.are_of(entry.team_id),
            rows,
            database: database.clone(),
            task,
            team_id: entry.team_id,
        }))
    }

    /// The task that began it doesn't hold it any more.
    pub(super) fn let_go(&mut self) {
        if let Some(task) = self.task.take() {
            self.rows.let_go(task);
        }
    }

    /// Writes what waits, before the COMMIT.
    ///
    /// # Errors
    /// As any statement: then the transaction can only roll back.
    pub(super) async fn write_within(
        &self,
        connection: &mut PgConnection,
    ) -> Result<Option<Box<dyn Written>>, sqlx::Error> {
        if !self.may_write {
            return Ok(None);
        }
        self.rows.write_within(connection, &self.database).await
    }

    /// What became of the COMMIT, and of the rows with it: what to hint at.
    pub(super) fn settle(&self, written: Box<dyn Written>, outcome: Result<(), &sqlx::Error>) -> Hint {
        Hint {
            team_id: self.team_id,
            moved: written.settle(outcome),
        }
    }

    /// It has ended; `connection`, if it holds, is without a transaction.
    pub(super) async fn closed(mut self: Box<Self>, connection: Option<&mut PgConnection>) {
        self.let_go();
        self.rows.closed(connection, &self.database).await;
    }
}
