//! Limits the length of texts that clients choose.
//!
//! The server accepts headers that are much longer than a log line should be. The end of a cut text has the number of
//! missing bytes.

use std::borrow::Cow;

/// Maximum length of a client's text in an event: a path, a header, the value of a query parameter.
pub(super) const MAX_CLIENT_TEXT_BYTES: usize = 2_048;
/// Maximum length of a query: the sum of the decoded names and values of its parameters.
pub(super) const MAX_QUERY_BYTES: usize = 8_192;
/// Maximum length of an error's message, which may quote what a client sent.
pub(super) const MAX_ERROR_TEXT_BYTES: usize = 4_096;
/// Maximum length of the last word that is also removed from a cut text. It may be half of a secret, which no detector
/// would recognise.
const MAX_BROKEN_WORD_BYTES: usize = 256;

/// Cuts a text after at most `max_bytes`, and appends the number of missing bytes: `aaaa… (297952 bytes more)`.
pub(super) fn bounded(text: &str, max_bytes: usize) -> Cow<'_, str> {
    if text.len() <= max_bytes {
        return Cow::Borrowed(text);
    }
    Cow::Owned(cut(text, max_bytes, text.len()))
}

/// Cuts `text` after at most `max_bytes`. The complete text has `whole` bytes; `text` may be only its beginning, but is
/// longer than `max_bytes`.
pub(super) fn cut(text: &str, max_bytes: usize, whole: usize) -> String {
    let mut end = max_bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let kept = text.get(..end).unwrap_or_default();
    let of_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"._~+/=|-%".contains(byte);
    let broken = kept
        .bytes()
        .rev()
        .take_while(of_word)
        .count()
        .min(MAX_BROKEN_WORD_BYTES);
    let kept = kept.get(..kept.len() - broken).unwrap_or_default();
    format!("{kept}… ({} bytes more)", whole.saturating_sub(kept.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_text_has_the_number_of_missing_bytes() {
        assert_eq!(bounded("short", 5), "short");
        let long = "word ".repeat(1_000);
        let cut = bounded(&long, 100);
        assert!(cut.starts_with("word word ") && cut.ends_with(" bytes more)"), "{cut}");
        assert!(cut.len() < 130, "{cut}");
        // Cut between multi-byte characters, and in a very long word.
        assert!(bounded(&"ä".repeat(1_000), 101).ends_with("(1900 bytes more)"));
        assert!(bounded(&"a".repeat(300_000), 2_048).ends_with("(298208 bytes more)"));
    }

    #[test]
    fn no_half_of_a_secret_is_left_at_the_end() {
        let secret = "dbk_0123456789ab_0123456789012345678901234567890123456789";
        for before in 0..secret.len() {
            let text = format!("{}{secret}{}", " ".repeat(100 - before), "x".repeat(100));
            assert!(!bounded(&text, 100).contains('d'), "{before}");
        }
    }
}
