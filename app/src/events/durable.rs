//! What a consumer has that runs after the commit.

use std::collections::HashSet;

use axum::http::Extensions;
use sqlx::Row as _;
use uuid::Uuid;

use super::event::Event;
use crate::error::{Error, Result};
use crate::tenancy::{Context, Database, TeamTx};

/// What a durable consumer is given beside its events: the way back into the team, and what it has done before.
///
/// It is called **at least once** for each event: a worker may die after the work and before it could say so. What must
/// happen once is guarded by [`ConsumerContext::once`], in the transaction that does it. What lies outside the database
/// is told its delivery's id, [`ConsumerContext::delivery_id`], which is the same each time.
#[derive(Debug)]
pub struct ConsumerContext {
    consumer: &'static str,
    delivery_id: Uuid,
    event_ids: Vec<Uuid>,
    database: Database,
    context: Context,
    extensions: Extensions,
}

impl ConsumerContext {
    pub(crate) fn new(
        consumer: &'static str,
        delivery_id: Uuid,
        events: &[Event],
        database: Database,
        context: Context,
    ) -> Self {
        Self {
            consumer,
            delivery_id,
            event_ids: events.iter().map(|event| event.id).collect(),
            database,
            context,
            extensions: Extensions::new(),
        }
    }

    /// Adds a value for the layers above: [`ConsumerContext::extension`].
    #[must_use]
    pub(crate) fn with_extension<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.extensions.insert(value);
        self
    }

    /// A value of this delivery, else one that the program gave its [`Database`].
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.extensions.get().or_else(|| self.database.extension())
    }

    /// The consumer's name.
    pub fn consumer(&self) -> &'static str {
        self.consumer
    }

    /// Of this delivery, the same at every attempt: for the other side, to recognise what it has had.
    pub fn delivery_id(&self) -> Uuid {
        self.delivery_id
    }

    /// As what it acts: a job, in the story of the event that caused it.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Begins a transaction in the events' team.
    ///
    /// # Errors
    /// As [`Database::begin`].
    pub async fn begin(&self) -> Result<TeamTx> {
        self.database.begin(&self.context).await
    }

    /// Whether this consumer has not yet done its work for these events. Says so once: a row that commits with the
    /// effect. If another attempt is at it at this moment, waits until that has committed or not.
    ///
    /// ```ignore
    /// let tx = ctx.begin().await?;
    /// if ctx.once(&tx).await? {
    ///     // …the effect, in tx
    /// }
    /// tx.commit().await?;
    /// ```
    ///
    /// # Errors
    /// [`Error::Conflict`] for a slice of which some events are done and others are not, as after a replay: use
    /// [`ConsumerContext::fresh`] there.
    pub async fn once(&self, tx: &TeamTx) -> Result<bool> {
        let claimed = self.claim(tx, &self.event_ids).await?;
        match claimed.len() {
            0 => Ok(false),
            all if all == self.event_ids.len() => Ok(true),
            some => Err(Error::conflict(
                "partly-done",
                format!(
                    "{} of {} events of this slice are done; ask ctx.fresh(&tx, events) for the others",
                    self.event_ids.len() - some,
                    self.event_ids.len()
                ),
            )),
        }
    }

    /// Of `events`, those for which this consumer has not done its work yet, in order. Says so once, as
    /// [`ConsumerContext::once`] does.
    ///
    /// # Errors
    /// As any statement.
    pub async fn fresh<'e>(&self, tx: &TeamTx, events: &'e [Event]) -> Result<Vec<&'e Event>> {
        let ids: Vec<Uuid> = events.iter().map(|event| event.id).collect();
        let claimed = self.claim(tx, &ids).await?;
        Ok(events.iter().filter(|event| claimed.contains(&event.id)).collect())
    }

    async fn claim(&self, tx: &TeamTx, event_ids: &[Uuid]) -> Result<HashSet<Uuid>> {
        // In one order, so that two attempts at overlapping slices don't wait for each other.
        let query = sqlx::query(
            "INSERT INTO consumer_effects (team_id, consumer, event_id)
             SELECT $1, $2, id FROM unnest($3::uuid[]) AS id ORDER BY id
             ON CONFLICT DO NOTHING RETURNING event_id",
        )
        .bind(tx.team_id())
        .bind(self.consumer)
        .bind(event_ids);
        let rows = tx.fetch_all(query).await?;
        rows.iter().map(|row| Ok(row.try_get("event_id")?)).collect()
    }
}
