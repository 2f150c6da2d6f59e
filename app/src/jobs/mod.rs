//! What the system does in the background, told as it happens.
//!
//! Work runs inside a **session**: [`with_job_session`] writes a row with its input when it begins, and how it ended
//! when it is over. What it does meanwhile are **actions**, each a sentence and a payload, in order. A session is read
//! with its actions, over HTTP or from the view `job_session_timelines`.
//!
//! ```text
//! with_job_session ──► row: running ──► work(session) ──► row: succeeded | failed | cancelled | lost
//!                                         │ add_action: one row, one round trip, the next seq
//!                                         │ begin():    a TeamTx whose events name the session as their actor
//! ```
//!
//! A [`Job`] is asked for in a transaction by [`Enqueue`], and commits with it. What leads from there to a session:
//!
//! ```text
//! tx.enqueue ──► job_requests ──► relay ──► the queue ──► queue: a worker ──► with_job_session ──► Job::run
//! events ────────────────────────► (for durable consumers, as the job `consume`)
//! ```
//!
//! - `relay`: one process at a time hands over what has committed, with its cursors in one transaction.
//! - `queue`: the workers of a process, what becomes of the jobs of those that die, and of sessions that nobody ends.
//! - `store`, `view`, `routes`: sessions as rows, as clients see them, and over HTTP; `store/feed.rs` for who follows them live.
//! - `watch`, `replay`: how far it has come, and doing it again.
//!
//! **Invariant:** a session's actions are numbered from 1 on without gaps, in the order in which they became visible:
//! who has read up to n misses nothing before it.
//! **Invariant:** every attempt at a job of the queue is a session, and a job is done at least once.

mod action;
mod consume;
mod enqueue;
mod job;
mod outcome;
mod queue;
mod registry;
mod relay;
mod replay;
mod routes;
mod schedule;
mod sentence;
mod session;
mod spec;
mod store;
mod view;
mod watch;

pub use action::MAX_PAYLOAD_BYTES;
pub use consume::ConsumerActions;
pub(crate) use consume::{ConsumeEvents, isolated_failures};
pub use enqueue::{Enqueue, MAX_INPUT_BYTES};
pub use job::{Job, JobOptions};
pub use outcome::{JobResult, Status};
pub use queue::{WorkerOptions, Workers};
pub use registry::Jobs;
pub use replay::{forget_cursor, replay, replayable};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use routes::fuzz_filters;
pub use routes::routes;
pub use sentence::{Badge, SentencePart, badge};
pub use session::{Heartbeat, JobSession, with_job_session};
pub use spec::SessionSpec;
pub use store::{SessionNews, ToldSession, feed, of_story};
pub use view::{ActionView, SessionView};
pub use watch::{JobFigures, Lag, LastWatched, OldestTransaction, Watched, watch, watch_with};
