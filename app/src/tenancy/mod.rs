//! Teams, and the wall between them.
//!
//! **Who plays.** [`Database`] holds the pool, which is private; its connections have their role fixed when
//! they are opened. [`Database::enter`] takes one, and in a single round trip begins a transaction, sets the
//! team, reads who acts and what they may do, and gives a [`TeamTx`]: the only way to a connection that can
//! read or write team rows. A [`Context`] says who acts in which team and what story it belongs to.
//!
//! **The life of a transaction.** `enter` → statements through SeaORM or SQL → `commit`, which runs to its
//! end even if the client hangs up. A `TeamTx` that is dropped is rolled back before its connection serves
//! anybody else.
//!
//! **Invariant:** no code outside this module sees a connection of the run-time pool. The compiler keeps
//! that, not a reviewer. It guards against mistakes, not against SQL that somebody writes on purpose: a
//! caller can send `COMMIT` through a `TeamTx`. No SQL is ever built from input.
//!
//! **Invariant:** settings are local to the transaction, so nothing of a team is left on a connection that
//! goes back to the pool, and poolers in transaction mode work.

pub mod channel;
mod context;
mod database;
mod enter;
mod feed;
mod forgotten;
mod hints;
pub(crate) mod moments;
mod numbered_rows;
mod observer;
mod own_teams;
mod plans;
mod rereading;
mod schema;
mod self_check;
mod single;
mod snapshot;
mod stats;
mod team_tx;
mod worker_database;
mod write;

pub mod postgres;

pub use context::{Actor, Context, Person, Role};
pub use database::{Database, DatabaseOptions, ErasedNames, Writing};
pub use daybook_entity::SYSTEM_TEAM;
pub use enter::{Claim, Entrant, Entry, Request, store_answer};
pub use feed::{FeedPlace, FeedWindow};
pub use forgotten::ForgottenCommits;
pub(crate) use forgotten::{ADVICE, DroppedWrites};
pub use hints::{Bell, Hint, Hints, Moved};
pub(crate) use numbered_rows::{Deferred, NumberedRow, NumberedRows, Owner, Waiting};
pub use observer::{Ending, Observer, Transaction};
pub(crate) use own_teams::TAKE_OVER_DETAILS;
pub use own_teams::{OwnDetails, OwnInvitation, OwnTeam, OwnTeams};
pub use schema::{Migrations, Pending};
pub use snapshot::Snapshot;
pub use stats::Stats;
pub use team_tx::TeamTx;
pub use worker_database::WorkerDatabase;
pub(crate) use worker_database::WorkerTx;
pub use write::Work;
