//! Sentences of jobs and actions, and their parts.
//!
//! An author writes text, and marks values with badges: `write!(f, "Fetched {} players", badge("players", 40))`. The
//! sentence is stored as text, together with its parts, so that a page can show the badges.

use std::cell::Cell;
use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::text::cut;

thread_local! {
    /// Whether badges write marks: true while a sentence is split into parts on this thread.
    static MARKING: Cell<bool> = const { Cell::new(false) };
}

/// Maximum length of a sentence, in graphemes. The rest is cut.
const MAX_LENGTH: usize = 2_000;

// Marks from Unicode's private use area, which ordinary text doesn't contain. They are removed from an author's text.
const BADGE_START: char = '\u{F8F0}';
const NAME_END: char = '\u{F8F1}';
const BADGE_END: char = '\u{F8F2}';

/// A part of a job's sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schema(as = JobSentencePart)]
#[non_exhaustive]
pub enum SentencePart {
    /// Text, including its spaces.
    Text {
        /// The text.
        text: String,
    },
    /// A value that pages show as a badge.
    Badge {
        /// The badge's name, such as `account` or `players`.
        name: String,
        /// The badge's text in the sentence.
        text: String,
    },
}

/// Marks a value in a sentence as a badge. It is displayed like `value`.
pub fn badge<T: Display>(name: &'static str, value: T) -> Badge<T> {
    Badge { name, value }
}

/// A marked value: see [`badge`].
#[derive(Debug, Clone, Copy)]
pub struct Badge<T> {
    name: &'static str,
    value: T,
}

impl<T: Display> Display for Badge<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if MARKING.get() {
            write!(f, "{BADGE_START}{}{NAME_END}{}{BADGE_END}", self.name, self.value)
        } else {
            self.value.fmt(f)
        }
    }
}

/// A sentence, with its parts if it has badges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JobSentence {
    pub(super) text: String,
    pub(super) parts: Option<Vec<SentencePart>>,
}

impl JobSentence {
    /// Splits the sentence that `write` returns into its parts.
    pub(super) fn of(write: impl FnOnce() -> String) -> Self {
        /// Turns the marks off, also after a panic in `write`.
        struct MarkingGuard;
        impl Drop for MarkingGuard {
            fn drop(&mut self) {
                MARKING.set(false);
            }
        }
        MARKING.set(true);
        let marking = MarkingGuard;
        let marked = write();
        drop(marking);
        Self::split(&cut(&marked, MAX_LENGTH))
    }

    fn split(marked: &str) -> Self {
        let plain = |text: &str| text.replace([BADGE_START, NAME_END, BADGE_END, '\0'], "");
        let mut parts = Vec::new();
        let mut rest = marked;
        while let Some((before, after)) = rest.split_once(BADGE_START) {
            let Some((badge, behind)) = after.split_once(BADGE_END) else {
                break;
            };
            let Some((name, text)) = badge.split_once(NAME_END) else {
                break;
            };
            push_text(&mut parts, plain(before));
            parts.push(SentencePart::Badge {
                name: plain(name),
                text: plain(text),
            });
            rest = behind;
        }
        if parts.is_empty() {
            return Self {
                text: plain(marked),
                parts: None,
            };
        }
        push_text(&mut parts, plain(rest));
        Self {
            text: parts.iter().map(SentencePart::as_text).collect(),
            parts: Some(parts),
        }
    }

    /// Returns a sentence that is stored without parts as a single part.
    pub(super) fn whole(text: &str) -> Vec<SentencePart> {
        vec![SentencePart::Text { text: text.to_owned() }]
    }
}

fn push_text(parts: &mut Vec<SentencePart>, text: String) {
    if !text.is_empty() {
        parts.push(SentencePart::Text { text });
    }
}

impl SentencePart {
    fn as_text(&self) -> &str {
        match self {
            Self::Text { text } | Self::Badge { text, .. } => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_keeps_its_text_and_is_split_at_its_badges() {
        let write = || {
            format!(
                "Started for {} ({})",
                badge("bucket", "12/21 02:00"),
                badge("account", "HT2MJM")
            )
        };
        assert_eq!(write(), "Started for 12/21 02:00 (HT2MJM)");
        let sentence = JobSentence::of(write);
        assert_eq!(sentence.text, "Started for 12/21 02:00 (HT2MJM)");
        let text = |text: &str| SentencePart::Text { text: text.to_owned() };
        let badge = |name: &str, text: &str| SentencePart::Badge {
            name: name.to_owned(),
            text: text.to_owned(),
        };
        assert_eq!(
            sentence.parts.unwrap(),
            [
                text("Started for "),
                badge("bucket", "12/21 02:00"),
                text(" ("),
                badge("account", "HT2MJM"),
                text(")")
            ]
        );
        assert_eq!(
            JobSentence::of(|| "Synced".to_owned()),
            JobSentence {
                text: "Synced".to_owned(),
                parts: None
            }
        );
    }

    #[test]
    fn marks_in_an_authors_text_are_removed_and_nothing_else() {
        for text_with_marks in ["a\u{F8F0}b", "\u{F8F0}b\u{F8F2}c", "a\u{F8F1}\u{F8F2}"] {
            let sentence = JobSentence::of(|| text_with_marks.to_owned());
            assert_eq!(
                sentence.text,
                text_with_marks.replace(['\u{F8F0}', '\u{F8F1}', '\u{F8F2}'], "")
            );
        }
        let inside = JobSentence::of(|| format!("{}", badge("name", "x\u{F8F2}y")));
        assert_eq!(inside.text, "xy");
    }

    #[test]
    fn after_a_panic_badges_write_no_marks() {
        let broken = std::panic::catch_unwind(|| JobSentence::of(|| panic!("this test's own panic")));
        assert!(broken.is_err());
        assert_eq!(badge("players", 40).to_string(), "40");
    }
}
