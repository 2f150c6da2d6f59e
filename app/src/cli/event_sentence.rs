//! Formats a wide event as one sentence for a terminal.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use chrono::{DateTime, Local};

use crate::terminal::visible;
use crate::wide_events::{Fields, Value};

const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const NEUTRAL: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// Returns `10:30:00 POST /v1/teams/…/campaigns answered 201 in 12.3 ms · a person recorded 1 event · 6 round trips,
/// 9.8 ms in the database`, in colours if `coloured`.
pub(super) fn sentence(event: &Fields, coloured: bool) -> String {
    let text = |path| event.get(path).and_then(Value::as_str).map(printable);
    let number = |path| event.get(path).and_then(Value::as_u64);
    let outcome = text("outcome").unwrap_or_default();
    let style = match outcome.as_str() {
        "success" | "upgraded" => GOOD,
        "error" | "panic" | "timeout" => BAD,
        _ => NEUTRAL,
    };
    let paint = |style: Style, words: &str| match coloured {
        true => format!("{style}{words}{style:#}"),
        false => words.to_owned(),
    };

    let mut line = paint(DIM, &time(&text("timestamp").unwrap_or_default()));
    let what = match (text("method"), text("path")) {
        (Some(method), Some(path)) => format!("{method} {path}"),
        _ => match text("job.name") {
            Some(job) => format!("job {job}"),
            None => text("kind").unwrap_or_else(|| "work".to_owned()),
        },
    };
    let _ = write!(line, " {what} {}", paint(style, &ending(event, &outcome)));
    let _ = write!(line, " {}", milliseconds(event.get("duration_ms")));

    let mut more = Vec::new();
    if let Some(count) = number("events.count") {
        let who = match text("actor.kind").as_deref() {
            Some("api_key") => "an API key",
            Some("user") => "a person",
            Some("job") => "a job",
            _ => "the service",
        };
        more.push(format!("{who} recorded {}", counted(count, "event")));
    }
    if let Some(count) = number("jobs.count") {
        more.push(format!("enqueued {}", counted(count, "job")));
    }
    if let Some(trips) = number("database.round_trips") {
        let waited = number("database.time_us").unwrap_or(0) as f64 / 1000.0;
        more.push(format!(
            "{}, {waited:.1} ms in the database",
            counted(trips, "round trip")
        ));
    }
    if let Some(retries) = number("database.retries") {
        more.push(format!("retried {}", counted(retries, "time")));
    }
    if let Some(dropped) = number("database.dropped_with_writes") {
        more.push(format!(
            "{} dropped with uncommitted writes",
            counted(dropped, "transaction")
        ));
    }
    if !more.is_empty() {
        let _ = write!(line, " {}", paint(DIM, &format!("· {}", more.join(" · "))));
    }
    if let Some(message) = text("error.message") {
        let causes = match event.get("error.causes") {
            Some(Value::Array(causes)) => causes.iter().filter_map(Value::as_str).map(printable).collect(),
            _ => Vec::new(),
        };
        let message = std::iter::once(message).chain(causes).collect::<Vec<_>>().join(": ");
        let _ = write!(line, " {}", paint(style, &format!("— {message}")));
    }
    line
}

/// Escapes control characters: some of these texts come from clients.
fn printable(text: &str) -> String {
    visible(text).into_owned()
}

fn ending(event: &Fields, outcome: &str) -> String {
    let status = event.get("status_code").and_then(Value::as_u64).unwrap_or_default();
    let kind = event.get("kind").and_then(Value::as_str).unwrap_or_default();
    match (kind, outcome) {
        ("socket", "success") => "closed after".to_owned(),
        ("late", _) => "went on for".to_owned(),
        ("job", "success") => "was done in".to_owned(),
        ("job", "error") => "failed after".to_owned(),
        (_, "aborted_before_response") => "lost its client before the answer, after".to_owned(),
        (_, "aborted_mid_body") => format!("answered {status} and lost its client midway, after"),
        (_, "upload_aborted") => "lost its client before the body was complete, after".to_owned(),
        (_, "upgraded") => "became a socket after".to_owned(),
        (_, "panic") => format!("panicked ({status}) after"),
        (_, "timeout") => format!("took too long ({status}), ended after"),
        (_, "cancelled") => "was cut short after".to_owned(),
        ("request", _) => format!("answered {status} in"),
        _ => format!("ended ({outcome}) after"),
    }
}

/// Formats a time in the local time zone of the reader.
fn time(timestamp: &str) -> String {
    match DateTime::parse_from_rfc3339(timestamp) {
        Ok(at) => at.with_timezone(&Local).format("%H:%M:%S").to_string(),
        Err(_) => timestamp.to_owned(),
    }
}

fn milliseconds(value: Option<&Value>) -> String {
    match value.and_then(Value::as_f64).unwrap_or_default() {
        ms @ 10_000.0.. => format!("{:.1} s", ms / 1000.0),
        ms => format!("{ms:.1} ms"),
    }
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sentence_of(event: serde_json::Value) -> String {
        let Value::Object(fields) = Value::from(event) else {
            panic!("no object");
        };
        let line = sentence(&fields, false);
        assert!(sentence(&fields, true).contains("\u{1b}["), "colours");
        line.split_once(' ').unwrap().1.to_owned()
    }

    #[test]
    fn an_event_is_formatted_as_a_sentence() {
        let base = json!({
            "timestamp": "2026-11-21T10:30:00.000Z", "kind": "request", "method": "POST", "path": "/campaigns",
            "status_code": 201, "outcome": "success", "duration_ms": 12.345,
        });
        assert_eq!(sentence_of(base.clone()), "POST /campaigns answered 201 in 12.3 ms");
        let with = |more: serde_json::Value| {
            let mut event = base.clone();
            event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            sentence_of(event)
        };
        assert_eq!(
            with(json!({
                "actor": {"kind": "user"}, "events": {"count": 1}, "database": {"round_trips": 6, "time_us": 9_800},
            })),
            "POST /campaigns answered 201 in 12.3 ms · a person recorded 1 event · 6 round trips, 9.8 ms in the database"
        );
        assert_eq!(
            with(json!({
                "status_code": 500, "outcome": "error",
                "error": {"message": "internal error", "causes": ["the disk\nis full"]},
            })),
            "POST /campaigns answered 500 in 12.3 ms — internal error: the disk\\nis full"
        );
        assert_eq!(
            sentence_of(
                json!({"kind": "job", "outcome": "success", "job": {"name": "sync_roster"}, "duration_ms": 1.0})
            ),
            "job sync_roster was done in 1.0 ms"
        );
        assert_eq!(
            with(json!({"path": "/\u{1b}[31mEVIL\u{7}"})),
            "POST /\\u{1b}[31mEVIL\\u{7} answered 201 in 12.3 ms"
        );
        assert_eq!(
            with(json!({"outcome": "aborted_before_response", "status_code": 499})),
            "POST /campaigns lost its client before the answer, after 12.3 ms"
        );
        assert_eq!(
            with(json!({"kind": "socket", "duration_ms": 61_000.0})),
            "POST /campaigns closed after 61.0 s"
        );
    }
}
