//! A connection that is inside a transaction which sqlx knows nothing of, and the ways in which it goes back to
//! the pool: committed, rolled back, or closed.

use std::collections::HashSet;
use std::pin::Pin;
use std::task::{Context, Poll};

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, Postgres};
use sqlx::{Error, Executor};
use tokio::runtime::Handle;

use super::beside::Beside;
use crate::error::{DatabaseError, Result};
use crate::tenancy::hints::Hint;

/// A connection on which an entry is under way: given up midway, by a client that hangs up, it must not go back
/// to the pool as it is.
pub(in crate::tenancy) struct Entering(pub(in crate::tenancy) Option<PoolConnection<Postgres>>);

impl Entering {
    pub(in crate::tenancy) fn get(&mut self) -> Result<&mut PoolConnection<Postgres>> {
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
            let_go(connection, None);
        }
    }
}

/// Work that goes on by itself when its caller is dropped. Cheaper than a task for all of it, which only the few
/// need whose client hangs up.
pub(in crate::tenancy) struct ToItsEnd<T: Send + 'static>(Option<Pin<Box<dyn Future<Output = T> + Send>>>);

impl<T: Send + 'static> ToItsEnd<T> {
    pub(in crate::tenancy) fn new(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Some(Box::pin(work)))
    }
}

impl<T: Send + 'static> Future for ToItsEnd<T> {
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

impl<T: Send + 'static> Drop for ToItsEnd<T> {
    fn drop(&mut self) {
        if let (Some(work), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(work);
        }
    }
}

/// Commits, with what waits for the end of this transaction as its last statement.
pub(super) async fn commit(
    connection: &mut PgConnection,
    beside: Option<&Beside>,
    hints: &mut HashSet<Hint>,
) -> Result<(), Error> {
    let written = match beside {
        Some(beside) => beside.write_within(connection).await?,
        None => None,
    };
    let outcome = connection.execute("COMMIT").await.map(drop);
    if let (Some(beside), Some(written)) = (beside, written) {
        hints.insert(beside.settle(written, outcome.as_ref().copied()));
    }
    outcome
}

/// Rolls back and returns the connection to the pool, or closes it. Runs to its end even if nobody waits.
pub(in crate::tenancy) async fn give_back(connection: PoolConnection<Postgres>, beside: Option<Box<Beside>>) {
    // It can't panic, and a runtime that shuts down closes the connection.
    let _ = tokio::spawn(roll_back(connection, beside)).await;
}

/// As [`give_back`], for who can't wait.
pub(super) fn let_go(connection: PoolConnection<Postgres>, beside: Option<Box<Beside>>) {
    match Handle::try_current() {
        Ok(runtime) => {
            runtime.spawn(roll_back(connection, beside));
        }
        // No runtime, no way to say ROLLBACK: closing the connection says it.
        Err(_) => drop(connection.detach()),
    }
}

/// For a transaction that has lost its connection: what waits for its end need not wait any longer.
pub(super) fn abandon(beside: Option<Box<Beside>>) {
    if let (Some(beside), Ok(runtime)) = (beside, Handle::try_current()) {
        runtime.spawn(beside.closed(None));
    }
}

async fn roll_back(mut connection: PoolConnection<Postgres>, beside: Option<Box<Beside>>) {
    let rolled_back = (&mut *connection).execute("ROLLBACK").await.is_ok();
    if let Some(beside) = beside {
        beside.closed(rolled_back.then_some(&mut *connection)).await;
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

/// Whether the connection had died before it was used.
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
