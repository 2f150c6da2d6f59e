//! Streams a run's log from a given line, applying the filter, and follows it until the run ends.
//!
//! **Memory.** A reader of lines holds an offset in the file, and one block of it while that block is sent. A download
//! of bytes holds up to [`READ_AHEAD_BYTES`]. No lines are queued for readers, so a slow reader costs no more than
//! that.
//!
//! **Replay and live tail** read the same file, so there is no hand-over between them.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use daybook_run_log::{Durable, LineReader, LogEnd, Source, StoredLine, sequence_of};
use futures_util::Stream;
use futures_util::stream::unfold;
use serde_json::json;
use tokio::sync::watch;

use super::line_filter::LineFilter;
use super::readers::{Permission, ReaderPermit, closing_reason, record_refusal};
use crate::error::{Error, Result};
use crate::http::MAX_PAGE_BYTES;

/// The number of bytes after which a block is complete. Its last line may exceed this. The connection of a slow reader
/// holds one block.
const BLOCK_BYTES: usize = 64 << 10;
/// The number of bytes that are read from the file at once when no line has to be found in them.
const READ_AHEAD_BYTES: usize = 4 * BLOCK_BYTES;
/// The maximum number of bytes that are read for one block when the filter drops most lines. After that, other readers
/// get their turn.
const MAX_SCAN_BYTES: u64 = 4 << 20;
/// The maximum number of bytes that are read on the async thread. They were just written, so reading them hardly
/// blocks.
const INLINE_READ_BYTES: u64 = 16 << 10;
/// The interval of comments on an SSE stream without lines. Without them, proxies would close the silent connection.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// The format in which lines are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The lines as they are stored.
    Ndjson,
    /// Server-sent events, each with the line's number as `id`.
    Sse,
}

impl Form {
    /// Returns the last message of a stream that ends early. The message contains the reason.
    fn closing(self, refusal: &Error) -> Bytes {
        let (code, detail) = closing_reason(refusal);
        match self {
            Self::Ndjson => format!("{}\n", json!({"type": "stream.closed", "code": code, "detail": detail})),
            Self::Sse => format!("event: closed\ndata: {}\n\n", json!({"code": code, "detail": detail})),
        }
        .into()
    }
}

/// Reads the lines of a log for one client.
pub(super) struct Reader {
    source: Source,
    lines: LineReader,
    /// The number of the last line that was read.
    sequence: u64,
    filter: LineFilter,
    form: Form,
    run_id: uuid::Uuid,
}

impl Reader {
    /// Creates a reader from `offset` to `end`. `before` is the number of the last line before `offset`.
    pub(super) fn new(
        source: Source,
        (offset, before): (u64, u64),
        end: u64,
        filter: LineFilter,
        form: Form,
        run_id: uuid::Uuid,
    ) -> Self {
        Self {
            lines: LineReader::new(offset, end),
            source,
            sequence: before,
            filter,
            form,
            run_id,
        }
    }

    /// Returns the next lines in the requested format, as many as fit into a block. The block is empty if there is no
    /// line, or if no line matches within [`MAX_SCAN_BYTES`].
    fn block(&mut self) -> Result<Vec<u8>> {
        let begin = self.lines.next_offset();
        let mut block = Vec::new();
        while block.len() < BLOCK_BYTES && self.lines.next_offset() - begin < MAX_SCAN_BYTES {
            let Some(line) = self.lines.next(&mut self.source).map_err(Error::internal)? else {
                break;
            };
            if self.form == Form::Ndjson && self.filter.takes_all() {
                block.extend_from_slice(line);
                continue;
            }
            let Some(read) = StoredLine::parse(line) else {
                // An unreadable line does not end the stream. A gap line is sent in its place.
                let sequence = sequence_of(line).unwrap_or(self.sequence + 1);
                self.sequence = sequence;
                if self.filter.takes_all() {
                    let gap = gap_line(self.run_id, sequence);
                    write_event(&mut block, self.form, sequence, &gap);
                }
                continue;
            };
            self.sequence = read.sequence;
            if self.filter.takes(&read) {
                write_event(&mut block, self.form, read.sequence, line);
            }
        }
        Ok(block)
    }

    /// Returns a page of lines as JSON values: at most `limit`, and at most [`MAX_PAGE_BYTES`] unless one line is
    /// longer. The other values are the number after which the next page begins, and whether there are more lines.
    ///
    /// # Errors
    /// [`Error::Internal`].
    pub(super) fn page(&mut self, limit: usize) -> Result<(Vec<Box<serde_json::value::RawValue>>, u64, bool)> {
        let mut items = Vec::new();
        let mut room = MAX_PAGE_BYTES;
        while let Some(line) = self.lines.next(&mut self.source).map_err(Error::internal)? {
            let is_full = items.len() == limit || (!items.is_empty() && line.len() > room);
            let text = match StoredLine::parse(line) {
                Some(read) if self.filter.takes(&read) => {
                    if is_full {
                        return Ok((items, self.sequence, true));
                    }
                    self.sequence = read.sequence;
                    String::from_utf8_lossy(line.trim_ascii_end()).into_owned()
                }
                Some(read) => {
                    self.sequence = read.sequence;
                    continue;
                }
                None if self.filter.takes_all() => {
                    if is_full {
                        return Ok((items, self.sequence, true));
                    }
                    self.sequence = sequence_of(line).unwrap_or(self.sequence + 1);
                    String::from_utf8_lossy(&gap_line(self.run_id, self.sequence))
                        .trim_end()
                        .to_owned()
                }
                None => continue,
            };
            room = room.saturating_sub(text.len());
            items.push(serde_json::value::RawValue::from_string(text)?);
        }
        Ok((items, self.sequence, false))
    }
}

/// Returns the line that is sent in place of an unreadable line.
fn gap_line(run_id: uuid::Uuid, sequence: u64) -> Vec<u8> {
    let payload = json!({"count": 1, "reason": "this line is damaged and can't be read"});
    let gap = json!({"type": "log.gap", "sequence": sequence, "run_id": run_id, "payload": payload});
    format!("{gap}\n").into_bytes()
}

fn write_event(block: &mut Vec<u8>, form: Form, sequence: u64, line: &[u8]) {
    match form {
        Form::Ndjson => block.extend_from_slice(line),
        Form::Sse => {
            block.extend_from_slice(b"id: ");
            block.extend_from_slice(sequence.to_string().as_bytes());
            block.extend_from_slice(b"\ndata: ");
            block.extend_from_slice(line);
            block.push(b'\n');
        }
    }
}

/// What a stream needs, in addition to its reader, to follow a log.
pub(super) struct FollowState {
    /// How much of the log is durable. `None` if no lines are added to the log.
    pub(super) durable: Option<watch::Receiver<Durable>>,
    /// Whether the log is complete, because its run has ended. It is read only if `durable` is `None`.
    pub(super) complete: bool,
    /// Becomes true when the process shuts down.
    pub(super) closing: watch::Receiver<bool>,
    pub(super) permission: Permission,
    pub(super) permit: ReaderPermit,
}

enum StreamState {
    Reading(Box<Reader>, Box<FollowState>),
    Ended,
}

/// Streams a log block by block. The stream ends when the run has ended, or at the end of the log if the reader doesn't
/// follow it. `first` is sent before the first block.
pub(super) fn line_stream(
    reader: Reader,
    following: FollowState,
    first: Option<Bytes>,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    let state = StreamState::Reading(Box::new(reader), Box::new(following));
    unfold((state, first), async |(state, first)| {
        if let Some(first) = first {
            return Some((Ok(first), (state, None)));
        }
        let StreamState::Reading(reader, following) = state else {
            return None;
        };
        let (bytes, state) = next(reader, following).await?;
        Some((Ok(bytes), (state, None)))
    })
}

async fn next(mut reader: Box<Reader>, mut following: Box<FollowState>) -> Option<(Bytes, StreamState)> {
    loop {
        if let Err(refusal) = following.permission.check().await {
            record_refusal(&refusal);
            return Some((reader.form.closing(&refusal), StreamState::Ended));
        }
        let ended = match &mut following.durable {
            None => true,
            Some(durable) => {
                let durable = durable.borrow_and_update();
                reader.lines.extend(durable.bytes);
                durable.end.is_some()
            }
        };
        let left = reader.lines.remaining();
        if left > 0 {
            let at = reader.lines.next_offset();
            let read;
            (reader, read) = read_block(reader, left, &following.permit).await;
            match read {
                Ok(block) if !block.is_empty() => return Some((block.into(), StreamState::Reading(reader, following))),
                // No line matched the filter. If nothing was read, only an incomplete line is left.
                Ok(_) if reader.lines.next_offset() > at => continue,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(run = %reader.run_id, "could not continue to read a run's log: {error}");
                    return None;
                }
            }
        }
        if ended {
            let complete = match &following.durable {
                None => following.complete,
                Some(durable) => durable.borrow().end == Some(LogEnd::Complete),
            };
            // A client that does not receive the `end` event connects again.
            if reader.form == Form::Sse && complete {
                return Some((Bytes::from_static(b"event: end\ndata: {}\n\n"), StreamState::Ended));
            }
            return None;
        }
        let durable = following.durable.as_mut()?;
        let silent = tokio::select! {
            changed = durable.changed() => {
                changed.ok()?;
                false
            }
            () = tokio::time::sleep(KEEP_ALIVE_INTERVAL) => true,
            () = following.permission.expired() => false,
            _ = following.closing.wait_for(|closing| *closing) => return None,
        };
        if silent && reader.form == Form::Sse {
            return Some((
                Bytes::from_static(b": still here\n\n"),
                StreamState::Reading(reader, following),
            ));
        }
    }
}

async fn read_block(mut reader: Box<Reader>, left: u64, permit: &ReaderPermit) -> (Box<Reader>, Result<Vec<u8>>) {
    if left <= INLINE_READ_BYTES {
        let read = reader.block();
        return (reader, read);
    }
    let _turn = permit.turn().await;
    let reading = tokio::task::spawn_blocking(move || {
        let read = reader.block();
        (reader, read)
    });
    match reading.await {
        Ok(read) => read,
        // The task is never cancelled, so this is a panic.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Streams the bytes of a log unchanged, block by block. Several blocks are read from the file at a time.
///
/// A response with a `Content-Length` can signal an early end only by closing the connection.
pub(super) fn byte_stream(
    source: Source,
    span: std::ops::Range<u64>,
    permission: Permission,
    permit: ReaderPermit,
) -> impl Stream<Item = Result<Bytes>> + Send {
    let begin = (source, span, Bytes::new());
    let checked = (begin, permission, permit);
    unfold(Some(checked), async |state| {
        let (download, mut permission, permit) = state?;
        if let Err(refusal) = permission.check().await {
            record_refusal(&refusal);
            return Some((Err(refusal), None));
        }
        let (piece, download) = next_bytes(download, &permit).await?;
        Some((piece, Some((download, permission, permit))))
    })
}

type Download = (Source, std::ops::Range<u64>, Bytes);

async fn next_bytes(
    (mut source, span, mut ready): Download,
    permit: &ReaderPermit,
) -> Option<(Result<Bytes>, Download)> {
    if !ready.is_empty() {
        let block = ready.split_to(ready.len().min(BLOCK_BYTES));
        return Some((Ok(block), (source, span, ready)));
    }
    let left = usize::try_from(span.end - span.start)
        .unwrap_or(READ_AHEAD_BYTES)
        .min(READ_AHEAD_BYTES);
    if left == 0 {
        return None;
    }
    let start = span.start;
    let _turn = permit.turn().await;
    let reading = tokio::task::spawn_blocking(move || {
        let mut piece = vec![0; left];
        let read = source.read_at(start, &mut piece).map(|read| piece.truncate(read));
        (source, read.map(|()| Bytes::from(piece)))
    });
    match reading.await {
        Ok((source, Ok(mut piece))) if !piece.is_empty() => {
            let next = start + piece.len() as u64..span.end;
            let block = piece.split_to(piece.len().min(BLOCK_BYTES));
            Some((Ok(block), (source, next, piece)))
        }
        // The file is shorter than the `Content-Length`. The response must not look complete.
        Ok((source, Ok(_))) => {
            let error = Error::internal("the log is shorter than when the response began");
            Some((Err(error), (source, 0..0, Bytes::new())))
        }
        Ok((source, Err(error))) => Some((Err(Error::internal(error)), (source, 0..0, Bytes::new()))),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
