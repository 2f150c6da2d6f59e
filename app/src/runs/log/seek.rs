//! Finding a line, and reading lines.

use std::io;

use super::line::sequence_of;
use super::source::Source;

/// How much is read to find a line's beginning.
const PROBE_BYTES: usize = 4 << 10;
/// A piece so small that it is read through.
const SCAN_BYTES: u64 = 32 << 10;

/// Where the first line begins whose number is `sequence` or more, below `end`; `end` if there is none.
///
/// LineReader are numbered as they come, so that the place is guessed from the numbers around it: a few looks find it in a log of
/// any length.
///
/// # Errors
/// As [`Source::read_at`].
pub fn offset_of(source: &mut Source, sequence: u64, end: u64) -> io::Result<u64> {
    if sequence <= 1 || end == 0 {
        return Ok(0);
    }
    // `low` begins a line that is before the one that is looked for; at `high` one begins that isn't, or the log ends.
    let (mut low, mut low_sequence) = (0, 1);
    let (mut high, mut high_sequence) = (end, last_sequence(source, end)?.map_or(u64::MAX, |last| last + 1));
    if high_sequence <= sequence {
        return Ok(end);
    }
    // Where the line begins that `high` was last known to be: narrowed by a guess, `high` may be in the middle of a long one.
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
        // A little before it: a look that ends just beyond the line costs a second one.
        let guess = guess.saturating_sub(SCAN_BYTES / 4).clamp(low + 1, high - 1);
        let Some((at, found)) = next_line(source, guess, high)? else {
            // Nothing readable begins there: what is looked for is before it.
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
        // Guessing that comes no nearer than halving does is not worth it.
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

/// The number of the last line that can be read.
fn last_sequence(source: &mut Source, end: u64) -> io::Result<Option<u64>> {
    let mut back = SCAN_BYTES;
    loop {
        let from = end.saturating_sub(back);
        let mut lines = LineReader::new(from, end);
        let mut last = None;
        let mut first = from > 0;
        while let Some(line) = lines.next(source)? {
            // The first is a line's rest.
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

/// The first line that begins after `from` and can be read: its place and its number.
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

/// The lines of a log between two places, one by one. Memory: the longest line, and a block.
#[derive(Debug)]
pub struct LineReader {
    buffer: Vec<u8>,
    /// The buffer's lines that were given are before it.
    consumed: usize,
    /// Where the buffer begins.
    offset: u64,
    end: u64,
    block: usize,
    /// Where the line line_offset that was given last.
    pub line_offset: u64,
}

impl LineReader {
    /// From `offset` up to `end`. A last line without its line break is none.
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

    /// There is more up to here.
    pub fn extend(&mut self, end: u64) {
        self.end = self.end.max(end);
    }

    /// How many bytes there are from the next line on.
    pub fn remaining(&self) -> u64 {
        self.end.saturating_sub(self.next_offset())
    }

    /// Where the next line begins.
    pub fn next_offset(&self) -> u64 {
        self.offset + self.consumed as u64
    }

    /// The next line, with its line break.
    ///
    /// # Errors
    /// As [`Source::read_at`].
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
                // Whoever waits for more needs no memory meanwhile.
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
