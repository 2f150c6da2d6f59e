//! Texts that somebody outside chose, bounded.
//!
//! A header may have as many bytes as the server lets it have, and a line of a log should not. What is cut off is counted.

use std::borrow::Cow;

/// The longest text of a client's that an event has, in bytes: a path, a header, the value of a query parameter.
pub(super) const MAX_CLIENT_TEXT_BYTES: usize = 2_048;
/// The longest query, in bytes: the names and values of its parameters, decoded.
pub(super) const MAX_QUERY_BYTES: usize = 8_192;
/// The longest words of an error, in bytes: they may quote what a client sent.
pub(super) const MAX_ERROR_TEXT_BYTES: usize = 4_096;
/// At the end of a text that is cut, a word may be half of a secret, which nothing would recognise: so many bytes of it
/// are left out.
const MAX_BROKEN_WORD_BYTES: usize = 256;

/// At most `max_bytes` of a text, and how many bytes were left out: `aaaa… (297952 bytes more)`.
pub(super) fn bounded(text: &str, max_bytes: usize) -> Cow<'_, str> {
    if text.len() <= max_bytes {
        return Cow::Borrowed(text);
    }
    Cow::Owned(cut(text, max_bytes, text.len()))
}

/// The beginning of a text that has `whole` bytes, of which `text` may be a part that is longer than `max_bytes`.
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
    fn a_text_that_is_too_long_says_how_much_is_missing() {
        assert_eq!(bounded("short", 5), "short");
        let long = "word ".repeat(1_000);
        let cut = bounded(&long, 100);
        assert!(cut.starts_with("word word ") && cut.ends_with(" bytes more)"), "{cut}");
        assert!(cut.len() < 130, "{cut}");
        // Between letters of several bytes, and without a word's end.
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
