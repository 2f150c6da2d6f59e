//! Finds `@handle` in a text.

use std::collections::BTreeSet;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;
use unicode_script::{Script, UnicodeScript as _};

/// The maximum length of a handle, as in the column's check.
const MAX_HANDLE_BYTES: usize = 32;

/// Returns the handles that a text may mention, in lower case.
///
/// The text is converted to its composed form (NFC), so that a letter with an accent is always one character. A mention
/// begins and ends at a word boundary, so `ada@example.com`, `@ada@example.com` and `@adaé` mention nobody. Handles are
/// ASCII, so a letter of a script other than Latin is a boundary: `@linusさん` and `你好@linus你好` mention `linus`. A
/// handle may end in `.`, `_` or `-`, and so may a sentence. For `@ada.` both `ada.` and `ada` are returned; the caller
/// uses the one that a member has.
pub(super) fn handles(text: &str) -> Vec<String> {
    let text: String = text.nfc().collect();
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices('@') {
        if text[..at].chars().next_back().is_some_and(joins) {
            continue;
        }
        let rest = &text[at + 1..];
        let end = rest.find(|c: char| !is_handle(c)).unwrap_or(rest.len());
        if rest[end..].chars().next().is_some_and(joins) {
            continue;
        }
        let longest = rest[..end].to_ascii_lowercase();
        let trimmed = longest.trim_end_matches(['.', '_', '-']);
        for handle in [trimmed, longest.as_str()] {
            if handle.len() <= MAX_HANDLE_BYTES && handle.starts_with(|c: char| c.is_ascii_alphanumeric()) {
                found.insert(handle.to_owned());
            }
        }
    }
    found.into_iter().collect()
}

fn is_handle(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// Returns whether a character next to `@handle` joins it to something else: to a word in the Latin script, to an
/// address, or to a combining mark that has no composed form with its letter.
fn joins(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || c.is_alphabetic() && c.script() == Script::Latin
        || is_combining_mark(c)
        || matches!(c, '@' | '.' | '_' | '-' | '+' | '/')
}

#[cfg(test)]
mod tests {
    use super::handles;

    #[test]
    fn mentions_begin_and_end_at_a_word_boundary() {
        assert_eq!(handles("@ada look"), ["ada"]);
        assert_eq!(handles("Please, (@Ada) and @bob-2: look, @ada!"), ["ada", "bob-2"]);
        assert_eq!(handles("@ada,@bob\n@c"), ["ada", "bob", "c"]);
        assert_eq!(handles("ask @ada."), ["ada", "ada."]);
        assert_eq!(handles("really @ada..."), ["ada", "ada..."]);
    }

    #[test]
    fn addresses_and_parts_of_words_mention_nobody() {
        for text in [
            "ada@example.com",
            "@ada@example.com",
            "é@ada",
            "@adaé",
            "@adae\u{301}",
            "@ada\u{301}",
            "e\u{301}@ada",
            "@adaq\u{303}",
            "q\u{303}@ada",
            "@adaß",
            "@adaｅ",
            "@@ada",
            "a.@ada",
            "@",
            "@ ada",
            "@-ada",
            "x/@ada",
        ] {
            assert!(handles(text).is_empty(), "{text}: {:?}", handles(text));
        }
        assert!(handles(&format!("@{}", "a".repeat(33))).is_empty());
        assert_eq!(handles(&format!("@{}.", "a".repeat(32))), ["a".repeat(32)]);
    }

    #[test]
    fn letters_of_other_scripts_are_a_boundary() {
        for (text, mentioned) in [
            ("@linusさん", "linus"),
            ("你好@linus你好", "linus"),
            ("@linusくん、お願い", "linus"),
            ("привет@ada", "ada"),
            ("@adaя", "ada"),
            ("@adaー", "ada"),
            ("안녕@ada야", "ada"),
            ("२@ada", "ada"),
        ] {
            assert_eq!(handles(text), [mentioned], "{text}");
        }
        // For an international address the domain is returned. No member has it as a handle.
        assert_eq!(handles("用户@linus.dev"), ["linus.dev"]);
    }
}
