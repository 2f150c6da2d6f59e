//! What a session is of.

use chrono::{DateTime, Utc};
use daybook_entity::SYSTEM_TEAM;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::tenancy::Context;

/// What a session is of: which job, with which input, for whom.
#[derive(Debug, Clone)]
pub struct SessionSpec {
    pub(super) name: String,
    pub(super) input: Result<Value, String>,
    pub(super) context: Context,
    pub(super) sentence: Option<String>,
    pub(super) attempt: i32,
    pub(super) retry_of: Option<Uuid>,
    pub(super) queue_job_id: Option<i64>,
    pub(super) queued_at: Option<DateTime<Utc>>,
}

impl SessionSpec {
    /// Work of the service itself, in the reserved team whose members are its operators. The name is lower case
    /// letters, digits, `_`, `-` and dots: `sync_roster`.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            context: Context::system(SYSTEM_TEAM, name.as_str()),
            name,
            input: Ok(Value::Object(serde_json::Map::new())),
            sentence: None,
            attempt: 1,
            retry_of: None,
            queue_job_id: None,
            queued_at: None,
        }
    }

    /// What it is given.
    #[must_use]
    pub fn input(mut self, input: &impl Serialize) -> Self {
        self.input = serde_json::to_value(input).map_err(|error| error.to_string());
        self
    }

    /// The context in which it was asked for: its team, and its story.
    #[must_use]
    pub fn context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    /// What it does, as people read it. Without one, the name in words: "Sync roster".
    #[must_use]
    pub fn sentence(mut self, sentence: impl Into<String>) -> Self {
        self.sentence = Some(sentence.into());
        self
    }

    /// Another attempt, of what an earlier session tried.
    #[must_use]
    pub fn retry(mut self, attempt: i32, of: Uuid) -> Self {
        self.attempt = attempt;
        self.retry_of = Some(of);
        self
    }

    /// The queue's job, and when it was put there.
    #[must_use]
    pub fn queued(mut self, queue_job_id: i64, at: DateTime<Utc>) -> Self {
        self.queue_job_id = Some(queue_job_id);
        self.queued_at = Some(at);
        self
    }

    /// Refuses what no row could hold.
    pub(super) fn checked(self) -> Result<(Self, Value)> {
        let shaped = self.name.starts_with(|first: char| first.is_ascii_lowercase())
            && self.name.len() <= 63
            && self
                .name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte));
        if !shaped {
            return Err(Error::invalid(
                "job_name",
                format!(
                    "{:?} must be 1 to 63 of a-z, 0-9, '_', '-' and '.', beginning with a letter",
                    self.name
                ),
            ));
        }
        let input = self.input.clone();
        let input = input.map_err(|error| Error::invalid("input", format!("is no JSON: {error}")))?;
        Ok((self, input))
    }

    pub(super) fn told(&self) -> String {
        self.sentence.clone().unwrap_or_else(|| {
            let words = self.name.replace(['_', '-', '.'], " ");
            let mut letters = words.chars();
            let first = letters.next().map(|first| first.to_ascii_uppercase());
            first.into_iter().chain(letters).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_sentence_where_there_is_none() {
        assert_eq!(SessionSpec::new("sync_roster").told(), "Sync roster");
        assert_eq!(SessionSpec::new("a").sentence("Started").told(), "Started");
    }

    #[test]
    fn names_have_a_shape() {
        assert!(SessionSpec::new("sync_roster-2.x").checked().is_ok());
        for wrong in ["", "Sync", "2x", "a b", &"a".repeat(64)] {
            assert!(SessionSpec::new(wrong).checked().is_err(), "{wrong}");
        }
    }
}
