//! Handing recorded events to their consumers, inside the transaction.

use std::borrow::Cow;
use std::pin::Pin;

use sea_orm::DbErr;
use uuid::Uuid;

use super::consumers::{ConsumerDef, ConsumerResult, Consumers, Mode, RunFn};
use super::event::Event;
use crate::error::{Cause, Error, Result, without_database_words};
use crate::tenancy::{Moved, TeamTx};

/// How many levels deep consumers may cause each other before it is taken for a loop.
pub const MAX_CONSUMER_DEPTH: usize = 8;

/// Calls each consumer, in the order of their names, with the events that it is for.
pub(super) async fn dispatch(tx: &TeamTx, events: &[Event]) -> Result<()> {
    let Some(consumers) = tx.extension::<Consumers>() else {
        return Ok(());
    };
    for consumer in consumers.iter() {
        if consumer.mode == Mode::Durable {
            // After the commit: the relay finds them, and is told that there is something to find.
            if events.iter().any(|event| consumer.matches(event)) {
                tx.hint(Moved::Work);
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
                // Not even a caller who doesn't look at the error can commit.
                tx.doom();
                failed(consumer, cause)
            })?,
            Mode::Isolate => run_isolated(tx, consumer, &matching).await?,
            Mode::Durable => {}
        }
    }
    Ok(())
}

/// One savepoint per consumer and call, however many events there are: its failure undoes what it did, is
/// kept and told, and the change stands.
async fn run_isolated(tx: &TeamTx, consumer: &ConsumerDef, events: &[Event]) -> Result<()> {
    let work = async {
        run(tx, consumer, events).await?;
        // Its statements are undone, so it has not done its work, whatever it says.
        if tx.is_doomed() {
            return Err("a statement of it failed, and it went on all the same".into());
        }
        Ok(())
    };
    tx.take_refusal();
    let Err(cause) = tx.savepoint(work).await? else {
        return Ok(());
    };
    let error = failed(consumer, cause);
    if error.is_retryable() {
        // The whole transaction is begun anew, and the consumer with it.
        tx.doom();
        return Err(error);
    }
    let mut told = chain(&error);
    if let Some(refusal) = tx.take_refusal().map(|refusal| refusal.to_string())
        && !told.contains(&refusal)
    {
        told.push_str(": ");
        told.push_str(&refusal);
    }
    tracing::error!(
        consumer = consumer.name,
        events = events.len(),
        "isolated consumer failed: {told}"
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
        .bind(told.replace('\0', ""))
        .bind(tx.context().correlation_id),
    )
    .await?;
    match tx.extension::<IsolatedFailures>() {
        Some(failures) => (failures.0)(tx, failure_id, consumer.name, ids).await,
        None => Ok(()),
    }
}

/// Asks, in the transaction in which an isolated consumer has failed, for another attempt after its commit.
type AskAgain =
    for<'a> fn(&'a TeamTx, Uuid, &'static str, Vec<Uuid>) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// What becomes of the failures of isolated consumers, beside being kept: an extension of the
/// [`Database`](crate::tenancy::Database).
#[derive(Debug, Clone, Copy)]
pub struct IsolatedFailures(pub AskAgain);

/// Runs a consumer of mode `abort` or `isolate` for events that are there already.
///
/// # Errors
/// What it failed with; [`Error::Internal`] for a durable one, which runs in no transaction.
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
        // What a slice's consumer emits is taken to be caused by the first of its events.
        RunFn::Slice(run) => caused_by(tx, &events[0], async { run(tx, events).await }).await,
        RunFn::DurableEach(_) | RunFn::DurableSlice(_) => {
            Err(format!("{} is durable, and runs in no transaction", consumer.name).into())
        }
    }
}

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

/// A consumer's `?` boxes the driver's errors as they are; sorted here, a deadlock in a consumer is retried
/// and a named constraint is the client's error, as anywhere else.
fn failed(consumer: &ConsumerDef, cause: Cause) -> Error {
    let cause = match cause.downcast::<DbErr>() {
        Ok(error) => Error::from(*error).into(),
        Err(cause) => cause,
    };
    let source: Cause = match cause.downcast::<sqlx::Error>() {
        Ok(error) => Error::from(*error).into(),
        Err(cause) => cause,
    };
    // A loop is told as what it is, not once per level.
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
    let mut told = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        told.push_str(": ");
        told.push_str(&cause.to_string());
        source = cause.source();
    }
    without_database_words(&told).into_owned()
}
