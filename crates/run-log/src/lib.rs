#![doc = include_str!("../README.md")]
//!
//! # How it works
//!
//! **Parts.** A [`Log`] is one run's log, and this process is its only writer. Appended lines wait in it until the
//! thread of the *committer* takes them, together with the waiting lines of all other runs. The committer writes them
//! to the run's own file and to the *write-ahead log*. It syncs only the write-ahead log. A *segment* of the
//! write-ahead log is reused after the run files that it covers have been synced. [`Source`] reads a log, plain or
//! sealed. [`offset_of`] finds a line without reading the lines before it.
//!
//! ```text
//! append ─► Log: waits ─┐                      ┌─► the run's own file (for readers; synced when a segment is full)
//! append ─► Log: waits ─┼─► committer: a group ┤
//! append ─► Log: waits ─┘                      └─► write-ahead log ─► fsync ─► published: durable up to here
//! ```
//!
//! **Recovery.** A process that finds the write-ahead log of a dead process writes its records into the run files
//! again. It writes the same bytes at the same offsets, so it does not matter how many of them the files already have.
//! Bytes after these records were never acknowledged. They are truncated, and so is an incomplete last line.
//!
//! **Invariant:** a line is durable on disk before its sender gets an answer and before a reader can see it.
//!
//! **Invariant:** a line's number is its position in the file, counted from 1 without gaps.
//!
//! **Invariant:** only one process at a time writes a log. Between processes that share this storage, the lock on the
//! file ensures this. Between other processes, the lease of the caller does. The file of an idle log is closed; then
//! the lock on the process's write-ahead log takes the place of the file's lock (see `file.rs`).

#![deny(missing_docs)]

mod committer;
mod file;
mod layout;
mod line;
mod log;
mod machine_time;
mod open;
mod open_files;
mod recovery;
mod sealed;
mod seek;
mod source;
mod storage;
mod synced_bytes;
mod wal;
mod writers;

use std::io;
use std::sync::Arc;

pub use self::layout::RunKey;
pub use self::line::{IncomingLine, StoredLine, WriterMark, format_time, sequence_of};
pub use self::log::{Appended, Durable, Log, LogEnd};
pub use self::open::COMPLETED;
pub use self::open_files::OpenFilesLimits;
pub use self::sealed::Sealed;
pub use self::seek::{LineReader, offset_of};
pub use self::source::Source;
pub use self::storage::{Opened, Storage, WriterNode, WriterNodeOptions};
pub use self::synced_bytes::SyncedBytes;
pub use self::writers::Writer;

/// The reason why a log rejected lines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The run has ended.
    #[error("the run has ended: its log accepts no more lines")]
    Ended,
    /// Another process has locked the log's file.
    #[error("another process holds the run's log")]
    Held,
    /// The log has reached its maximum size.
    #[error("the run's log has reached its limit of {limit} bytes; the run can still be completed")]
    Full {
        /// The limit in bytes.
        limit: u64,
    },
    /// The writer has a newer epoch, so this one is refused.
    #[error("the writer has started again with epoch {epoch}, and older epochs are refused")]
    Fenced {
        /// The newer epoch.
        epoch: u64,
    },
    /// Lines are missing between the last stored line and the lines that were sent.
    #[error("the writer's next line is seq {expected}, not {got}")]
    SequenceGap {
        /// The number of the next line.
        expected: u64,
        /// The number that was sent.
        got: u64,
    },
    /// The run already has the maximum number of writers that number their lines.
    #[error("a run can have {limit} writers that number their lines")]
    TooManyWriters {
        /// The maximum number of writers.
        limit: usize,
    },
    /// A line can't be stored.
    #[error("line {index} of the call is invalid: {reason}")]
    InvalidLine {
        /// The index of the line in the call, from 0.
        index: usize,
        /// The reason, after "line … is invalid:".
        reason: &'static str,
    },
    /// The source of the call or the id of the writer can't be stored.
    #[error("the {name} must be 1 to 100 printable ASCII characters except '\"' and '\\'")]
    InvalidName {
        /// The part that is invalid: the source or the writer's id.
        name: &'static str,
    },
    /// The lines of one call are too many bytes.
    #[error("the lines that are written together can have {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The file system reported an error. The text contains no path.
    #[error("the run's log can't be written now: {0}")]
    Unwritable(Arc<str>),
}

impl LogError {
    fn unwritable(error: &io::Error) -> Self {
        tracing::warn!("run logs: could not read or write the storage: {error}");
        Self::Unwritable(committer::describe(error).into())
    }
}

#[cfg(test)]
mod tests;
