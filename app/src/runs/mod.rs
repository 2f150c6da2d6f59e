//! Runs: the full log of a long run, live and for ever after.
//!
//! A run is a row, and a log: every event of it is a line of NDJSON in a file. The database keeps what the run was, how it
//! ended and where its log is; no line is ever a row.
//!
//! ```text
//! POST …/events ─► appending ─► keeper: whose log is it? ─► log: safe on disk ─► told
//!                                  │ lease, home                    │
//!                                  ▼                                ▼
//!                           runs, run_leases, run_homes      reading: SSE, NDJSON, pages
//! POST …/complete ─► keeper: the last line with the summary ─► the row, its event, the thread
//! ```
//!
//! - `log`: the files, and what keeps them whole: no database, no HTTP.
//! - `keeper`: who writes which log. A process takes one up under a lease, looks after it, and closes it.
//! - `reading`: a log as it is sent.  `summary`: what it comes to.
//! - `store`, `view`, `routes`: runs as rows, as clients see them, and over HTTP.
//! - `writer`: a run that a job writes.  `retention`, `rebuilding`: what becomes of logs later.
//!
//! **Invariant:** the last line comes before the row says that the run has ended. So a run that has ended has its whole log.

mod appending;
#[cfg(any(test, feature = "fuzzing"))]
mod fuzz;
mod keeper;
pub mod log;
mod model;
mod new_run;
mod readers;
mod reading;
mod rebuilding;
mod retention;
mod routes;
mod status;
mod store;
mod summary;
mod view;
mod writer;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use fuzz::fuzz_lines;
pub use keeper::{Runs, RunsOptions};
pub use new_run::{Ending, Failure, NewRun};
pub use rebuilding::Rebuilt;
pub use retention::{Fate, old};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use routes::fuzz_filters;
pub use routes::routes;
pub use status::RunStatus;
pub use store::{RunNews, feed, of_story};
pub use summary::{ConsoleLine, RunSummary, ValidationSummary};
pub use view::{RunLogView, RunView};
pub use writer::{RunWriter, start};
