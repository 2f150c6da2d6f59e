//! Finds a line by its number, and reads lines.

use std::io;

use super::line::sequence_of;
use super::source::Source;

/// The number of bytes that are read at once to find the beginning of a line.
const PROBE_BYTES: usize = 4 << 10;
/// A part of at most this size is scanned line by line.
const SCAN_BYTES: u64 = 32 << 10;

/// Returns the offset of the first line before `end` whose number is at least `sequence`; `end` if there is none.
///
/// Lines have ascending numbers, so the offset is interpolated from the numbers around it. A few reads find a line in a
/// log of any length.
///
/// # Errors
/// The errors of [`Source::read_at`].
pub fn offset_of(source: &mut Source, sequence: u64, end: u64) -> io::Result<u64> {
    if sequence <= 1 || end == 0 {
        return Ok(0);
    }
    // A line before the wanted one begins at `low`. At `high` begins the wanted line or a later one, or the log ends.
    let (mut low, mut low_sequence) = (0, 1);
    let (mut high, mut high_sequence) = (end, last_sequence(source, end)?.map_or(u64::MAX, |last| last + 1));
    if high_sequence <= sequence {
        return Ok(end);
    }
    // The last `high` at which a line begins. After a guess without a readable line, `high` may be in the middle of a
    // long line.
    let mut bound = end;
    let mut halve = false;
    while high - low > SCAN_BYTES {
        let span = high - low;
        let guess = if halve || high_sequence == u64::MAX || high_sequence <= low_sequence {
            low + span / 2
        } else {
            let share = (sequence - low_sequence) as f64 / (high_sequence - low_sequence) as f64;
            low + (span as f64 * share) as u64
        };
        // A guess just beyond the line costs a second read, so the guess is moved a little lower.
        let guess = guess.saturating_sub(SCAN_BYTES / 4).clamp(low + 1, high - 1);
        let Some((at, found)) = next_line(source, guess, high)? else {
            // No readable line begins there, so the wanted line is before it.
            if guess <= low + 1 {
                break;
            }
            high = guess;
            high_sequence = u64::MAX;
            halve = true;
            continue;
        };
        if found < sequence {
            (low, low_sequence) = (at, found);
        } else {
            (high, high_sequence) = (at, found);
            bound = at;
        }
        // If the interpolation has narrowed the range by less than half, the next step halves the range instead.
        halve = high - low > span / 2;
    }
    let mut lines = LineReader::new(low, bound);
    while let Some(line) = lines.next(source)? {
        if sequence_of(line).is_some_and(|found| found >= sequence) {
            return Ok(lines.line_offset);
        }
    }
    Ok(bound)
}

/// Returns the number of the last readable line.
fn last_sequence(source: &mut Source, end: u64) -> io::Result<Option<u64>> {
    let mut back = SCAN_BYTES;
    loop {
        let from = end.saturating_sub(back);
        let mut lines = LineReader::new(from, end);
        let mut last = None;
        let mut first = from > 0;
        while let Some(line) = lines.next(source)? {
            // The block may begin inside a line, so its first piece is not a complete line.
            if !std::mem::replace(&mut first, false) {
                last = sequence_of(line).or(last);
            }
        }
        if last.is_some() || from == 0 {
            return Ok(last);
        }
        back *= 4;
    }
}

/// Returns the offset and the number of the first readable line that begins at `from` or later.
fn next_line(source: &mut Source, from: u64, end: u64) -> io::Result<Option<(u64, u64)>> {
    let mut lines = LineReader::with_block(from - 1, end, PROBE_BYTES);
    let mut rest = true;
    while let Some(line) = lines.next(source)? {
        if std::mem::replace(&mut rest, false) {
            continue;
        }
        if let Some(sequence) = sequence_of(line) {
            return Ok(Some((lines.line_offset, sequence)));
        }
    }
    Ok(None)
}

/// Reads the lines of a log between two offsets one by one. It needs memory for the longest line and one block.
#[derive(Debug)]
pub struct LineReader {
    buffer: Vec<u8>,
    /// The number of bytes of the buffer whose lines were returned.
    consumed: usize,
    /// The offset of the buffer in the log.
    offset: u64,
    end: u64,
    block: usize,
    /// The offset of the line that was returned last.
    pub line_offset: u64,
}

impl LineReader {
    /// Reads from `offset` to `end`. An incomplete last line, without a line break, is not returned.
    pub fn new(offset: u64, end: u64) -> Self {
        Self::with_block(offset, end, 64 << 10)
    }

    fn with_block(offset: u64, end: u64, block: usize) -> Self {
        Self {
            buffer: Vec::new(),
            consumed: 0,
            offset,
            end,
            block,
            line_offset: offset,
        }
    }

    /// Moves the end forward, when the log has grown.
    pub fn extend(&mut self, end: u64) {
        self.end = self.end.max(end);
    }

    /// Returns the number of bytes from the next line to the end.
    pub fn remaining(&self) -> u64 {
        self.end.saturating_sub(self.next_offset())
    }

    /// Returns the offset of the next line.
    pub fn next_offset(&self) -> u64 {
        self.offset + self.consumed as u64
    }

    /// Returns the next line with its line break.
    ///
    /// # Errors
    /// The errors of [`Source::read_at`].
    pub fn next(&mut self, source: &mut Source) -> io::Result<Option<&[u8]>> {
        let mut searched = self.consumed;
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[searched..]) {
                let (begin, end) = (self.consumed, searched + at + 1);
                self.line_offset = self.offset + begin as u64;
                self.consumed = end;
                return Ok(Some(&self.buffer[begin..end]));
            }
            self.buffer.drain(..self.consumed);
            self.offset += self.consumed as u64;
            self.consumed = 0;
            searched = self.buffer.len();
            let from = self.offset + searched as u64;
            let left = usize::try_from(self.end.saturating_sub(from)).unwrap_or(usize::MAX);
            if left == 0 {
                // A reader that waits for more lines keeps no buffer.
                if searched == 0 {
                    self.buffer = Vec::new();
                }
                return Ok(None);
            }
            self.buffer.resize(searched + left.min(self.block), 0);
            let read = source.read_at(from, &mut self.buffer[searched..])?;
            self.buffer.truncate(searched + read);
            if read == 0 {
                return Ok(None);
            }
        }
    }
}
