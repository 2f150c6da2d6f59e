//! Runs work in a transaction, and runs it again after a conflict with another transaction.

use std::time::Duration;

use super::enter::Entry;
use super::{Database, Role, TeamTx};
use crate::error::Result;

/// The maximum number of attempts at a transaction that conflicts with others.
const MAX_ATTEMPTS: u32 = 6;

/// Work in a transaction that can be run again: any `async |tx| { … }` whose future is `Send`.
///
/// In stable Rust, `AsyncFn` can't express that its future is `Send`. This trait does, so that handlers can run such
/// work.
pub trait Work<'t, T>: Fn(&'t TeamTx) -> Self::Done + Send + Sync {
    /// The future.
    type Done: Future<Output = Result<T>> + Send;
}

impl<'t, T, F, D> Work<'t, T> for F
where
    F: Fn(&'t TeamTx) -> D + Send + Sync,
    D: Future<Output = Result<T>> + Send,
{
    type Done = D;
}

/// Runs `work` in a transaction of `entry` and commits on `Ok`. Runs it again after a conflict with another transaction
/// (serialization failure, deadlock) or a stale plan. Makes at most [`MAX_ATTEMPTS`] attempts, with growing random
/// pauses.
pub(super) async fn write<T, F>(database: &Database, entry: &Entry, role: Role, work: F) -> Result<T>
where
    T: Send,
    F: for<'t> Work<'t, T>,
{
    let mut attempt = 1;
    loop {
        let error = match attempt_once(database, entry, role, &work).await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        if attempt == MAX_ATTEMPTS || !error.is_retryable() {
            return Err(error);
        }
        if let Some(observer) = &entry.request.observer {
            observer.retried();
        }
        let ceiling_ms = 10_u64 << attempt;
        tokio::time::sleep(Duration::from_millis(rand::random_range(1..=ceiling_ms))).await;
        attempt += 1;
    }
}

async fn attempt_once<T, F>(database: &Database, entry: &Entry, role: Role, work: &F) -> Result<T>
where
    T: Send,
    F: for<'t> Work<'t, T>,
{
    let tx = TeamTx::enter(database, entry).await?;
    let outcome = match tx.require(role) {
        Ok(()) => work(&tx).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(done) => {
            tx.commit().await?;
            Ok(done)
        }
        Err(error) => {
            tx.rollback().await?;
            Err(error)
        }
    }
}
