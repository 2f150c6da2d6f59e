//! One statement that is a transaction of its own: it enters its team by itself, and costs one round trip.

use std::collections::HashSet;

use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::Query;
use uuid::Uuid;

use super::{Context, Database, Hint, Hints, Moved};
use crate::error::Result;

impl Database {
    /// Says that something of a team has moved, after a statement that was a transaction of its own.
    pub(crate) fn hint(&self, team_id: Uuid, moved: Moved) {
        if let Some(hints) = self.extension::<Hints>() {
            hints.send(HashSet::from([Hint { team_id, moved }]));
        }
    }

    /// Runs one `INSERT … SELECT … FROM (SELECT set_config('daybook.team_id', $1::text, true)) AS entered`.
    ///
    /// The team is set before the new rows are checked against the policy. Rows that such a statement reads are
    /// checked when nobody knows, so that it must read none. Without the entry there is no team, and the policy
    /// refuses.
    ///
    /// # Errors
    /// As any statement.
    pub(crate) async fn insert_single(&self, team_id: Uuid, query: Query<'_, Postgres, PgArguments>) -> Result<()> {
        if !self.persistent() {
            // Behind a pooler the two messages of a newly prepared statement may reach two connections.
            let tx = self.begin(&Context::system(team_id, "daybook")).await?;
            tx.execute_sql(query).await?;
            return tx.commit().await;
        }
        let mut connection = self.acquire().await?;
        let began = std::time::Instant::now();
        let outcome = query.execute(&mut *connection).await;
        self.stats().add(began.elapsed());
        outcome?;
        Ok(())
    }
}
