//! Runs: the complete log of a long run, live and afterwards.
//!
//! A run consists of a row and a log. Every event of a run is a line of NDJSON in a file. The database stores what the
//! run was, how it ended and where its log is. A line is never a row.
//!
//! ```text
//! POST …/events ─► incoming ─► registry: which process writes? ─► log: fsync ─► acknowledged
//!                                 │ run lease, node lease           │
//!                                 ▼                                 ▼
//!                          runs, run_leases, run_homes      streaming: SSE, NDJSON, pages
//! POST …/complete ─► registry: the last line with the summary ─► the row, its event, the thread
//! ```
//!
//! - The crate `daybook-run-log`: the log files and the write-ahead log. It uses neither the database nor HTTP.
//! - `registry`: decides which process writes which log. A process acquires a log under a lease, maintains it, and
//!   closes it.
//! - `incoming`: parses and validates lines. `streaming`: sends a log to readers. `summary`: computes a run's summary.
//! - `store`, `view`, `routes`: the rows of runs, their JSON form, and the HTTP routes.
//! - `writer`: a run that a job writes. `retention`, `rebuilding`: seal or delete old logs, rebuild summaries.
//!
//! **Invariant:** the last line is written before the row says that the run has ended. Therefore a run that has ended
//! has a complete log. The exception is a run whose writer was lost and whose log is in the storage of a process that
//! is gone.

pub mod entity;
#[cfg(any(test, feature = "fuzzing"))]
mod fuzz;
mod incoming;
mod line_filter;
mod log_error;
mod model;
mod new_run;
mod parts;
mod readers;
mod rebuilding;
mod registry;
mod retention;
mod routes;
mod status;
mod store;
mod streaming;
mod summary;
mod view;
mod writer;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use fuzz::fuzz_lines;
pub use new_run::{Failure, NewRun, RunOutcome};
pub use rebuilding::Rebuilt;
pub use registry::{Runs, RunsOptions};
#[cfg(not(feature = "testing"))]
pub(crate) use retention::{RetentionAction, due_logs};
#[cfg(feature = "testing")]
pub use retention::{RetentionAction, due_logs};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use routes::fuzz_filters;
pub use routes::routes;
pub use status::RunStatus;
pub(crate) use store::RUNS_NAME;
pub use store::{RunFeedPage, feed, of_story};
pub use summary::{ConsoleLine, RunSummary, ValidationSummary};
pub use view::{RunLogView, RunView};
pub use writer::{RunWriter, start};
