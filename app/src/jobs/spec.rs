//! What a session is of.

use std::fmt::Display;

use chrono::{DateTime, Utc};
use daybook_entity::SYSTEM_TEAM;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::action::has_nul;
use super::sentence::Sentence;
use crate::error::{Error, Result};
use crate::json::refuse_too_deep;
use crate::tenancy::Context;

/// What a session is of: which job, with which input, for whom.
#[derive(Debug, Clone)]
pub struct SessionSpec {
    pub(super) name: String,
    pub(super) input: Result<Value, String>,
    pub(super) context: Context,
    pub(super) sentence: Option<Sentence>,
    pub(super) job_id: Option<Uuid>,
    pub(super) attempt: i32,
    pub(super) max_attempts: i32,
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
            job_id: None,
            attempt: 1,
            max_attempts: 1,
            queue_job_id: None,
            queued_at: None,
        }
    }

    /// In words that were taken apart already.
    pub(super) fn told_as(mut self, sentence: Sentence) -> Self {
        self.sentence = Some(sentence);
        self
    }

    /// Under another name.
    pub(super) fn named(mut self, name: String) -> Self {
        self.name = name;
        self
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

    /// What it does, as people read it: words, or anything that has some, with [`badge`](super::badge)s. Without one, the
    /// name in words: "Sync roster".
    #[must_use]
    pub fn sentence(mut self, sentence: impl Display) -> Self {
        self.sentence = Some(Sentence::of(|| sentence.to_string()));
        self
    }

    /// Which attempt it is, of how many, at the job that all of them are at.
    #[must_use]
    pub fn attempt(mut self, job_id: Uuid, attempt: i32, of: i32) -> Self {
        self.job_id = Some(job_id);
        self.attempt = attempt;
        self.max_attempts = of;
        self
    }

    /// The queue's number of the job, and since when it was due.
    #[must_use]
    pub fn queued(mut self, queue_job_id: i64, due_at: DateTime<Utc>) -> Self {
        self.queue_job_id = Some(queue_job_id);
        self.queued_at = Some(due_at);
        self
    }

    /// Refuses what no row could hold.
    pub(super) fn checked(self) -> Result<(Self, Value)> {
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
        let input = input.map_err(|error| Error::invalid("input", format!("is no JSON: {error}")))?;
        if has_nul(&input) {
            return Err(Error::invalid("input", "has U+0000 in it, which no row can hold"));
        }
        refuse_too_deep("input", &input)?;
        Ok((self, input))
    }

    pub(super) fn told(&self) -> Sentence {
        self.sentence
            .clone()
            .unwrap_or_else(|| Sentence::of(|| in_words(&self.name)))
    }
}

/// A job's name as words: `sync_roster` is "Sync roster".
pub(super) fn in_words(name: &str) -> String {
    let words = name.replace(['_', '-', '.'], " ");
    let mut letters = words.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

/// What a name must be like: 1 to 63 of `a-z`, `0-9`, `_`, `-` and `.`, beginning with a letter.
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
    fn a_name_is_a_sentence_where_there_is_none() {
        assert_eq!(SessionSpec::new("sync_roster").told().text, "Sync roster");
        assert_eq!(SessionSpec::new("a").sentence("Started").told().text, "Started");
    }

    #[test]
    fn names_have_a_shape() {
        assert!(SessionSpec::new("sync_roster-2.x").checked().is_ok());
        for wrong in ["", "Sync", "2x", "a b", &"a".repeat(64)] {
            assert!(SessionSpec::new(wrong).checked().is_err(), "{wrong}");
        }
    }
}
