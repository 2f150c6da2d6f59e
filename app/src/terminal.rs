//! Text that others wrote, as it can be printed where a terminal reads it.
//!
//! A name, a comment or a server's error can hold escape sequences, line breaks and characters that change the direction of
//! the text around them. Whoever prints such a text passes it through here. What a terminal would act on is written as it
//! is in a program's source: `\n`, `\u{1b}`, `\u{202e}`.

use std::borrow::Cow;
use std::fmt::Write as _;

/// A text in one line, without anything that a terminal acts on.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// Like [`visible`], with its line breaks: for texts of our own that have several lines.
pub(crate) fn visible_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c == '\n')
}

/// Like [`visible`], with its tabs: for what programs print.
pub(crate) fn visible_output(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c == '\t')
}

/// JSON with the same values, in which a terminal finds nothing to act on: what may stand in a JSON text as it is and is not
/// [`visible`] becomes `\u009b`. Such characters can only be in strings.
pub(crate) fn visible_json(json: &str) -> Cow<'_, str> {
    let is_plain = |c: char| !acts(c) || matches!(c, '\n' | '\r' | '\t');
    if json.chars().all(is_plain) {
        return Cow::Borrowed(json);
    }
    let mut shown = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        match is_plain(c) {
            true => shown.push(c),
            // Writing into memory doesn't fail. All of these are in the basic plane.
            false => drop(write!(shown, "\\u{:04x}", u32::from(c))),
        }
    }
    Cow::Owned(shown)
}

/// What a terminal acts on: control characters (C0, DEL and C1), line and paragraph separators, and what embeds, overrides or
/// isolates a direction (<https://trojansource.codes>).
fn acts(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escaped(text: &str, kept: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_plain = |c: char| !acts(c) || kept(c);
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_plain(c) {
            true => shown.push(c),
            false if matches!(c, '\n' | '\r' | '\t') => shown.extend(c.escape_default()),
            false => shown.extend(c.escape_unicode()),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a\u{1b}[31m\nb\r\tc\u{7}\u{7f}\u{9b}2J\u{202e}d\u{2066}\u{2028}é\u{200d}“”";

    #[test]
    fn what_a_terminal_acts_on_is_written_out() {
        assert_eq!(
            visible(HOSTILE),
            "a\\u{1b}[31m\\nb\\r\\tc\\u{7}\\u{7f}\\u{9b}2J\\u{202e}d\\u{2066}\\u{2028}é\u{200d}“”"
        );
        assert_eq!(visible_lines("a\nb\u{1b}"), "a\nb\\u{1b}");
        assert_eq!(visible_output("a\tb\n\u{1b}"), "a\tb\\n\\u{1b}");
        assert!(matches!(visible("Ada created campaign “Spring”"), Cow::Borrowed(_)));
    }

    #[test]
    fn json_keeps_its_values() {
        let value = serde_json::json!({HOSTILE: [HOSTILE, 1]});
        for json in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let shown = visible_json(&json);
            assert!(!shown.chars().any(|c| acts(c) && c != '\n'), "{shown}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        }
    }
}
