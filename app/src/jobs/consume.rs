//! The job that delivers events to a consumer after their commit.

use std::fmt::Display;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::enqueue::Enqueue as _;
use super::job::{Job, JobOptions};
use super::outcome::JobResult;
use super::session::JobSession;
use super::spec::is_name;
use crate::error::{Error, Result};
use crate::events::{
    ConsumerContext, ConsumerDef, Event, EventsParts, IsolatedFailures, RunFn, events_by_id, run_consumer,
};

/// Delay before an isolated consumer that returned an error is called again. The reason of the error may be gone by
/// then.
const ISOLATED_RETRY_DELAY: std::time::Duration = std::time::Duration::from_secs(3);

/// Delivers events to a durable consumer, or again to an isolated consumer that failed in the events' transaction.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ConsumeEvents {
    consumer: String,
    event_ids: Vec<Uuid>,
    /// The row in `consumer_failures` that is marked as resolved when the isolated consumer succeeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failure_id: Option<Uuid>,
}

impl ConsumeEvents {
    /// Maximum number of events in one call of a consumer that takes slices.
    pub(super) const SLICE: usize = 500;

    pub(super) fn new(consumer: &str, event_ids: Vec<Uuid>) -> Self {
        Self {
            consumer: consumer.to_owned(),
            event_ids,
            failure_id: None,
        }
    }

    async fn run_durable(&self, session: &JobSession, consumer: &'static ConsumerDef) -> JobResult {
        let tx = session.begin().await?;
        let events = events_by_id(&tx, &self.event_ids).await?;
        tx.commit().await?;
        let database = session.database().clone();
        let context = session.context().clone();
        let ctx = ConsumerContext::new(
            consumer.name,
            session.job_id(),
            &events,
            database,
            context,
            session.clone(),
        );
        match consumer.run {
            RunFn::DurableEach(run) => {
                for event in &events {
                    run(&ctx, event).await?;
                }
                Ok(())
            }
            RunFn::DurableSlice(run) if !events.is_empty() => run(&ctx, &events).await,
            _ => Ok(()),
        }
    }

    /// Calls an isolated consumer again, in a transaction as in the first call, and marks the failure as resolved.
    async fn run_isolated(&self, session: &JobSession, consumer: &'static ConsumerDef) -> JobResult {
        let tx = session.begin().await?;
        // An earlier attempt may have resolved the failure, and its worker may have died before it reported the
        // success. Then the consumer must not be called again.
        let open = sqlx::query(
            "SELECT FROM consumer_failures WHERE team_id = $1 AND id = $2 AND resolved_at IS NULL FOR UPDATE",
        );
        let open = tx.fetch_optional(open.bind(tx.team_id()).bind(self.failure_id)).await?;
        if open.is_none() {
            return Ok(());
        }
        let events: Vec<Event> = events_by_id(&tx, &self.event_ids).await?;
        if !events.is_empty() {
            run_consumer(&tx, consumer, &events).await?;
        }
        tx.execute_sql(
            sqlx::query("UPDATE consumer_failures SET resolved_at = now() WHERE team_id = $1 AND id = $2")
                .bind(tx.team_id())
                .bind(self.failure_id),
        )
        .await?;
        tx.commit().await?;
        Ok(())
    }
}

#[async_trait]
impl Job for ConsumeEvents {
    const NAME: &'static str = "consume_events";

    fn session_name(&self) -> String {
        // The name of an isolated consumer is its function's path, which is not a valid job name.
        let name = self.consumer.rsplit("::").next().unwrap_or_default();
        let name: String = name.to_ascii_lowercase().chars().take(63).collect();
        if is_name(&name) { name } else { Self::NAME.to_owned() }
    }

    fn sentence(&self) -> String {
        let events = match self.event_ids.len() {
            1 => "an event".to_owned(),
            many => format!("{many} events"),
        };
        match self.failure_id {
            None => format!("Started giving {events} to {}", self.consumer),
            Some(_) => format!("Started giving {events} to {} again", self.consumer),
        }
    }

    async fn run(self, session: &JobSession) -> JobResult {
        let consumers = &EventsParts::of(session.database())?.consumers;
        let consumer = consumers.named(&self.consumer).ok_or_else(|| {
            Error::internal(format!(
                "this program has no consumer named {}: run a version that has it, or cancel the job",
                self.consumer
            ))
        })?;
        match consumer.run {
            RunFn::DurableEach(_) | RunFn::DurableSlice(_) => self.run_durable(session, consumer).await,
            RunFn::Each(_) | RunFn::Slice(_) => self.run_isolated(session, consumer).await,
        }
    }
}

/// Returns the function that enqueues a job to call a failed isolated consumer again.
pub(crate) fn isolated_failures() -> IsolatedFailures {
    IsolatedFailures::Retry(|tx, failure_id, consumer, event_ids| {
        Box::pin(async move {
            let again = ConsumeEvents {
                failure_id: Some(failure_id),
                ..ConsumeEvents::new(consumer, event_ids)
            };
            tx.enqueue_with(again, JobOptions::new().after(ISOLATED_RETRY_DELAY))
                .await?;
            Ok(())
        })
    })
}

/// Lets a durable consumer add actions to its session, as any job does.
pub trait ConsumerActions {
    /// Adds an action, like [`JobSession::add_action`].
    ///
    /// # Errors
    /// As [`JobSession::add_action`]; [`Error::Internal`] if the context does not come from a job session, for example
    /// in a unit test.
    fn add_action(&self, action: &(impl Serialize + Display + Sync)) -> impl Future<Output = Result<i64>> + Send;
}

impl ConsumerActions for ConsumerContext {
    async fn add_action(&self, action: &(impl Serialize + Display + Sync)) -> Result<i64> {
        match self.runner::<JobSession>() {
            Some(session) => session.add_action(action).await,
            None => Err(Error::internal(
                "this consumer does not run in a job session, so it can't add actions",
            )),
        }
    }
}
