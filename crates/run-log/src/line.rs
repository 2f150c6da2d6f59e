//! One line of a log: the envelope around a program's event.
//!
//! ```text
//! {"type":…,"event_id":…,"created_at":…,"sequence":…,"source":…,"workspace_id":…,"configuration_id":…,"run_id":…,
//!  "writer":{"id":…,"epoch":…,"seq":…},"payload":{…}}⏎
//! ```
//!
//! Lines of a writer that numbers its lines have the field `writer`. So the log itself shows which lines were sent
//! twice. The order of the fields is fixed, because the sequence number is read from the beginning of a line.

use std::borrow::Cow;
use std::io::Write as _;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::{ContextV7, Timestamp, Uuid};

use super::LogError;
use super::layout::RunKey;
use super::machine_time;
use super::writers::Writer;

/// The text before a line's sequence number.
const SEQUENCE: &[u8] = b",\"sequence\":";
/// The number of bytes at the beginning of a line in which [`SEQUENCE`] is found. Only the type, the id and the time
/// come before it.
const SEQUENCE_WITHIN: usize = 320;

/// The maximum length of a type, a source and a writer's name, in bytes.
const MAX_NAME_BYTES: usize = 100;
/// The maximum length of a time, in bytes.
const MAX_TIME_BYTES: usize = 64;

/// A line as a client sends it: an event without its envelope. Its JSON form has the fields `type`, `payload`,
/// `created_at` and `source`, of which only `type` is required.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct IncomingLine<'a> {
    /// The type of the event, such as `console.line`: at most 100 printable ASCII characters except `"` and `\`.
    #[serde(borrow, rename = "type")]
    pub kind: Cow<'a, str>,
    /// A JSON object; an empty one if it is left out.
    #[serde(borrow, default)]
    pub payload: Option<&'a RawValue>,
    /// The time of the event (RFC 3339), if it is not the current time.
    #[serde(borrow, default)]
    pub created_at: Option<Cow<'a, str>>,
    /// The part of the program that sends the event, with the characters of a type.
    #[serde(borrow, default)]
    pub source: Option<Cow<'a, str>>,
}

impl<'a> IncomingLine<'a> {
    /// Creates a line of a type, with a JSON object as its payload. The log adds the current time.
    pub fn new(kind: impl Into<Cow<'a, str>>, payload: Option<&'a RawValue>) -> Self {
        Self {
            kind: kind.into(),
            payload,
            created_at: None,
            source: None,
        }
    }

    /// Formats the line as a run's log would store it, with its line break. It needs no log: it is for tests, and for
    /// tools that make logs.
    ///
    /// # Errors
    /// [`LogError::InvalidLine`].
    pub fn to_stored(&self, run: RunKey, sequence: u64, source: &str) -> Result<Vec<u8>, LogError> {
        self.check(0)?;
        check_source(source)?;
        let now = machine_time::time_of_day();
        let position = LinePosition {
            sequence,
            id: EventIds::default().next(now),
            now: &format_time(now),
            writer: None,
        };
        let mut line = Vec::new();
        write_line(&mut line, &Envelope::new(run, None), position, self, source);
        Ok(line)
    }

    /// Checks that the line can be stored as JSON and found again. `index` names the line in the error.
    pub(super) fn check(&self, index: usize) -> Result<(), LogError> {
        let invalid = |reason| Err(LogError::InvalidLine { index, reason });
        if !is_plain(&self.kind, MAX_NAME_BYTES) {
            return invalid("its type must be 1 to 100 printable ASCII characters except '\"' and '\\'");
        }
        if self
            .source
            .as_deref()
            .is_some_and(|source| !is_plain(source, MAX_NAME_BYTES))
        {
            return invalid("its source must be 1 to 100 printable ASCII characters except '\"' and '\\'");
        }
        if self
            .created_at
            .as_deref()
            .is_some_and(|time| !is_plain(time, MAX_TIME_BYTES))
        {
            return invalid("its time must be an RFC 3339 time");
        }
        if self.payload.is_some_and(|payload| !payload.get().starts_with('{')) {
            return invalid("its payload must be a JSON object");
        }
        Ok(())
    }
}

/// Checks the source of lines that have none of their own.
pub(super) fn check_source(source: &str) -> Result<(), LogError> {
    match is_plain(source, MAX_NAME_BYTES) {
        true => Ok(()),
        false => Err(LogError::InvalidName { name: "source" }),
    }
}

/// Checks the name of a writer.
pub(super) fn check_writer(writer: &Writer) -> Result<(), LogError> {
    match is_plain(&writer.id, MAX_NAME_BYTES) {
        true => Ok(()),
        false => Err(LogError::InvalidName { name: "writer's id" }),
    }
}

/// Returns whether a text can be written between quotation marks as it is.
fn is_plain(text: &str, max_bytes: usize) -> bool {
    let mut bytes = text.bytes();
    (1..=max_bytes).contains(&text.len()) && bytes.all(|b| matches!(b, b' '..=b'~') && b != b'"' && b != b'\\')
}

/// The fields that are the same in all lines of a run, as JSON text.
#[derive(Debug, Clone)]
pub(super) struct Envelope(String);

impl Envelope {
    /// Creates the envelope of a run's lines.
    pub(super) fn new(run: RunKey, configuration_id: Option<&str>) -> Self {
        let configuration = configuration_id.map_or_else(|| "null".to_owned(), |id| quoted(id).into_owned());
        Self(format!(
            ",\"workspace_id\":\"{}\",\"configuration_id\":{configuration},\"run_id\":\"{}\"",
            run.team_id, run.run_id
        ))
    }
}

/// The writer of a line, and the writer's own number of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct WriterMark<'a> {
    /// The name that the writer gives itself.
    #[serde(borrow)]
    pub id: &'a str,
    /// The writer's epoch, which it increases each time it starts again.
    pub epoch: u64,
    /// The number of the line in the writer's epoch.
    pub seq: u64,
}

/// The fields that the service adds to each line.
#[derive(Debug, Clone, Copy)]
pub(super) struct LinePosition<'a> {
    pub(super) sequence: u64,
    pub(super) id: Uuid,
    /// The current time, as [`format_time`] formats it.
    pub(super) now: &'a str,
    pub(super) writer: Option<WriterMark<'a>>,
}

/// Generates the ids of a log's lines. They have the order of the lines, also within one millisecond.
#[derive(Debug)]
pub(super) struct EventIds(ContextV7);

impl Default for EventIds {
    fn default() -> Self {
        Self(ContextV7::new())
    }
}

impl EventIds {
    pub(super) fn next(&self, at: DateTime<Utc>) -> Uuid {
        let seconds = u64::try_from(at.timestamp()).unwrap_or_default();
        Uuid::new_v7(Timestamp::from_unix(&self.0, seconds, at.timestamp_subsec_nanos()))
    }
}

/// Writes a line with its line break. The incoming line and the names must have been checked.
pub(super) fn write_line(
    into: &mut Vec<u8>,
    envelope: &Envelope,
    position: LinePosition<'_>,
    incoming: &IncomingLine<'_>,
    source: &str,
) {
    into.extend_from_slice(b"{\"type\":\"");
    into.extend_from_slice(incoming.kind.as_bytes());
    into.extend_from_slice(b"\",\"event_id\":\"");
    let mut id = [0; uuid::fmt::Hyphenated::LENGTH];
    into.extend_from_slice(position.id.as_hyphenated().encode_lower(&mut id).as_bytes());
    into.extend_from_slice(b"\",\"created_at\":\"");
    into.extend_from_slice(incoming.created_at.as_deref().unwrap_or(position.now).as_bytes());
    into.push(b'"');
    into.extend_from_slice(SEQUENCE);
    // Writing to a `Vec` never fails.
    let _ = write!(into, "{}", position.sequence);
    into.extend_from_slice(b",\"source\":\"");
    into.extend_from_slice(incoming.source.as_deref().unwrap_or(source).as_bytes());
    into.push(b'"');
    into.extend_from_slice(envelope.0.as_bytes());
    if let Some(writer) = position.writer {
        let _ = write!(
            into,
            ",\"writer\":{{\"id\":\"{}\",\"epoch\":{},\"seq\":{}}}",
            writer.id, writer.epoch, writer.seq
        );
    }
    into.extend_from_slice(b",\"payload\":");
    match incoming.payload {
        Some(payload) => one_line(into, payload.get()),
        None => into.extend_from_slice(b"{}"),
    }
    into.extend_from_slice(b"}\n");
}

/// Formats a time as in lines: RFC 3339 with microseconds.
pub fn format_time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Writes JSON without line breaks. Line breaks in JSON can only be between tokens, because in strings they are
/// escaped.
fn one_line(into: &mut Vec<u8>, json: &str) {
    let begin = into.len();
    into.extend_from_slice(json.as_bytes());
    if memchr::memchr2(b'\n', b'\r', json.as_bytes()).is_some() {
        for byte in into.iter_mut().skip(begin).filter(|byte| matches!(byte, b'\n' | b'\r')) {
            *byte = b' ';
        }
    }
}

/// Quotes a text as a JSON string.
fn quoted(text: &str) -> Cow<'_, str> {
    serde_json::to_string(text).map_or(Cow::Borrowed("\"\""), Cow::Owned)
}

/// Reads a line's sequence number from its beginning. Returns `None` for bytes that are not a line of a log.
pub fn sequence_of(line: &[u8]) -> Option<u64> {
    let head = line.get(..line.len().min(SEQUENCE_WITHIN))?;
    if !head.starts_with(b"{\"type\":\"") {
        return None;
    }
    let at = memchr::memmem::find(head, SEQUENCE)? + SEQUENCE.len();
    let digits = line.get(at..)?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(digits.get(..end)?).ok()?.parse().ok()
}

/// A stored line, with the fields that readers need.
#[derive(Debug, Deserialize)]
#[non_exhaustive]
pub struct StoredLine<'a> {
    /// The type of the event.
    #[serde(borrow, rename = "type")]
    pub kind: Cow<'a, str>,
    /// The time of the event.
    #[serde(borrow)]
    pub created_at: Cow<'a, str>,
    /// The line's number in the log.
    pub sequence: u64,
    /// The writer that numbered the line, if any.
    #[serde(borrow, default)]
    pub writer: Option<WriterMark<'a>>,
    /// The payload, a JSON object.
    #[serde(borrow)]
    pub payload: &'a RawValue,
}

impl<'a> StoredLine<'a> {
    /// Parses a line. Returns `None` for bytes that are not a line of a log.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn written(incoming: &str, writer: Option<WriterMark<'_>>) -> Vec<u8> {
        let run = RunKey {
            team_id: Uuid::from_u128(1),
            run_id: Uuid::from_u128(2),
        };
        let mut line = Vec::new();
        let position = LinePosition {
            sequence: 7,
            id: EventIds::default().next(machine_time::time_of_day()),
            now: "2026-11-21T12:00:00.000000Z",
            writer,
        };
        let envelope = Envelope::new(run, Some("a \"b\""));
        write_line(
            &mut line,
            &envelope,
            position,
            &serde_json::from_str(incoming).unwrap(),
            "api",
        );
        line
    }

    #[test]
    fn a_line_is_the_payload_in_its_envelope() {
        let line = written(r#"{"type":"console.line","payload":{"message":"a\nb"}}"#, None);
        let mut value: Value = serde_json::from_slice(&line).unwrap();
        assert!(Uuid::try_parse(value["event_id"].as_str().unwrap()).is_ok());
        value["event_id"] = json!("…");
        assert_eq!(
            value,
            json!({
                "type": "console.line", "event_id": "…", "created_at": "2026-11-21T12:00:00.000000Z", "sequence": 7,
                "source": "api", "workspace_id": Uuid::from_u128(1), "configuration_id": "a \"b\"",
                "run_id": Uuid::from_u128(2), "payload": {"message": "a\nb"},
            })
        );
        assert_eq!(sequence_of(&line), Some(7));
    }

    #[test]
    fn line_breaks_in_a_payload_are_replaced() {
        let line = written("{\"type\":\"x\",\"payload\":{\n\t\"a\": 1,\r\n \"b\": \"c\"}}", None);
        assert_eq!(memchr::memchr_iter(b'\n', &line).count(), 1);
        assert_eq!(
            StoredLine::parse(&line).unwrap().payload.get(),
            "{ \t\"a\": 1,   \"b\": \"c\"}"
        );
    }

    #[test]
    fn the_numbers_of_a_writer_are_in_the_line() {
        let mark = WriterMark {
            id: "exec",
            epoch: 2,
            seq: 9,
        };
        let line = written(r#"{"type":"x"}"#, Some(mark));
        let read = StoredLine::parse(&line).unwrap();
        assert_eq!((read.writer, read.payload.get()), (Some(mark), "{}"));
    }

    #[test]
    fn an_invalid_line_has_no_sequence() {
        for invalid in [
            "",
            "{}",
            "{\"type\":\"x\"",
            "{\"type\":\"x\",\"sequence\":",
            "\0\0\0\0",
            "[1,\"sequence\":7}",
        ] {
            assert_eq!(sequence_of(invalid.as_bytes()), None, "{invalid:?}");
        }
    }
}
