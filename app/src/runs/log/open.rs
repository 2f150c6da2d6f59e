//! Taking up a log: how far it has come, who has sent what, and what is no whole line at its end.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::fs::FileExt as _;

use super::file::sync_file;
use super::line::StoredLine;
use super::log::InitialState;

/// What there was beside the lines.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Damage {
    /// So many bytes at the end were no whole line, and are cut off.
    pub(super) cut_bytes: u64,
    /// So many lines can't be read. They stay where they are.
    pub(super) unreadable: u64,
}

/// Reads a whole log, cuts what is no whole line off its end, and makes sure that all the rest is safe.
///
/// # Errors
/// What the file system says.
pub(super) fn recover_file(file: &File) -> io::Result<(InitialState, Damage, Option<Completed>)> {
    let length = file.metadata()?.len();
    let mut found = InitialState::default();
    let mut damage = Damage::default();
    let mut completed = None;
    // Lines that can't be read are only lines if one follows that can: what disks leave at an end after a power cut may
    // have line breaks, too.
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

/// The last line is the run's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Completed;

/// The type of a run's last line.
pub(super) const COMPLETED: &str = "run.completed";

/// Writes bytes again where they were, and cuts off what comes after.
///
/// # Errors
/// What the file system says.
pub(super) fn replay_records(file: &File, records: &[(u64, &[u8])]) -> io::Result<()> {
    let mut end = 0;
    for (offset, bytes) in records {
        file.write_all_at(bytes, *offset)?;
        end = offset + bytes.len() as u64;
    }
    file.set_len(end)?;
    sync_file(file)
}
