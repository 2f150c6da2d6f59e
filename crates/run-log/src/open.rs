//! Opens a log: finds its length, restores the writers' sequence numbers, truncates a torn tail.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::fs::FileExt as _;

use super::file::sync_file;
use super::line::StoredLine;
use super::log::InitialState;

/// The damage that was found in a log's file.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Damage {
    /// The number of bytes at the end that were not a complete line. They were truncated.
    pub(super) cut_bytes: u64,
    /// The number of lines that can't be parsed. They stay in the file.
    pub(super) unreadable: u64,
}

/// Reads a whole log, truncates an incomplete line at its end, and syncs the file.
///
/// # Errors
/// An error of the file system.
pub(super) fn recover_file(file: &File) -> io::Result<(InitialState, Damage, Option<Completed>)> {
    let length = file.metadata()?.len();
    let mut found = InitialState::default();
    let mut damage = Damage::default();
    let mut completed = None;
    // Unreadable lines count as lines only if a readable line follows, because the garbage that a power cut leaves at
    // the end of a file may contain line breaks.
    let mut unsure = 0;
    let mut at = 0;
    let mut reader = BufReader::with_capacity(1 << 18, file);
    io::Seek::seek(&mut reader, io::SeekFrom::Start(0))?;
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line)?;
        if read == 0 || line.last() != Some(&b'\n') {
            break;
        }
        at += read as u64;
        let Some(seen) = StoredLine::parse(&line) else {
            unsure += 1;
            continue;
        };
        damage.unreadable += std::mem::take(&mut unsure);
        found.bytes = at;
        found.sequence = found.sequence.max(seen.sequence);
        completed = (seen.kind == COMPLETED).then_some(Completed);
        if let Some(writer) = seen.writer {
            found.writers.note(writer.id, writer.epoch, writer.seq);
        }
    }
    damage.cut_bytes = length - found.bytes;
    if damage.cut_bytes > 0 {
        file.set_len(found.bytes)?;
    }
    if length > 0 {
        sync_file(file)?;
    }
    Ok((found, damage, completed))
}

/// A marker that the last line of a log is the run's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Completed;

/// The type of a log's last line. Only [`WriterNode::append_last`](super::WriterNode::append_last) writes it.
pub const COMPLETED: &str = "run.completed";

/// Writes records again at their offsets, truncates the file after the last record, and syncs it.
///
/// # Errors
/// An error of the file system.
pub(super) fn replay_records(file: &File, records: &[(u64, &[u8])]) -> io::Result<()> {
    let mut end = 0;
    for (offset, bytes) in records {
        file.write_all_at(bytes, *offset)?;
        end = offset + bytes.len() as u64;
    }
    file.set_len(end)?;
    sync_file(file)
}
