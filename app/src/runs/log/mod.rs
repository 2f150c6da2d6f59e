//! The logs themselves: files, and what keeps them whole. No database, no HTTP.
//!
//! **Who plays.** A [`Log`] is one run's log with its one writer, this process. What is appended waits in it until the
//! *committer*'s thread takes it, with what waits in all other runs: into the run's own file, and into the *write-ahead
//! log*, which alone is synced. A *segment* of it is used again once the files that it speaks of are synced themselves.
//! [`Source`] reads a log, plain or sealed, and [`offset_of`] finds a line in it without reading what is before.
//!
//! ```text
//! append ─► Log: waits ─┐                      ┌─► the run's own file (read by everybody; synced when a segment is full)
//! append ─► Log: waits ─┼─► committer: a group ┤
//! append ─► Log: waits ─┘                      └─► write-ahead log ─► fsync ─► told: safe up to here
//! ```
//!
//! **Recovery.** Who finds the write-ahead log of a dead process writes what it has into the runs' files once more: the same
//! bytes at the same places, so that it does not matter how much of it was there. What comes after that in a file was
//! acknowledged to nobody, and a line without its end is cut off.
//!
//! **Invariant:** nobody hears of a line before it is safe on disk, neither who sent it nor who reads.
//! **Invariant:** a line's number is its place: counted from 1 on without gaps, in the order of the file.
//! **Invariant:** one process at a time writes a log: the file's lock says so here, the lease in the database elsewhere. A log
//! that is idle has its file closed, and then the lock of the process's write-ahead log says so: see `file`.

mod committer;
mod file;
#[cfg(any(test, feature = "fuzzing"))]
mod fuzz;
mod layout;
mod line;
#[expect(clippy::module_inception, reason = "a log is what this is about")]
mod log;
mod open;
mod open_files;
mod recovery;
mod sealed;
mod seek;
mod source;
mod storage;
mod wal;
mod writers;

use std::io;
use std::sync::Arc;

#[cfg(any(test, feature = "fuzzing"))]
pub(super) use self::fuzz::kept_line;
pub use self::layout::RunKey;
pub use self::line::{Read, Said, moment, sequence_of};
pub use self::log::{Appended, Durable, End, Limits, Log};
pub use self::open_files::OpenFilesLimits;
pub use self::sealed::{Sealed, SealedLogs, seal};
pub use self::seek::{Lines, offset_of};
pub use self::source::Source;
pub use self::storage::{Home, HomeOptions, Opened, Storage};
pub use self::writers::Writer;

/// Why a log didn't take lines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The run has ended.
    #[error("the run has ended: its log takes no more lines")]
    Ended,
    /// Another process has the log's file.
    #[error("another process holds the run's log")]
    Held,
    /// The log has as much as it may have.
    #[error("the run's log has come to its limit of {limit} bytes; its end can still be told")]
    Full {
        /// In bytes.
        limit: u64,
    },
    /// A newer one has come in the writer's place.
    #[error("the writer has begun anew since, with epoch {epoch}")]
    Fenced {
        /// The newer one's.
        epoch: u64,
    },
    /// Lines are missing between what is there and what was sent.
    #[error("the writer's next line is seq {expected}, not {got}")]
    SequenceGap {
        /// What comes next.
        expected: u64,
        /// What was sent.
        got: u64,
    },
    /// More writers than a run may have.
    #[error("a run can have {limit} writers that number their lines")]
    TooManyWriters {
        /// How many.
        limit: usize,
    },
    /// The disk says no, in words that name no path.
    #[error("the run's log can't be written now: {0}")]
    Unwritable(Arc<str>),
}

impl LogError {
    fn unwritable(error: &io::Error) -> Self {
        tracing::warn!("run logs: {error}");
        Self::Unwritable(committer::words(error).into())
    }
}

#[cfg(test)]
mod tests;
