//! Computes a run's summary by folding over its log. Only the last few console lines are kept in memory.
//!
//! The summary is computed once, when the run ends. It can be computed again from the log and is then identical byte by
//! byte. Therefore it depends only on the lines.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chrono::{DateTime, Utc};
use daybook_run_log::StoredLine;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// The version of the summary's schema, for programs that read old summaries.
const SCHEMA: &str = "daybook.run_summary/v1";
/// The number of console lines that a summary keeps, and the maximum length of each in characters.
const CONSOLE_LINES: usize = 20;
const CONSOLE_CHARS: usize = 500;
/// The maximum number of different words with their own count. Further words are counted together.
const MAX_WORDS: usize = 200;
const OTHER: &str = "(other)";
/// The maximum number of different files that are counted.
const MAX_FILES: usize = 100_000;

/// The summary of a run's log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunSummary {
    /// `daybook.run_summary/v1`.
    pub schema: String,
    /// The final status: `succeeded`, `failed` or `cancelled`.
    pub status: Option<String>,
    /// The exit code of the run's program.
    pub exit_code: Option<i64>,
    /// The time at which the run started.
    pub started_at: Option<String>,
    /// The time at which the run ended.
    pub completed_at: Option<String>,
    /// The time between the start and the end, in milliseconds.
    pub duration_ms: Option<i64>,
    /// The number of lines in the log.
    pub lines: u64,
    /// The number of lines of each type.
    pub by_type: BTreeMap<String, u64>,
    /// The number of lines of each level. Lines without a level are not counted.
    pub by_level: BTreeMap<String, u64>,
    /// The issues that validation found.
    pub validation: ValidationSummary,
    /// The number of tables that were read.
    pub table_count: u64,
    /// The number of rows in these tables.
    pub row_count: u64,
    /// The number of files from which the tables were read.
    pub file_count: u64,
    /// The last lines of the console.
    pub console: Vec<ConsoleLine>,
    /// The number of lines that are known to be missing because they could not be stored.
    pub missing: u64,
    /// The number of damaged lines, which can't be read.
    pub unreadable: u64,
}

/// The number of validation issues, and the highest severity.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ValidationSummary {
    /// The number of issues of each severity.
    pub by_severity: BTreeMap<String, u64>,
    /// The highest severity: `info`, `warning` or `error`.
    pub max_severity: Option<String>,
}

/// A line of the console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = RunConsoleLine)]
pub struct ConsoleLine {
    /// `stdout` or `stderr`.
    pub stream: Option<String>,
    /// The level of the line.
    pub level: Option<String>,
    /// The text, with its pieces joined, truncated after 500 characters.
    pub message: String,
}

/// The fields of a payload that the fold reads. A value of another type is ignored.
#[derive(Debug, Default, Deserialize)]
struct Payload {
    #[serde(default, deserialize_with = "lenient")]
    level: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    severity: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    stream: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    message: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    partial: Option<bool>,
    #[serde(default, deserialize_with = "lenient")]
    file: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    status: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    row_count: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    count: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    exit_code: Option<i64>,
}

/// Accumulates a summary from lines.
#[derive(Debug, Default)]
pub(super) struct Fold {
    summary: RunSummary,
    files: BTreeSet<String>,
    console: VecDeque<ConsoleEntry>,
}

/// A console line. It is partial if more pieces follow.
#[derive(Debug)]
struct ConsoleEntry {
    line: ConsoleLine,
    is_partial: bool,
}

impl Fold {
    /// Adds a stored line, with or without its line break.
    pub(super) fn line(&mut self, line: &[u8]) {
        match StoredLine::parse(line) {
            Some(read) => self.take(&read.kind, &read.created_at, read.payload),
            None => self.summary.unreadable += 1,
        }
    }

    /// Adds a line by its type, time and payload.
    pub(super) fn take(&mut self, kind: &str, created_at: &str, payload: &RawValue) {
        let payload: Payload = serde_json::from_str(payload.get()).unwrap_or_default();
        let summary = &mut self.summary;
        summary.lines += 1;
        count(&mut summary.by_type, kind);
        if let Some(level) = &payload.level {
            count(&mut summary.by_level, level);
        }
        match kind {
            "console.line" => {
                let message = payload.message.unwrap_or_default();
                let is_partial = payload.partial.unwrap_or(false);
                let mut newest_first = self.console.iter_mut().rev();
                let before = newest_first.find(|entry| entry.line.stream == payload.stream);
                if let Some(partial) = before.filter(|entry| entry.is_partial) {
                    let left = CONSOLE_CHARS.saturating_sub(partial.line.message.chars().count());
                    partial.line.message.push_str(&cut_text(&message, left));
                    partial.is_partial = is_partial;
                } else {
                    if self.console.len() == CONSOLE_LINES {
                        self.console.pop_front();
                    }
                    let line = ConsoleLine {
                        stream: payload.stream,
                        level: payload.level,
                        message: cut_text(&message, CONSOLE_CHARS),
                    };
                    self.console.push_back(ConsoleEntry { line, is_partial });
                }
            }
            "run.started" => summary.started_at = summary.started_at.take().or_else(|| Some(created_at.to_owned())),
            "run.table.summary" => {
                summary.table_count += 1;
                summary.row_count = summary.row_count.saturating_add(payload.row_count.unwrap_or(0));
                if let Some(file) = payload.file
                    && self.files.len() < MAX_FILES
                {
                    self.files.insert(file);
                }
            }
            "run.validation.issue" => {
                let severity = payload.severity.unwrap_or_else(|| "error".to_owned());
                count(&mut summary.validation.by_severity, &severity);
                let worst = summary.validation.max_severity.take();
                summary.validation.max_severity = match rank(&severity) > worst.as_deref().and_then(rank) {
                    true => Some(severity),
                    false => worst,
                };
            }
            "log.gap" => summary.missing = summary.missing.saturating_add(payload.count.unwrap_or(0)),
            "run.completed" => {
                summary.status = payload.status;
                summary.exit_code = payload.exit_code;
                summary.completed_at = Some(created_at.to_owned());
            }
            _ => {}
        }
    }

    /// Returns the summary of all lines that were added.
    pub(super) fn finish(self) -> RunSummary {
        let mut summary = self.summary;
        summary.schema = SCHEMA.to_owned();
        summary.file_count = self.files.len() as u64;
        summary.console = self.console.into_iter().map(|entry| entry.line).collect();
        summary.duration_ms = summary
            .started_at
            .as_deref()
            .zip(summary.completed_at.as_deref())
            .and_then(|(started, completed)| {
                Some((timestamp(completed)? - timestamp(started)?).num_milliseconds().max(0))
            });
        summary
    }
}

/// Deserializes a value, or returns `None` if it has another type. So one value of another type does not make the whole
/// payload invalid.
fn lenient<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::de::DeserializeOwned,
{
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}

fn count(counts: &mut BTreeMap<String, u64>, word: &str) {
    if let Some(count) = counts.get_mut(word) {
        *count += 1;
    } else if counts.len() < MAX_WORDS && word.len() <= 100 {
        counts.insert(word.to_owned(), 1);
    } else {
        *counts.entry(OTHER.to_owned()).or_default() += 1;
    }
}

/// Returns the order of a severity; `None` for an unknown one.
fn rank(severity: &str) -> Option<u8> {
    match severity {
        "info" => Some(1),
        "warning" => Some(2),
        "error" => Some(3),
        _ => None,
    }
}

/// Truncates a text to `chars` characters and replaces U+0000, so that any text format can store it.
fn cut_text(message: &str, chars: usize) -> String {
    message
        .chars()
        .take(chars)
        .map(|c| if c == '\0' { '\u{FFFD}' } else { c })
        .collect()
}

fn timestamp(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|at| at.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn fold(lines: &[(&str, &str, Value)]) -> RunSummary {
        let mut fold = Fold::default();
        for (kind, at, payload) in lines {
            let payload = RawValue::from_string(payload.to_string()).unwrap();
            fold.take(kind, &format!("2026-11-21T12:00:{at}Z"), &payload);
        }
        fold.finish()
    }

    #[test]
    fn a_summary_is_computed_from_the_lines() {
        let summary = fold(&[
            ("run.queued", "00", json!({})),
            ("run.started", "01", json!({})),
            (
                "console.line",
                "02",
                json!({"stream": "stdout", "level": "info", "message": "hello"}),
            ),
            ("run.table.summary", "03", json!({"file": "a.xlsx", "row_count": 40})),
            ("run.table.summary", "03", json!({"file": "a.xlsx", "row_count": 2})),
            ("run.validation.issue", "04", json!({"severity": "warning"})),
            ("run.validation.issue", "04", json!({"severity": "info"})),
            ("run.validation.issue", "04", json!({"severity": "odd"})),
            ("log.gap", "04", json!({"count": 7})),
            ("run.completed", "05.500", json!({"status": "failed", "exit_code": 101})),
        ]);
        assert_eq!(summary.lines, 10);
        assert_eq!(summary.duration_ms, Some(4_500));
        assert_eq!((summary.table_count, summary.row_count, summary.file_count), (2, 42, 1));
        assert_eq!(summary.validation.max_severity.as_deref(), Some("warning"));
        assert_eq!(summary.validation.by_severity["odd"], 1);
        assert_eq!((summary.missing, summary.exit_code), (7, Some(101)));
        assert_eq!(summary.status.as_deref(), Some("failed"));
        assert_eq!(summary.console[0].message, "hello");
    }

    #[test]
    fn a_payload_of_another_shape_is_counted_and_ignored() {
        let summary = fold(&[
            ("console.line", "00", json!({"message": 7, "level": ["x"]})),
            ("run.table.summary", "00", json!({"row_count": "many"})),
            ("run.table.summary", "00", json!({"row_count": u64::MAX})),
            ("run.table.summary", "00", json!({"row_count": 1})),
        ]);
        assert_eq!(
            (summary.lines, summary.table_count, summary.row_count),
            (4, 3, u64::MAX)
        );
        assert_eq!(summary.console[0].message, "");
        assert!(summary.by_level.is_empty());
    }

    #[test]
    fn pieces_of_a_console_line_are_joined() {
        let piece = |stream: &str, message: &str, partial: bool| {
            let payload = json!({"stream": stream, "message": message, "partial": partial});
            ("console.line", "00", payload)
        };
        let summary = fold(&[
            piece("stdout", "10%\r", true),
            piece("stderr", "a warning", false),
            piece("stdout", "20%\r", true),
            piece("stdout", "done", false),
            piece("stdout", "next", false),
        ]);
        let console: Vec<_> = summary.console.iter().map(|line| line.message.as_str()).collect();
        assert_eq!(console, ["10%\r20%\rdone", "a warning", "next"]);
        assert_eq!(summary.lines, 5);
    }

    #[test]
    fn a_summary_has_a_maximum_size() {
        let long = "x".repeat(10_000);
        let lines: Vec<_> = (0..1_000)
            .map(|at| {
                (
                    format!("type.{at}"),
                    json!({"level": format!("level {at}"), "message": long}),
                )
            })
            .collect();
        let mut fold = Fold::default();
        for (kind, payload) in &lines {
            let payload = RawValue::from_string(payload.to_string()).unwrap();
            fold.take(kind, "2026-11-21T12:00:00Z", &payload);
            fold.take("console.line", "2026-11-21T12:00:00Z", &payload);
        }
        let bytes = serde_json::to_vec(&fold.finish()).unwrap().len();
        assert!(bytes < 64 * 1024, "{bytes}");
    }
}
