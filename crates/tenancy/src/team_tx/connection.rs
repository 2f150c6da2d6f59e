//! Returns connections to the pool: committed, rolled back, or closed. sqlx doesn't know about the transactions on
//! them.

use std::collections::HashSet;
use std::pin::Pin;
use std::task::{Context, Poll};

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, Postgres};
use sqlx::{Error, Executor};
use tokio::runtime::Handle;

use super::deferred_rows::DeferredRows;
use crate::error::{DatabaseError, Result};
use crate::signals::Signal;

/// A connection on which a team is being entered. If that is cancelled by a client that disconnects, the connection
/// must not return to the pool with its transaction.
pub(crate) struct Entering(pub(crate) Option<PoolConnection<Postgres>>);

impl Entering {
    pub(crate) fn get(&mut self) -> Result<&mut PoolConnection<Postgres>> {
        Ok(open(&mut self.0)?)
    }

    pub(super) async fn give_back(mut self) {
        if let Some(connection) = self.0.take() {
            give_back(connection, None).await;
        }
    }
}

impl Drop for Entering {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            give_back_in_background(connection, None);
        }
    }
}

/// Work that completes in a task of its own if its caller is dropped. This is cheaper than always spawning a task: only
/// the few requests whose client disconnects need one.
pub(crate) struct RunToCompletion<T: Send + 'static>(Option<Pin<Box<dyn Future<Output = T> + Send>>>);

impl<T: Send + 'static> RunToCompletion<T> {
    pub(crate) fn new(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Some(Box::pin(work)))
    }
}

impl<T: Send + 'static> Future for RunToCompletion<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let Some(work) = &mut self.0 else { return Poll::Pending };
        let done = work.as_mut().poll(context);
        if done.is_ready() {
            self.0 = None;
        }
        done
    }
}

impl<T: Send + 'static> Drop for RunToCompletion<T> {
    fn drop(&mut self) {
        if let (Some(work), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(work);
        }
    }
}

/// Commits. The last statement before the COMMIT writes the rows that wait for the end of this transaction.
pub(super) async fn commit(
    connection: &mut PgConnection,
    deferred_rows: Option<&DeferredRows>,
    signals: &mut HashSet<Signal>,
) -> Result<(), Error> {
    let written = match deferred_rows {
        Some(deferred_rows) => deferred_rows.write_within(connection).await?,
        None => None,
    };
    let outcome = connection.execute("COMMIT").await.map(drop);
    if let (Some(deferred_rows), Some(written)) = (deferred_rows, written) {
        signals.insert(deferred_rows.record_commit(written, outcome.as_ref().copied()));
    }
    outcome
}

/// Rolls back and returns the connection to the pool, or closes it. It completes even if the caller is dropped.
pub(crate) async fn give_back(connection: PoolConnection<Postgres>, deferred_rows: Option<Box<DeferredRows>>) {
    // The task can't panic, and a runtime that shuts down closes the connection.
    let _ = tokio::spawn(roll_back(connection, deferred_rows)).await;
}

/// Does the same as [`give_back`] without waiting for it.
pub(super) fn give_back_in_background(connection: PoolConnection<Postgres>, deferred_rows: Option<Box<DeferredRows>>) {
    match Handle::try_current() {
        Ok(runtime) => {
            runtime.spawn(roll_back(connection, deferred_rows));
        }
        // Without a runtime no ROLLBACK can be sent; closing the connection rolls back.
        Err(_) => drop(connection.detach()),
    }
}

/// Ends the wait of the deferred rows for a transaction that has lost its connection.
pub(super) fn abandon(deferred_rows: Option<Box<DeferredRows>>) {
    if let (Some(deferred_rows), Ok(runtime)) = (deferred_rows, Handle::try_current()) {
        runtime.spawn(deferred_rows.closed(None));
    }
}

async fn roll_back(mut connection: PoolConnection<Postgres>, deferred_rows: Option<Box<DeferredRows>>) {
    let rolled_back = (&mut *connection).execute("ROLLBACK").await.is_ok();
    if let Some(deferred_rows) = deferred_rows {
        deferred_rows.closed(rolled_back.then_some(&mut *connection)).await;
    }
    if !rolled_back {
        drop(connection.detach());
    }
}

pub(super) fn open(connection: &mut Option<PoolConnection<Postgres>>) -> Result<&mut PoolConnection<Postgres>, Error> {
    connection
        .as_mut()
        .ok_or_else(|| Error::Protocol("the transaction has ended".into()))
}

/// Returns whether the connection was closed by the server before it was used.
pub(super) fn is_dead(error: &crate::error::Error) -> bool {
    let crate::error::Error::Unavailable {
        source: Some(source), ..
    } = error
    else {
        return false;
    };
    match source.downcast_ref::<DatabaseError>() {
        Some(refusal) => matches!(refusal.sqlstate.as_str(), "57P01" | "57P02" | "57P03"),
        None => matches!(source.downcast_ref::<Error>(), Some(Error::Io(_))),
    }
}
