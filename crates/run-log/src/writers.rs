//! Writers that number their lines, so that duplicates are recognised.

use std::collections::HashMap;

use super::LogError;

/// The maximum number of such writers of a run.
const MAX_WRITERS: usize = 64;

/// A writer that numbers its lines, so that it can send lines again without storing them twice. `seq` is the number of
/// the first line in a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writer {
    /// The name that the writer gives itself, with the characters of a line's type.
    pub id: String,
    /// The writer's epoch, which it increases each time it starts again. An older epoch is refused.
    pub epoch: u64,
    /// The number of the writer's next line, from 1 in each epoch.
    pub seq: u64,
}

/// The epoch and the last line of each writer, by its name.
#[derive(Debug, Default)]
pub(super) struct Writers(HashMap<String, (u64, u64)>);

impl Writers {
    /// Records a writer's line.
    pub(super) fn note(&mut self, id: &str, epoch: u64, seq: u64) {
        match self.0.get_mut(id) {
            Some(known) => *known = (*known).max((epoch, seq)),
            None => drop(self.0.insert(id.to_owned(), (epoch, seq))),
        }
    }

    /// Returns the number of a writer's last accepted line in its epoch; 0 if there is none.
    ///
    /// # Errors
    /// [`LogError`] if the writer's next line does not follow that line, or if the epoch is too old.
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
