//! A log as it is sent: from a line on, what was said of it filtered, and what comes next for as long as the run goes on.
//!
//! **Memory.** Who reads has a place in the file, and a block of it while it is sent: nothing is queued for anybody. One that
//! is slow has its place and no more.
//!
//! **The joint.** What is there already and what comes are the same file: there is nothing to be joined.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;

use super::log::{Durable, End, Lines, Read, Source, sequence_of};
use super::readers::{Permission, Place, closed, record_refusal};
use crate::error::{Error, Result};
use crate::http::MAX_PAGE_BYTES;

/// How much is sent at once: a frame that a slow reader's connection holds.
const BLOCK: usize = 64 << 10;
/// How much is read of the file at once, where nothing has to be found in it.
const READ_AHEAD: usize = 4 * BLOCK;
/// How far is read for a block when little of it is asked for, before others have their turn.
const SCAN: u64 = 4 << 20;
/// So little is read where one is: it was written a moment ago.
const AT_HAND: u64 = 16 << 10;
/// After so long without a line an SSE reader is told that we are there: proxies hang up on silence.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Which lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LineFilter {
    /// Of these types; `run.*` for all that begin so. None: of all.
    pub(super) types: Vec<String>,
    /// Of this level or a worse one.
    pub(super) level: Option<Level>,
}

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Debug,
    Info,
    Warning,
    Error,
}

impl Level {
    /// By the words that programs use for it.
    pub(super) fn of(word: &str) -> Option<Self> {
        Some(match word {
            "trace" | "debug" => Self::Debug,
            "info" | "notice" => Self::Info,
            "warning" | "warn" => Self::Warning,
            "error" | "critical" | "fatal" => Self::Error,
            _ => return None,
        })
    }
}

impl LineFilter {
    pub(super) fn takes_all(&self) -> bool {
        self.types.is_empty() && self.level.is_none()
    }

    pub(super) fn takes(&self, line: &Read<'_>) -> bool {
        let kind = &*line.kind;
        let of_type = |wanted: &String| match wanted.strip_suffix('*') {
            Some(begin) => kind.starts_with(begin),
            None => kind == wanted,
        };
        if !self.types.is_empty() && !self.types.iter().any(of_type) {
            return false;
        }
        let Some(least) = self.level else { return true };
        #[derive(Deserialize)]
        struct Levelled<'a> {
            #[serde(borrow, default)]
            level: Option<std::borrow::Cow<'a, str>>,
        }
        let level = serde_json::from_str::<Levelled<'_>>(line.payload.get()).ok();
        let level = level.and_then(|payload| Level::of(payload.level.as_deref()?));
        level.is_some_and(|level| level >= least)
    }
}

/// In what form lines are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As they are.
    Ndjson,
    /// Server-sent events, each with its number as `id`.
    Sse,
}

impl Form {
    /// What tells a client that its stream ends early, and why.
    fn closing(self, refusal: &Error) -> Bytes {
        let (code, detail) = closed(refusal);
        match self {
            Self::Ndjson => format!("{}\n", json!({"type": "stream.closed", "code": code, "detail": detail})),
            Self::Sse => format!("event: closed\ndata: {}\n\n", json!({"code": code, "detail": detail})),
        }
        .into()
    }
}

/// Somebody who reads a log.
pub(super) struct Reader {
    source: Source,
    lines: Lines,
    /// The number of the line that was read last.
    sequence: u64,
    filter: LineFilter,
    form: Form,
    run_id: uuid::Uuid,
}

impl Reader {
    /// Reads from `offset`, before which the last line is number `before`, up to `end`.
    pub(super) fn new(
        source: Source,
        (offset, before): (u64, u64),
        end: u64,
        filter: LineFilter,
        form: Form,
        run_id: uuid::Uuid,
    ) -> Self {
        Self {
            lines: Lines::new(offset, end),
            source,
            sequence: before,
            filter,
            form,
            run_id,
        }
    }

    /// The next lines in their form, as many as fit into a block. Empty when there is none, or none that is asked for
    /// within a while.
    fn block(&mut self) -> Result<Vec<u8>> {
        let begin = self.lines.at();
        let mut block = Vec::new();
        while block.len() < BLOCK && self.lines.at() - begin < SCAN {
            let Some(line) = self.lines.next(&mut self.source).map_err(Error::internal)? else {
                break;
            };
            if self.form == Form::Ndjson && self.filter.takes_all() {
                block.extend_from_slice(line);
                continue;
            }
            let Some(read) = Read::of(line) else {
                // One that can't be read stops nobody, and is not passed over in silence.
                let sequence = sequence_of(line).unwrap_or(self.sequence + 1);
                self.sequence = sequence;
                if self.filter.takes_all() {
                    let gap = gap(self.run_id, sequence);
                    write(&mut block, self.form, sequence, &gap);
                }
                continue;
            };
            self.sequence = read.sequence;
            if self.filter.takes(&read) {
                write(&mut block, self.form, read.sequence, line);
            }
        }
        Ok(block)
    }

    /// All that there is from here on as JSON values, for a page: at most `limit`, and at most [`MAX_PAGE_BYTES`] where that is
    /// more than one line. With the number that the next page comes after.
    ///
    /// # Errors
    /// [`Error::Internal`].
    pub(super) fn page(&mut self, limit: usize) -> Result<(Vec<Box<serde_json::value::RawValue>>, u64, bool)> {
        let mut items = Vec::new();
        let mut room = MAX_PAGE_BYTES;
        while let Some(line) = self.lines.next(&mut self.source).map_err(Error::internal)? {
            let is_full = items.len() == limit || (!items.is_empty() && line.len() > room);
            let text = match Read::of(line) {
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
                    String::from_utf8_lossy(&gap(self.run_id, self.sequence))
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

/// What is sent in place of a line that can't be read.
fn gap(run_id: uuid::Uuid, sequence: u64) -> Vec<u8> {
    let payload = json!({"count": 1, "reason": "this line can't be read any more"});
    let gap = json!({"type": "log.gap", "sequence": sequence, "run_id": run_id, "payload": payload});
    format!("{gap}\n").into_bytes()
}

fn write(block: &mut Vec<u8>, form: Form, sequence: u64, line: &[u8]) {
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

/// What a reader waits for.
pub(super) struct Live {
    /// How far the log is safe; none for one to which nothing is added.
    pub(super) durable: Option<watch::Receiver<Durable>>,
    /// Of one to which nothing is added: it is the whole log of a run that has ended.
    pub(super) complete: bool,
    /// Turns true when the process is to stop.
    pub(super) closing: watch::Receiver<bool>,
    pub(super) reader: Permission,
    pub(super) place: Place,
}

enum State {
    Reading(Box<Reader>, Box<Live>),
    Over,
}

/// What is sent to a reader, block by block, until the run has ended, or until there is no more for one that doesn't
/// follow. `first` comes before everything.
pub(super) fn stream(
    reader: Reader,
    live: Live,
    first: Option<Bytes>,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    let state = State::Reading(Box::new(reader), Box::new(live));
    unfold((state, first), async |(state, first)| {
        if let Some(first) = first {
            return Some((Ok(first), (state, None)));
        }
        let State::Reading(reader, live) = state else {
            return None;
        };
        let (bytes, state) = next(reader, live).await?;
        Some((Ok(bytes), (state, None)))
    })
}

async fn next(mut reader: Box<Reader>, mut live: Box<Live>) -> Option<(Bytes, State)> {
    loop {
        if let Err(refusal) = live.reader.check().await {
            record_refusal(&refusal);
            return Some((reader.form.closing(&refusal), State::Over));
        }
        let ended = match &mut live.durable {
            None => true,
            Some(durable) => {
                let durable = durable.borrow_and_update();
                reader.lines.extend(durable.bytes);
                durable.end.is_some()
            }
        };
        let left = reader.lines.left();
        if left > 0 {
            let at = reader.lines.at();
            let read;
            (reader, read) = read_block(reader, left, &live.place).await;
            match read {
                Ok(block) if !block.is_empty() => return Some((block.into(), State::Reading(reader, live))),
                // None of it was asked for; or it is the rest of a line, which is none.
                Ok(_) if reader.lines.at() > at => continue,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(run = %reader.run_id, "a run's log can't be read on: {error}");
                    return None;
                }
            }
        }
        if ended {
            let complete = match &live.durable {
                None => live.complete,
                Some(durable) => durable.borrow().end == Some(End::Complete),
            };
            // Who is not told of an end comes again.
            if reader.form == Form::Sse && complete {
                return Some((Bytes::from_static(b"event: end\ndata: {}\n\n"), State::Over));
            }
            return None;
        }
        let durable = live.durable.as_mut()?;
        let silent = tokio::select! {
            moved = durable.changed() => {
                moved.ok()?;
                false
            }
            () = tokio::time::sleep(KEEP_ALIVE) => true,
            () = live.reader.expired() => false,
            _ = live.closing.wait_for(|closing| *closing) => return None,
        };
        if silent && reader.form == Form::Sse {
            return Some((Bytes::from_static(b": still here\n\n"), State::Reading(reader, live)));
        }
    }
}

async fn read_block(mut reader: Box<Reader>, left: u64, place: &Place) -> (Box<Reader>, Result<Vec<u8>>) {
    if left <= AT_HAND {
        let read = reader.block();
        return (reader, read);
    }
    let _turn = place.turn().await;
    let reading = tokio::task::spawn_blocking(move || {
        let read = reader.block();
        (reader, read)
    });
    match reading.await {
        Ok(read) => read,
        // Its own work does not panic, and nobody cancels it.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// A log's bytes as they are, block by block. They are read a few blocks at a time.
///
/// Of an answer with a length only its breaking off can tell that it ends early.
pub(super) fn bytes(
    source: Source,
    span: std::ops::Range<u64>,
    reader: Permission,
    place: Place,
) -> impl Stream<Item = Result<Bytes>> + Send {
    let begin = (source, span, Bytes::new());
    let checked = (begin, reader, place);
    unfold(Some(checked), async |state| {
        let (download, mut reader, place) = state?;
        if let Err(refusal) = reader.check().await {
            record_refusal(&refusal);
            return Some((Err(refusal), None));
        }
        let (piece, download) = next_bytes(download, &place).await?;
        Some((piece, Some((download, reader, place))))
    })
}

type Download = (Source, std::ops::Range<u64>, Bytes);

async fn next_bytes((mut source, span, mut ready): Download, place: &Place) -> Option<(Result<Bytes>, Download)> {
    if !ready.is_empty() {
        let block = ready.split_to(ready.len().min(BLOCK));
        return Some((Ok(block), (source, span, ready)));
    }
    let left = usize::try_from(span.end - span.start)
        .unwrap_or(READ_AHEAD)
        .min(READ_AHEAD);
    if left == 0 {
        return None;
    }
    let start = span.start;
    let _turn = place.turn().await;
    let reading = tokio::task::spawn_blocking(move || {
        let mut piece = vec![0; left];
        let read = source.read_at(start, &mut piece).map(|read| piece.truncate(read));
        (source, read.map(|()| Bytes::from(piece)))
    });
    match reading.await {
        Ok((source, Ok(mut piece))) if !piece.is_empty() => {
            let next = start + piece.len() as u64..span.end;
            let block = piece.split_to(piece.len().min(BLOCK));
            Some((Ok(block), (source, next, piece)))
        }
        // Shorter than it was said to be: the answer must not look whole.
        Ok((source, Ok(_))) => {
            let error = Error::internal("the log has become shorter");
            Some((Err(error), (source, 0..0, Bytes::new())))
        }
        Ok((source, Err(error))) => Some((Err(Error::internal(error)), (source, 0..0, Bytes::new()))),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
