//! Reports what a request's transactions did, so that tenancy need not know what a request is.

use std::fmt::Debug;

use uuid::Uuid;

use super::{Context, Stats};
use crate::error::DatabaseError;

/// Is notified when a request's transactions begin and end. It is a part of the [`Request`](super::Request) and must
/// neither block nor panic.
pub trait Observer: Debug + Send + Sync {
    /// Called when a team was entered. `context` has the actor.
    fn entered(&self, context: &Context);

    /// Called when a transaction has ended, or could not begin.
    fn ended(&self, transaction: &Transaction<'_>);

    /// Called when the database has refused a statement of the transaction. The transaction may continue from a
    /// savepoint.
    fn refused(&self, refusal: &DatabaseError) {
        let _ = refusal;
    }

    /// Called when work conflicted with another transaction and is run again.
    fn retried(&self);
}

/// A transaction that has ended.
#[derive(Debug)]
pub struct Transaction<'a> {
    /// How it ended.
    pub ending: Ending,
    /// Its counters.
    pub stats: &'a Stats,
    /// The events that it recorded. They are valid only if it committed.
    pub recorded: &'a [Uuid],
    /// The jobs that it enqueued. They run only if it committed.
    pub queued: &'a [Uuid],
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// The team was not entered: the caller is not a member, or the idempotency key was used before.
    NotEntered,
    /// It committed.
    Committed,
    /// It was rolled back on request, or because its commit failed.
    RolledBack,
    /// It was dropped without a commit or a rollback, and had changed nothing as far as is known.
    Dropped,
    /// It was dropped without a commit or a rollback, and its changes are lost. In a request that succeeded, this is a
    /// forgotten commit.
    DroppedWithWrites,
}
