//! Who is told what a request's transactions did, without tenancy knowing what a request is.

use std::fmt::Debug;

use uuid::Uuid;

use super::{Context, Stats};
use crate::error::DatabaseError;

/// Is told of a request's transactions as they begin and end. It comes with the [`Request`](super::Request) and
/// must neither block nor panic.
pub trait Observer: Debug + Send + Sync {
    /// Somebody was let in: who it turned out to be.
    fn entered(&self, context: &Context);

    /// A transaction is over, or was never begun.
    fn ended(&self, transaction: &Transaction<'_>);

    /// The database refused a statement of the transaction, which may go on at a savepoint.
    fn refused(&self, refusal: &DatabaseError) {
        let _ = refusal;
    }

    /// Work met another transaction and is begun anew.
    fn retried(&self);
}

/// What became of a transaction.
#[derive(Debug)]
pub struct Transaction<'a> {
    /// How it ended.
    pub ending: Ending,
    /// What it cost.
    pub stats: &'a Stats,
    /// The events that it recorded; they hold only if it committed.
    pub recorded: &'a [Uuid],
    /// The jobs that it asked for; they run only if it committed.
    pub queued: &'a [Uuid],
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// Nobody was let in: not a member, or a key that was used before.
    NotEntered,
    /// It committed.
    Committed,
    /// It was rolled back: as asked, or because its commit failed.
    RolledBack,
    /// It was dropped without a word, and had changed nothing as far as is known.
    Dropped,
    /// It was dropped without a word, and what it had written is lost. In a request that succeeded, somebody has
    /// forgotten to commit.
    DroppedWithWrites,
}
