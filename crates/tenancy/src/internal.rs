//! Access to the database that only the crates of Daybook need: across teams, or without a transaction of a team.
//!
//! It is a trait, because a method of a trait can be called only where the trait is imported. So a program doesn't leave
//! its team by mistake (`TeamTx` stays the only way to a team's rows), and an import of this module shows who does.

use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::Query;
use uuid::Uuid;

use crate::error::Result;
use crate::{Database, WorkerDatabase};

/// Functions of a [`Database`] for the crates of Daybook.
pub trait DatabaseInternals {
    /// Returns the workers' connections, or `None` in a process without workers.
    fn workers(&self) -> Option<&WorkerDatabase>;

    /// Runs one `INSERT … SELECT … FROM (SELECT set_config('daybook.team_id', $1::text, true)) AS entered`.
    ///
    /// The team is set before the new rows are checked against the policy. For rows that such a statement reads, the
    /// time of the check is undefined, so it must not read any. Without `set_config` there is no team, and the policy
    /// refuses the rows.
    ///
    /// # Errors
    /// Those of any database statement.
    fn insert_single(
        &self,
        team_id: Uuid,
        query: Query<'_, Postgres, PgArguments>,
    ) -> impl Future<Output = Result<()>> + Send;
}

impl DatabaseInternals for Database {
    fn workers(&self) -> Option<&WorkerDatabase> {
        self.worker_database()
    }

    async fn insert_single(&self, team_id: Uuid, query: Query<'_, Postgres, PgArguments>) -> Result<()> {
        self.run_single(team_id, query).await
    }
}
