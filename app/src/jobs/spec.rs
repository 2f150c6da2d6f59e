//! Describes a session that is about to begin.

use std::fmt::Display;

use chrono::{DateTime, Utc};
use daybook_entity::SYSTEM_TEAM;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::action::has_nul;
use super::sentence::JobSentence;
use crate::error::{Error, Result};
use crate::json::refuse_too_deep;
use crate::tenancy::Context;

/// Describes a session: its job, its input and its context.
#[derive(Debug, Clone)]
pub struct SessionSpec {
    pub(super) name: String,
    pub(super) input: Result<Value, String>,
    pub(super) context: Context,
    pub(super) sentence: Option<JobSentence>,
    pub(super) job_id: Option<Uuid>,
    pub(super) attempt: i32,
    pub(super) max_attempts: i32,
    pub(super) queue_job_id: Option<i64>,
    pub(super) queued_at: Option<DateTime<Utc>>,
}

impl SessionSpec {
    /// Creates the description of the service's own work, in the system team, whose members are the operators. The name
    /// consists of lower-case letters, digits, `_`, `-` and dots: `sync_roster`.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            context: Context::system(SYSTEM_TEAM, name.as_str()),
            name,
            input: Ok(Value::Object(serde_json::Map::new())),
            sentence: None,
            job_id: None,
            attempt: 1,
            max_attempts: 1,
            queue_job_id: None,
            queued_at: None,
        }
    }

    /// Sets the sentence, which was split into parts before.
    pub(super) fn with_sentence(mut self, sentence: JobSentence) -> Self {
        self.sentence = Some(sentence);
        self
    }

    /// Sets another name.
    pub(super) fn named(mut self, name: String) -> Self {
        self.name = name;
        self
    }

    /// Sets the input.
    #[must_use]
    pub fn input(mut self, input: &impl Serialize) -> Self {
        self.input = serde_json::to_value(input).map_err(|error| error.to_string());
        self
    }

    /// Sets the context of the request: its team, actor and story.
    #[must_use]
    pub fn context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    /// Sets the sentence that says what the session does: text, or any type with `Display`, with
    /// [`badge`](super::badge)s. Without it, the sentence is the name in words: "Sync roster".
    #[must_use]
    pub fn sentence(mut self, sentence: impl Display) -> Self {
        self.sentence = Some(JobSentence::of(|| sentence.to_string()));
        self
    }

    /// Sets the job's id, the number of the attempt and the maximum number of attempts.
    #[must_use]
    pub fn attempt(mut self, job_id: Uuid, attempt: i32, of: i32) -> Self {
        self.job_id = Some(job_id);
        self.attempt = attempt;
        self.max_attempts = of;
        self
    }

    /// Sets the queue's id of the job, and when it became due.
    #[must_use]
    pub fn queued(mut self, queue_job_id: i64, due_at: DateTime<Utc>) -> Self {
        self.queue_job_id = Some(queue_job_id);
        self.queued_at = Some(due_at);
        self
    }

    /// Checks the name and the input. Returns the input.
    pub(super) fn validated(self) -> Result<(Self, Value)> {
        if !is_name(&self.name) {
            return Err(Error::invalid(
                "job_name",
                format!(
                    "{:?} must be 1 to 63 of a-z, 0-9, '_', '-' and '.', beginning with a letter",
                    self.name
                ),
            ));
        }
        let input = self.input.clone();
        let input = input.map_err(|error| Error::invalid("input", format!("can't be serialised as JSON: {error}")))?;
        if has_nul(&input) {
            return Err(Error::invalid("input", "contains U+0000, which can't be stored"));
        }
        refuse_too_deep("input", &input)?;
        Ok((self, input))
    }

    pub(super) fn rendered_sentence(&self) -> JobSentence {
        self.sentence
            .clone()
            .unwrap_or_else(|| JobSentence::of(|| in_words(&self.name)))
    }
}

/// Converts a job's name to words: `sync_roster` becomes "Sync roster".
pub(super) fn in_words(name: &str) -> String {
    let words = name.replace(['_', '-', '.'], " ");
    let mut letters = words.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

/// Returns whether a name is valid: 1 to 63 of `a-z`, `0-9`, `_`, `-` and `.`, beginning with a letter.
pub(super) fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.len() <= 63
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_sentence_the_name_is_the_sentence() {
        assert_eq!(SessionSpec::new("sync_roster").rendered_sentence().text, "Sync roster");
        assert_eq!(
            SessionSpec::new("a").sentence("Started").rendered_sentence().text,
            "Started"
        );
    }

    #[test]
    fn invalid_names_are_rejected() {
        assert!(SessionSpec::new("sync_roster-2.x").validated().is_ok());
        for wrong in ["", "Sync", "2x", "a b", &"a".repeat(64)] {
            assert!(SessionSpec::new(wrong).validated().is_err(), "{wrong}");
        }
    }
}
