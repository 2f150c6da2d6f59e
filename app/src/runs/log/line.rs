//! One line of a log: the envelope around what a program says.
//!
//! ```text
//! {"type":…,"event_id":…,"created_at":…,"sequence":…,"source":…,"workspace_id":…,"configuration_id":…,"run_id":…,
//!  "writer":{"id":…,"epoch":…,"seq":…},"payload":{…}}⏎
//! ```
//!
//! `writer` is there for lines of a writer that numbers what it sends, so that what is sent twice is known in the log
//! itself. The order of the fields is fixed: how far a log has come is read from a line's beginning.

use std::borrow::Cow;
use std::io::Write as _;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::{ContextV7, Timestamp, Uuid};

use super::layout::RunKey;

/// How a line says where it is, in the first bytes of each.
const SEQUENCE: &[u8] = b",\"sequence\":";
/// Type, id and moment come before it: it is found within so many bytes.
const SEQUENCE_WITHIN: usize = 320;

/// What a program says: an event without its envelope, as it was sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IncomingLine<'a> {
    /// What kind of event: `console.line`, `run.table.summary`.
    #[serde(borrow, rename = "type")]
    pub kind: Cow<'a, str>,
    /// What it says: a JSON object; left out: an empty one.
    #[serde(borrow, default)]
    pub payload: Option<&'a RawValue>,
    /// When it happened, if not now: RFC 3339.
    #[serde(borrow, default)]
    pub created_at: Option<Cow<'a, str>>,
    /// What part of the program says it.
    #[serde(borrow, default)]
    pub source: Option<Cow<'a, str>>,
}

/// What is the same in all lines of a run.
#[derive(Debug, Clone)]
pub struct Envelope(String);

impl Envelope {
    /// Of a run.
    pub fn new(run: RunKey, configuration_id: Option<&str>) -> Self {
        let configuration = configuration_id.map_or_else(|| "null".to_owned(), |id| quoted(id).into_owned());
        Self(format!(
            ",\"workspace_id\":\"{}\",\"configuration_id\":{configuration},\"run_id\":\"{}\"",
            run.team_id, run.run_id
        ))
    }
}

/// What numbers a line, beside its place: the writer that sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct WriterMark<'a> {
    /// The writer, by a name of its own.
    #[serde(borrow)]
    pub id: &'a str,
    /// How often it has begun anew.
    pub epoch: u64,
    /// Its own count of what it sent.
    pub seq: u64,
}

/// A line's place and moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct LinePosition<'a> {
    pub(super) sequence: u64,
    pub(super) id: Uuid,
    /// As [`moment`] writes it.
    pub(super) now: &'a str,
    pub(super) writer: Option<WriterMark<'a>>,
}

/// The ids of a log's lines: in the order of the lines, also within a moment.
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

/// Writes a line with its newline. What was said has been checked by then.
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
    // Writing into memory doesn't fail.
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

/// A moment as lines have it.
pub fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// JSON without the line breaks that may be between its parts: within a text they are escaped.
fn one_line(into: &mut Vec<u8>, json: &str) {
    let begin = into.len();
    into.extend_from_slice(json.as_bytes());
    if memchr::memchr2(b'\n', b'\r', json.as_bytes()).is_some() {
        for byte in into.iter_mut().skip(begin).filter(|byte| matches!(byte, b'\n' | b'\r')) {
            *byte = b' ';
        }
    }
}

/// A text as JSON.
fn quoted(text: &str) -> Cow<'_, str> {
    serde_json::to_string(text).map_or(Cow::Borrowed("\"\""), Cow::Owned)
}

/// A line's place, from its beginning. None for what is no line of a log.
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

/// A line as it is read again: what was asked for of it.
#[derive(Debug, Deserialize)]
pub struct StoredLine<'a> {
    /// What kind of event.
    #[serde(borrow, rename = "type")]
    pub kind: Cow<'a, str>,
    /// When it happened.
    #[serde(borrow)]
    pub created_at: Cow<'a, str>,
    /// Its place.
    pub sequence: u64,
    /// Who numbered it, if somebody did.
    #[serde(borrow, default)]
    pub writer: Option<WriterMark<'a>>,
    /// What it says.
    #[serde(borrow)]
    pub payload: &'a RawValue,
}

impl<'a> StoredLine<'a> {
    /// None for what is no line of a log.
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
            id: EventIds::default().next(Utc::now()),
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
    fn a_line_is_its_envelope_around_what_was_said() {
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
    fn what_was_sent_in_many_lines_is_one() {
        let line = written("{\"type\":\"x\",\"payload\":{\n\t\"a\": 1,\r\n \"b\": \"c\"}}", None);
        assert_eq!(memchr::memchr_iter(b'\n', &line).count(), 1);
        assert_eq!(
            StoredLine::parse(&line).unwrap().payload.get(),
            "{ \t\"a\": 1,   \"b\": \"c\"}"
        );
    }

    #[test]
    fn a_writer_s_numbers_are_in_the_line() {
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
    fn what_is_no_line_has_no_place() {
        for none in [
            "",
            "{}",
            "{\"type\":\"x\"",
            "{\"type\":\"x\",\"sequence\":",
            "\0\0\0\0",
            "[1,\"sequence\":7}",
        ] {
            assert_eq!(sequence_of(none.as_bytes()), None, "{none:?}");
        }
    }
}
