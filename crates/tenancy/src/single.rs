//! Runs one statement as its own transaction. The statement enters its team itself, so it takes one round trip.

use std::collections::HashSet;

use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::Query;
use uuid::Uuid;

use super::{Context, Database, Signal, SignalTopic};
use crate::error::Result;

impl Database {
    /// Publishes a signal that something in a team has changed, after a statement that was its own transaction.
    pub fn signal(&self, team_id: Uuid, topic: SignalTopic) {
        if let Some(sink) = self.signal_sink() {
            sink.send(HashSet::from([Signal { team_id, topic }]));
        }
    }

    /// Runs one `INSERT … SELECT … FROM (SELECT set_config('daybook.team_id', $1::text, true)) AS entered`.
    ///
    /// The team is set before the new rows are checked against the policy. For rows that such a statement reads, the
    /// time of the check is undefined, so it must not read any. Without `set_config` there is no team, and the policy
    /// refuses the rows.
    ///
    /// # Errors
    /// Those of any database statement.
    pub async fn insert_single(&self, team_id: Uuid, query: Query<'_, Postgres, PgArguments>) -> Result<()> {
        if !self.persistent() {
            // Behind a pooler the two messages of a new prepared statement may reach two connections.
            let tx = self.begin(&Context::system(team_id, "daybook")).await?;
            tx.execute_sql(query).await?;
            return tx.commit().await;
        }
        let mut connection = self.acquire().await?;
        let began = self.clock().instant();
        let outcome = query.execute(&mut *connection).await;
        self.stats().add(self.clock().elapsed_since(began));
        outcome?;
        Ok(())
    }
}
