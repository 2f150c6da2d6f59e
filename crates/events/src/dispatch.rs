//! Calls the consumers for recorded events, inside the transaction.

use std::borrow::Cow;

use sea_orm::DbErr;
use uuid::Uuid;

use super::consumers::{ConsumerDef, ConsumerResult, Mode, RunFn};
use super::event::Event;
use super::isolated_failures::IsolatedFailures;
use super::parts::EventsParts;
use daybook_tenancy::error::{Cause, Error, Result, without_database_words};
use daybook_tenancy::{SignalTopic, TeamTx};

/// The name of [`WORK`].
pub const WORK_NAME: &str = "work";
/// The topic of a signal that there is work for the queue, or an event for a durable consumer.
pub const WORK: SignalTopic = SignalTopic::new(WORK_NAME);

/// The maximum number of levels of consumers that cause each other. A deeper level is treated as a loop.
pub const MAX_CONSUMER_DEPTH: usize = 8;

/// Calls each consumer, in the order of their names, with the events that match it.
pub(super) async fn dispatch(tx: &TeamTx, events: &[Event]) -> Result<()> {
    // Events that no consumer sees must not be committed, even if the caller ignores the error.
    let parts = EventsParts::of_tx(tx).inspect_err(|_| tx.mark_rollback_only())?;
    for consumer in parts.consumers.iter() {
        if consumer.mode == Mode::Durable {
            // It runs after the commit. The signal makes the relay look for the events.
            if events.iter().any(|event| consumer.matches(event)) {
                tx.signal(WORK);
            }
            continue;
        }
        let matching: Cow<'_, [Event]> = if events.iter().all(|event| consumer.matches(event)) {
            Cow::Borrowed(events)
        } else {
            events.iter().filter(|event| consumer.matches(event)).cloned().collect()
        };
        if matching.is_empty() {
            continue;
        }
        match consumer.mode {
            Mode::Abort => run(tx, consumer, &matching).await.map_err(|cause| {
                // A caller that ignores the error can't commit, either.
                tx.mark_rollback_only();
                failed(consumer, cause)
            })?,
            Mode::Isolate => run_isolated(tx, consumer, &matching).await?,
            Mode::Durable => {}
        }
    }
    Ok(())
}

/// Runs an isolated consumer in one savepoint, for any number of events. If it fails, its writes are undone, the
/// failure is stored and logged, and the change stays.
async fn run_isolated(tx: &TeamTx, consumer: &ConsumerDef, events: &[Event]) -> Result<()> {
    let work = async {
        run(tx, consumer, events).await?;
        // Its statements are undone, so it has not done its work, even if it returned `Ok`.
        if tx.is_rollback_only() {
            return Err("one of its statements failed, but it returned Ok".into());
        }
        Ok(())
    };
    tx.take_refusal();
    let Err(cause) = tx.savepoint(work).await? else {
        return Ok(());
    };
    let error = failed(consumer, cause);
    if error.is_retryable() {
        // The whole transaction is retried, including the consumer.
        tx.mark_rollback_only();
        return Err(error);
    }
    let mut message = chain(&error);
    if let Some(refusal) = tx.take_refusal().map(|refusal| refusal.to_string())
        && !message.contains(&refusal)
    {
        message.push_str(": ");
        message.push_str(&refusal);
    }
    tracing::error!(
        consumer = consumer.name,
        events = events.len(),
        "isolated consumer failed: {message}"
    );
    let ids: Vec<Uuid> = events.iter().map(|event| event.id).collect();
    let failure_id = Uuid::now_v7();
    tx.execute_sql(
        sqlx::query(
            "INSERT INTO consumer_failures (team_id, id, consumer, event_ids, error, correlation_id)
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(tx.team_id())
        .bind(failure_id)
        .bind(consumer.name)
        .bind(&ids)
        .bind(message.replace('\0', ""))
        .bind(tx.context().correlation_id),
    )
    .await?;
    match EventsParts::of_tx(tx)?.isolated_failures {
        IsolatedFailures::Retry(request_retry) => request_retry(tx, failure_id, consumer.name, ids).await,
        IsolatedFailures::Keep => Ok(()),
    }
}

/// Runs a consumer of mode `abort` or `isolate` for events that are already recorded.
///
/// # Errors
/// The consumer's error; [`Error::Internal`] for a durable consumer, which does not run in a transaction.
pub async fn run_consumer(tx: &TeamTx, consumer: &'static ConsumerDef, events: &[Event]) -> Result<()> {
    run(tx, consumer, events).await.map_err(|cause| failed(consumer, cause))
}

async fn run(tx: &TeamTx, consumer: &ConsumerDef, events: &[Event]) -> ConsumerResult {
    match consumer.run {
        RunFn::Each(run) => {
            for event in events {
                caused_by(tx, event, async { run(tx, event).await }).await?;
            }
            Ok(())
        }
        // The first event of a slice counts as the cause of everything that the consumer emits.
        RunFn::Slice(run) => caused_by(tx, &events[0], async { run(tx, events).await }).await,
        RunFn::DurableEach(_) | RunFn::DurableSlice(_) => {
            Err(format!("{} is durable, so it can't run in a transaction", consumer.name).into())
        }
    }
}

/// Runs a consumer for an event, which is the cause of all that the consumer emits and enqueues.
///
/// # Errors
/// The consumer's error; [`Error::ConsumerDepth`] if consumers caused each other too many levels deep.
async fn caused_by(tx: &TeamTx, event: &Event, work: impl Future<Output = ConsumerResult>) -> ConsumerResult {
    let cause = tx.begin_cause(event.id);
    if cause.depth > MAX_CONSUMER_DEPTH {
        return Err(Error::ConsumerDepth {
            depth: cause.depth,
            event_id: event.id,
        }
        .into());
    }
    work.await
}

/// Converts a consumer's error into [`Error::Consumer`]. The `?` in a consumer boxes the driver's errors unchanged;
/// they are classified here, so that a deadlock in a consumer is retried and a named constraint becomes a client error.
fn failed(consumer: &ConsumerDef, cause: Cause) -> Error {
    let cause = match cause.downcast::<DbErr>() {
        Ok(error) => Error::from(*error).into(),
        Err(cause) => cause,
    };
    let source: Cause = match cause.downcast::<sqlx::Error>() {
        Ok(error) => Error::from(*error).into(),
        Err(cause) => cause,
    };
    // A loop is reported once, not once per level.
    match source.downcast::<Error>() {
        Ok(error) if matches!(*error, Error::ConsumerDepth { .. }) => *error,
        Ok(error) => match *error {
            Error::Consumer { source, .. } if is_depth(&source) => {
                source.downcast::<Error>().map_or_else(Error::Internal, |error| *error)
            }
            other => Error::Consumer {
                consumer: consumer.name,
                source: other.into(),
            },
        },
        Err(source) => Error::Consumer {
            consumer: consumer.name,
            source,
        },
    }
}

fn is_depth(cause: &Cause) -> bool {
    matches!(cause.downcast_ref::<Error>(), Some(Error::ConsumerDepth { .. }))
}

fn chain(error: &Error) -> String {
    let mut message = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        message.push_str(": ");
        message.push_str(&cause.to_string());
        source = cause.source();
    }
    without_database_words(&message).into_owned()
}
