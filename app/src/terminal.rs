//! Escapes untrusted text for output to a terminal.
//!
//! A name, a comment or a server's error can contain escape sequences, line breaks and characters that change the
//! direction of the text around them. All code that prints such a text uses these functions. Active characters are
//! written as escapes, as in source code: `\n`, `\u{1b}`, `\u{202e}`.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Escapes all active characters of a text, also line breaks and tabs.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// Like [`visible`], but keeps line breaks, for Daybook's own texts of several lines.
pub(crate) fn visible_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c == '\n')
}

/// Like [`visible`], but keeps tabs, for the output of programs.
pub(crate) fn visible_output(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c == '\t')
}

/// Escapes the active characters of a JSON text as `\u009b`, without changing its values. In valid JSON, these
/// characters can only be in strings.
pub(crate) fn visible_json(json: &str) -> Cow<'_, str> {
    let is_plain = |c: char| !is_active(c) || matches!(c, '\n' | '\r' | '\t');
    if json.chars().all(is_plain) {
        return Cow::Borrowed(json);
    }
    let mut shown = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        match is_plain(c) {
            true => shown.push(c),
            // Writing to memory doesn't fail. All active characters are in the basic plane, so four digits are enough.
            false => drop(write!(shown, "\\u{:04x}", u32::from(c))),
        }
    }
    Cow::Owned(shown)
}

/// Returns whether a terminal interprets a character instead of showing it: control characters (C0, DEL and C1), line
/// and paragraph separators, and the characters that embed, override or isolate a direction
/// (<https://trojansource.codes>).
fn is_active(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escaped(text: &str, kept: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_plain = |c: char| !is_active(c) || kept(c);
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
    fn active_characters_are_escaped() {
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
            assert!(!shown.chars().any(|c| is_active(c) && c != '\n'), "{shown}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        }
    }
}
