//! The context of a consumer that runs after the commit.

use std::any::Any;
use std::collections::HashSet;
use std::sync::Arc;

use sqlx::Row as _;
use uuid::Uuid;

use super::event::Event;
use daybook_tenancy::error::{Error, Result};
use daybook_tenancy::{Context, Database, TeamTx};

/// What a durable consumer receives beside its events: a way to begin transactions in the team, and a record of the
/// work that it has already done.
///
/// The consumer is called **at least once** for each event: a worker may die after the work and before it records that.
/// Use [`ConsumerContext::once`] for work that must happen once, in the transaction that does the work. Send the id of
/// the delivery, [`ConsumerContext::delivery_id`], to systems outside the database: it is the same at each attempt.
#[derive(Debug)]
pub struct ConsumerContext {
    consumer: &'static str,
    delivery_id: Uuid,
    event_ids: Vec<Uuid>,
    database: Database,
    context: Context,
    /// The object that runs the consumer, such as a job session. A layer above defines its type.
    runner: Arc<dyn Any + Send + Sync>,
}

impl ConsumerContext {
    /// Creates the context of one delivery: these events of one team, to one durable consumer. `runner` is what runs
    /// the consumer, such as a job session.
    pub fn new(
        consumer: &'static str,
        delivery_id: Uuid,
        events: &[Event],
        database: Database,
        context: Context,
        runner: impl Any + Send + Sync,
    ) -> Self {
        Self {
            consumer,
            delivery_id,
            event_ids: events.iter().map(|event| event.id).collect(),
            database,
            context,
            runner: Arc::new(runner),
        }
    }

    /// Returns what runs the consumer, if it has this type: the job session.
    pub fn runner<T: Any>(&self) -> Option<&T> {
        self.runner.downcast_ref()
    }

    /// Returns what runs the consumer, if it has this type, or else the program's value of this type, if
    /// `App::extension` added one.
    ///
    /// ```
    /// # use daybook_events::*;
    /// # use uuid::Uuid;
    /// # #[derive(Clone)]
    /// # struct Crm;
    /// # impl Crm {
    /// #     async fn push(&self, _id: Uuid, _event: &Event) -> std::io::Result<()> {
    /// #         Ok(())
    /// #     }
    /// # }
    /// #[event_consumer(EventType::StateChanged, object_type = "campaign", mode = durable, name = "crm")]
    /// async fn push_to_crm(ctx: &ConsumerContext, event: &Event) -> ConsumerResult {
    ///     let crm = ctx.extension::<Crm>().ok_or("the program has no Crm")?;
    ///     crm.push(ctx.delivery_id(), event).await?;
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.runner().or_else(|| self.database.extension())
    }

    /// Returns the consumer's name.
    pub fn consumer(&self) -> &'static str {
        self.consumer
    }

    /// Returns the id of this delivery, the same at every attempt. With it, a receiver can recognise what it already
    /// has.
    pub fn delivery_id(&self) -> Uuid {
        self.delivery_id
    }

    /// Returns the context in which the consumer acts: as a job, in the story of the event that caused it.
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

    /// Returns whether this consumer has not yet done its work for these events, and records that it does it now. It
    /// returns true once: the record is a row that commits with the effect. If another attempt runs at the same time,
    /// it waits until that attempt commits or rolls back.
    ///
    /// ```no_run
    /// # use daybook_events::*;
    /// # async fn consume(ctx: &ConsumerContext) -> ConsumerResult {
    /// let tx = ctx.begin().await?;
    /// if ctx.once(&tx).await? {
    ///     // …the effect, in tx
    /// }
    /// tx.commit().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Conflict`] if some events of a slice are done and others are not, as after a replay: use
    /// [`ConsumerContext::fresh`] for that.
    pub async fn once(&self, tx: &TeamTx) -> Result<bool> {
        let claimed = self.claim(tx, &self.event_ids).await?;
        match claimed.len() {
            0 => Ok(false),
            all if all == self.event_ids.len() => Ok(true),
            some => Err(Error::conflict(
                "partly-done",
                format!(
                    "{} of {} events of this slice are done; get the others with ctx.fresh(&tx, events)",
                    self.event_ids.len() - some,
                    self.event_ids.len()
                ),
            )),
        }
    }

    /// Returns those of `events` for which this consumer has not done its work yet, in order. It returns each event
    /// once, as [`ConsumerContext::once`] does.
    ///
    /// # Errors
    /// The errors of any statement.
    pub async fn fresh<'e>(&self, tx: &TeamTx, events: &'e [Event]) -> Result<Vec<&'e Event>> {
        let ids: Vec<Uuid> = events.iter().map(|event| event.id).collect();
        let claimed = self.claim(tx, &ids).await?;
        Ok(events.iter().filter(|event| claimed.contains(&event.id)).collect())
    }

    async fn claim(&self, tx: &TeamTx, event_ids: &[Uuid]) -> Result<HashSet<Uuid>> {
        // All attempts claim in the same order, so that overlapping slices don't deadlock.
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
