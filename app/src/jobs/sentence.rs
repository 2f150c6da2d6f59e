//! Sentences of jobs and actions, and their pieces.
//!
//! An author writes words, and wraps what is worth a badge: `write!(f, "Fetched {} players", badge("players", 40))`. The
//! sentence is kept as it reads, and beside it its pieces, so that a page can draw the badges.

use std::cell::Cell;
use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::text::cut;

thread_local! {
    /// Whether badges mark themselves: while a sentence is taken apart, on this thread.
    static MARKING: Cell<bool> = const { Cell::new(false) };
}

/// A sentence is not a log: what is longer is cut.
const MAX_LETTERS: usize = 2_000;

// Of Unicode's private use: nobody's words have them, and who brings them along loses them.
const BEGIN: char = '\u{F8F0}';
const NAMED: char = '\u{F8F1}';
const END: char = '\u{F8F2}';

/// A piece of a job's sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schema(as = JobSentencePart)]
#[non_exhaustive]
pub enum SentencePart {
    /// Words, with their spaces.
    Text {
        /// The words.
        text: String,
    },
    /// Something worth a badge.
    Badge {
        /// What it is: `account`, `players`.
        name: String,
        /// How it reads in the sentence.
        text: String,
    },
}

/// In a sentence: something worth a badge, which reads as `value` does.
pub fn badge<T: Display>(name: &'static str, value: T) -> Badge<T> {
    Badge { name, value }
}

/// See [`badge`].
#[derive(Debug, Clone, Copy)]
pub struct Badge<T> {
    name: &'static str,
    value: T,
}

impl<T: Display> Display for Badge<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if MARKING.get() {
            write!(f, "{BEGIN}{}{NAMED}{}{END}", self.name, self.value)
        } else {
            self.value.fmt(f)
        }
    }
}

/// A sentence, and its pieces if it has badges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sentence {
    pub(super) text: String,
    pub(super) parts: Option<Vec<SentencePart>>,
}

impl Sentence {
    /// Lets `write` write a sentence, and takes it apart.
    pub(super) fn of(write: impl FnOnce() -> String) -> Self {
        /// Marks no longer, also if `write` panics.
        struct Marking;
        impl Drop for Marking {
            fn drop(&mut self) {
                MARKING.set(false);
            }
        }
        MARKING.set(true);
        let marking = Marking;
        let marked = write();
        drop(marking);
        Self::apart(&cut(&marked, MAX_LETTERS))
    }

    fn apart(marked: &str) -> Self {
        let plain = |text: &str| text.replace([BEGIN, NAMED, END, '\0'], "");
        let mut parts = Vec::new();
        let mut rest = marked;
        while let Some((before, after)) = rest.split_once(BEGIN) {
            let Some((badge, behind)) = after.split_once(END) else {
                break;
            };
            let Some((name, text)) = badge.split_once(NAMED) else {
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

    /// The pieces of a sentence that is kept without any: itself.
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
    fn a_sentence_reads_as_it_is_written_and_comes_apart_at_its_badges() {
        let write = || {
            format!(
                "Started for {} ({})",
                badge("bucket", "12/21 02:00"),
                badge("account", "HT2MJM")
            )
        };
        assert_eq!(write(), "Started for 12/21 02:00 (HT2MJM)");
        let sentence = Sentence::of(write);
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
            Sentence::of(|| "Synced".to_owned()),
            Sentence {
                text: "Synced".to_owned(),
                parts: None
            }
        );
    }

    #[test]
    fn marks_that_somebody_brings_along_are_lost_and_nothing_else() {
        for brought in ["a\u{F8F0}b", "\u{F8F0}b\u{F8F2}c", "a\u{F8F1}\u{F8F2}"] {
            let sentence = Sentence::of(|| brought.to_owned());
            assert_eq!(sentence.text, brought.replace(['\u{F8F0}', '\u{F8F1}', '\u{F8F2}'], ""));
        }
        let inside = Sentence::of(|| format!("{}", badge("name", "x\u{F8F2}y")));
        assert_eq!(inside.text, "xy");
    }

    #[test]
    fn a_sentence_that_panics_leaves_no_marks_behind() {
        let broken = std::panic::catch_unwind(|| Sentence::of(|| panic!("this test's own panic")));
        assert!(broken.is_err());
        assert_eq!(badge("players", 40).to_string(), "40");
    }
}
