//! The log registry of a process: it acquires a log when a client writes or reads it, maintains it while it is open,
//! and closes it.
//!
//! The registry starts its writer node only when it is needed. A process that writes no log has no write-ahead log in
//! the storage and no row in `run_homes`.

mod acquire;
mod admissions;
mod end_run;
mod errors;
mod node;
mod node_lease;
mod open_log;
mod options;
mod runs;
mod slot;

pub(super) use self::end_run::EndOutcome;
pub(super) use self::errors::not_here;
pub(super) use self::open_log::{LogLocation, OpenLog};
pub use self::options::RunsOptions;
pub use self::runs::Runs;
