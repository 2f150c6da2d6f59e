//! Writers that number what they send, so that what comes twice is known.

use std::collections::HashMap;

use super::LogError;

/// How many of them a run may have.
const MAX_WRITERS: usize = 64;

/// A writer that numbers what it sends: the first line's number is `seq`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writer {
    /// Its name.
    pub id: String,
    /// How often it has begun anew: an older one is refused.
    pub epoch: u64,
    /// The number of its next line.
    pub seq: u64,
}

/// Who has sent what: by name the epoch, and the last line that is there.
#[derive(Debug, Default)]
pub(super) struct Writers(HashMap<String, (u64, u64)>);

impl Writers {
    /// A writer's line is there.
    pub(super) fn note(&mut self, id: &str, epoch: u64, seq: u64) {
        match self.0.get_mut(id) {
            Some(known) => *known = (*known).max((epoch, seq)),
            None => drop(self.0.insert(id.to_owned(), (epoch, seq))),
        }
    }

    /// The last line of a writer that is there, 0 for none.
    ///
    /// # Errors
    /// [`LogError`], if what it sends now doesn't follow that.
    pub(super) fn last_accepted(&self, writer: &Writer) -> Result<u64, LogError> {
        let Some((epoch, last)) = self.0.get(&writer.id).copied() else {
            if self.0.len() >= MAX_WRITERS {
                return Err(LogError::TooManyWriters { limit: MAX_WRITERS });
            }
            return check_expected(writer, 1).map(|()| 0);
        };
        match writer.epoch {
            old if old < epoch => Err(LogError::Fenced { epoch }),
            new if new > epoch => check_expected(writer, 1).map(|()| 0),
            _ if writer.seq <= last => Ok(last),
            _ => check_expected(writer, last + 1).map(|()| last),
        }
    }
}

fn check_expected(writer: &Writer, expected: u64) -> Result<(), LogError> {
    if writer.seq == expected {
        return Ok(());
    }
    Err(LogError::SequenceGap {
        expected,
        got: writer.seq,
    })
}
