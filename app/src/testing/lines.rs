//! Formats events as lines, and compares lists of lines.

use std::fmt::Write as _;

use serde_json::Value;

use super::people::TestTeam;
use crate::error::Result;
use crate::events::{Event, EventData, FieldChange, event_columns, event_from_row};
use crate::tenancy::TeamTx;

/// Formats an event as one line: type, object, changes, and the reason in brackets.
///
/// ```text
/// CREATED campaign “Spring”
/// UPDATED campaign “Spring”: budget 100 → 250, client_email redacted
/// STATE_CHANGED campaign “Spring”: draft → approved (looks good)
/// CUSTOM payment_received campaign “Spring”
/// DELETED campaign “Spring” (a duplicate)
/// ```
pub fn event_line(event: &Event) -> String {
    let mut line = event.event_type.to_string();
    if let Some(name) = &event.event_name {
        let _ = write!(line, " {name}");
    }
    let _ = write!(line, " {} “{}”", event.object_type, event.object_label);
    match event.data() {
        Ok(EventData::Updated(data)) => {
            let changes: Vec<_> = data
                .changes
                .iter()
                .map(|(name, change)| format!("{name} {}", format_change(change)))
                .collect();
            let _ = write!(line, ": {}", changes.join(", "));
        }
        Ok(EventData::StateChanged(data)) => {
            let _ = write!(line, ": {}", format_change(&data.state));
        }
        _ => {}
    }
    if let Some(reason) = &event.reason {
        let _ = write!(line, " ({reason})");
    }
    line
}

fn format_change(change: &FieldChange) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if change.is_redacted() {
        return "redacted".to_owned();
    }
    let (old, new) = (text(&change.old), text(&change.new));
    if old == new {
        // As JSON, so that null differs from the text "null".
        return format!("{} → {}", change.old, change.new);
    }
    format!("{old} → {new}")
}

mod sealed {
    pub trait Sealed {}
}

/// A source from which [`assert_events!`](crate::assert_events) reads events.
pub trait EventSource: sealed::Sealed + Sync {
    /// Returns the events, in the order in which they were recorded.
    fn recorded_events(&self) -> impl Future<Output = Result<Vec<Event>>> + Send;
}

impl sealed::Sealed for TestTeam {}
impl EventSource for TestTeam {
    async fn recorded_events(&self) -> Result<Vec<Event>> {
        Ok(self.events().await)
    }
}

impl sealed::Sealed for TeamTx {}
impl EventSource for TeamTx {
    async fn recorded_events(&self) -> Result<Vec<Event>> {
        let query = sqlx::query(concat!(
            "SELECT ",
            event_columns!(""),
            " FROM events WHERE team_id = $1 ORDER BY id"
        ))
        .bind(self.team_id());
        self.fetch_all(query).await?.iter().map(event_from_row).collect()
    }
}

impl sealed::Sealed for [Event] {}
impl EventSource for [Event] {
    async fn recorded_events(&self) -> Result<Vec<Event>> {
        Ok(self.to_vec())
    }
}

impl sealed::Sealed for Vec<Event> {}
impl EventSource for Vec<Event> {
    async fn recorded_events(&self) -> Result<Vec<Event>> {
        Ok(self.clone())
    }
}

impl<S: sealed::Sealed + ?Sized> sealed::Sealed for &S {}
impl<S: EventSource + ?Sized> EventSource for &S {
    async fn recorded_events(&self) -> Result<Vec<Event>> {
        (**self).recorded_events().await
    }
}

/// Compares events with lines, like [`assert_events!`](crate::assert_events), but returns the difference.
///
/// # Errors
/// The difference: `-` marks an expected line that is missing, `+` a recorded line that was not expected.
pub async fn compare(source: &(impl EventSource + ?Sized), expected: &[String]) -> Result<(), String> {
    let recorded = source
        .recorded_events()
        .await
        .map_err(|error| format!("could not read the events: {error:?}"))?;
    let recorded: Vec<String> = recorded.iter().map(event_line).collect();
    if recorded == expected {
        return Ok(());
    }
    Err(format!(
        "the events differ (- expected, + recorded):\n{}",
        difference(expected, &recorded)
    ))
}

/// Returns the shortest difference of two lists, by their longest common subsequence.
fn difference(expected: &[String], recorded: &[String]) -> String {
    // common[i][j]: the length of the longest common subsequence of expected[i..] and recorded[j..].
    let mut common = vec![vec![0_usize; recorded.len() + 1]; expected.len() + 1];
    for i in (0..expected.len()).rev() {
        for j in (0..recorded.len()).rev() {
            common[i][j] = if expected[i] == recorded[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < expected.len() || j < recorded.len() {
        match (expected.get(i), recorded.get(j)) {
            (Some(old), Some(new)) if old == new => {
                lines.push(format!("    {old}"));
                (i, j) = (i + 1, j + 1);
            }
            (Some(old), new) if new.is_none() || common[i + 1][j] >= common[i][j + 1] => {
                lines.push(format!("  - {old}"));
                i += 1;
            }
            (_, Some(new)) => {
                lines.push(format!("  + {new}"));
                j += 1;
            }
            _ => break,
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn a_difference_marks_missing_and_unexpected_lines() {
        let lines = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            difference(&lines("a b c d"), &lines("a x c d e")),
            "    a\n  - b\n  + x\n    c\n    d\n  + e"
        );
        assert_eq!(difference(&lines("a"), &[]), "  - a");
        assert_eq!(difference(&[], &lines("a")), "  + a");
    }
}
