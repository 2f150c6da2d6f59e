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

    /// Runs a statement that enters its team itself. See [`DatabaseInternals::insert_single`].
    ///
    /// [`DatabaseInternals::insert_single`]: crate::internal::DatabaseInternals::insert_single
    pub(super) async fn run_single(&self, team_id: Uuid, query: Query<'_, Postgres, PgArguments>) -> Result<()> {
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
