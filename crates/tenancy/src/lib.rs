#![doc = include_str!("../README.md")]
//!
//! # How it works
//!
//! **The parts.** [`Database`] has the connection pool, which is private. Its connections get their role when they are
//! opened. [`Database::enter`] takes a connection and, in one round trip, begins a transaction, sets the team, and
//! reads who acts with which role. It returns a [`TeamTx`], the only way to a connection that can read or write team
//! rows. A [`Context`] describes who acts, in which team and in which story.
//!
//! **The life of a transaction.** `enter` → statements through SeaORM or SQL → `commit`, which completes even if the
//! client disconnects. A `TeamTx` that is dropped is rolled back before its connection is used again.
//!
//! **Invariant:** no code outside this crate sees a connection of the run-time pool. The compiler enforces this. It
//! protects against mistakes, not against SQL that is written on purpose: a caller can send `COMMIT` through a
//! `TeamTx`. No SQL is built from input.
//!
//! **Invariant:** settings are local to the transaction. So a connection that returns to the pool keeps nothing of a
//! team, and poolers in transaction mode work.

#![deny(missing_docs)]

mod claim;
pub mod clock;
mod context;
mod database;
mod enter;
pub mod error;
mod feed;
mod forgotten;
#[cfg(feature = "http")]
pub mod http;
pub mod internal;
pub mod json;
mod numbered_rows;
mod observer;
mod own_teams;
mod parts;
mod plans;
mod quoted;
mod rereading;
mod schema;
mod self_check;
mod signals;
mod single;
mod snapshot;
mod stats;
mod team_tx;
pub mod text;
pub mod timestamps;
mod worker_database;
mod write;

pub use claim::{Claim, OutcomeColumns};
pub use clock::Clock;
pub use context::{Actor, Context, Person, Role};
pub use database::{Database, DatabaseOptions, ErasedNames, Writing};
pub use daybook_entity::SYSTEM_TEAM;
pub use enter::{Credential, Entry, Request};
pub use error::{Error, Result};
pub use feed::{FeedPosition, FeedWindow};
pub use forgotten::{ADVICE, DroppedWrites, ForgottenCommits};
pub use numbered_rows::{Deferred, NumberedRow, NumberedRows, Owner, PendingRow};
pub use observer::{Ending, Observer, Transaction};
pub use own_teams::{OwnDetails, OwnInvitation, OwnTeam, OwnTeams, TAKE_OVER_DETAILS};
pub use parts::{Extensions, LayerParts};
pub use schema::{Migrations, Pending};
pub use signals::{Signal, SignalSink, SignalTopic};
pub use snapshot::Snapshot;
pub use stats::Stats;
pub use team_tx::TeamTx;
pub use worker_database::{WorkerDatabase, WorkerTx};
pub use write::Work;
