//! Background jobs, and the record of what they do while they run.
//!
//! Work runs inside a **session**: [`with_job_session`] writes a row with its input at the beginning, and its outcome
//! at the end. During the work, the session adds **actions**, each with a sentence and a payload, in order. Clients
//! read a session with its actions over HTTP, or from the view `job_session_timelines`.
//!
//! ```text
//! with_job_session ──► row: running ──► work(session) ──► row: succeeded | failed | cancelled | lost
//!                                         │ add_action: one row, one round trip, the next seq
//!                                         │ begin():    a TeamTx whose events name the session as their actor
//! ```
//!
//! A [`Job`] is enqueued in a transaction by [`Enqueue`], and commits with it. This is the way from there to a session:
//!
//! ```text
//! tx.enqueue ──► job_requests ──► relay ──► the queue ──► queue: a worker ──► with_job_session ──► Job::run
//! events ────────────────────────► (for durable consumers, as the job `consume_events`)
//! ```
//!
//! - `enqueue`, `changes`: write requests into `job_requests`: new jobs, retries and cancellations.
//! - `relay`: hands committed requests and events over to the queue, and moves its cursors in the same transaction. One
//!   process does this at a time.
//! - `queue`: the workers of a process, and the recovery of jobs and sessions whose worker died.
//! - `store`, `view`, `routes`: the rows of sessions, their JSON form, and the HTTP routes. `store/feed.rs` reads the
//!   changes for the live topic.
//! - `read_queue_state`: reads the state of the queue and the lag of consumers. `replay`: delivers past events again.
//!
//! **Invariant:** a session's actions are numbered from 1 without gaps, in the order in which they become visible. A
//! client that has read up to n has missed nothing before it.
//! **Invariant:** every attempt at a job of the queue is a session, and a job runs at least once.

mod action;
mod changes;
mod consume;
mod enqueue;
mod heartbeat;
mod job;
mod notifier;
mod outcome;
mod parts;
mod payload;
mod queue;
mod queue_state;
mod read_queue_state;
mod registration;
mod registry;
mod relay;
#[cfg(any(feature = "cli", feature = "testing"))]
mod replay;
mod routes;
mod schedule;
mod sentence;
mod session;
mod spec;
mod store;
mod view;
mod worker_options;

pub use action::MAX_PAYLOAD_BYTES;
pub use consume::ConsumerActions;
pub(crate) use consume::{ConsumeEvents, isolated_failures};
pub use enqueue::{Enqueue, MAX_INPUT_BYTES};
pub use heartbeat::Heartbeat;
pub use job::{Job, JobOptions};
pub(crate) use notifier::JOB_SESSIONS_NAME;
pub use notifier::Notifier;
pub use outcome::{JobResult, Status};
pub use parts::JobsParts;
pub use queue::Workers;
pub use queue_state::{JobCounts, Lag, LastQueueState, OldestTransaction, QueueState};
#[cfg(all(feature = "cli", not(feature = "testing")))]
pub(crate) use read_queue_state::queue_state_with;
#[cfg(feature = "testing")]
pub use read_queue_state::{queue_state, queue_state_with};
pub use registry::Jobs;
#[cfg(all(feature = "cli", not(feature = "testing")))]
pub(crate) use replay::{forget_cursor, replay, replayable};
#[cfg(feature = "testing")]
pub use replay::{forget_cursor, replay, replayable};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use routes::fuzz_filters;
pub use routes::routes;
pub use sentence::{Badge, SentencePart, badge};
pub use session::{JobSession, with_job_session};
pub use spec::SessionSpec;
pub use store::{SessionFeedPage, StorySession, feed, of_story};
pub use view::{ActionView, SessionView};
pub use worker_options::WorkerOptions;
