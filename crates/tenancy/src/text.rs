//! Truncates texts for people, never inside a grapheme (what a reader sees as one character).

use std::borrow::Cow;

use unicode_segmentation::UnicodeSegmentation as _;

/// Maximum average number of characters of a grapheme. A text with more is cut earlier, because a letter can have any
/// number of combining marks.
const CHARS_PER_GRAPHEME: usize = 4;
/// Additional characters that are allowed in total, for a few long graphemes: the emoji of a family has a dozen.
const EXTRA_CHARS: usize = 64;
/// The number of graphemes that are shown before the first difference of two texts.
const CONTEXT_GRAPHEMES: usize = 10;
/// The number of bytes before the first difference in which the start of these graphemes is searched.
const CONTEXT_BYTES: usize = 400;

/// Returns the beginning of a text, of at most `max` graphemes, with an ellipsis if the text is longer.
pub fn cut(text: &str, max: usize) -> Cow<'_, str> {
    // A grapheme has at least one byte.
    if text.len() <= max {
        return Cow::Borrowed(text);
    }
    let mut chars = 0;
    for (count, (start, grapheme)) in text.grapheme_indices(true).enumerate() {
        chars += grapheme.chars().count();
        if count == max || chars > max * CHARS_PER_GRAPHEME + EXTRA_CHARS {
            return Cow::Owned(format!("{}…", &text[..start]));
        }
    }
    Cow::Borrowed(text)
}

/// Cuts two texts to `max` graphemes each. If the results would be equal, both begin shortly before the first
/// difference instead, with an ellipsis in front.
pub fn cut_apart(one: &str, other: &str, max: usize) -> (String, String) {
    let (whole_one, whole_other) = (cut(one, max), cut(other, max));
    if whole_one != whole_other || one == other {
        return (whole_one.into_owned(), whole_other.into_owned());
    }
    // Only graphemes near the difference are read, because the texts may have megabytes. The first one may be
    // incomplete, so it is skipped.
    let alike = one
        .bytes()
        .zip(other.bytes())
        .take_while(|(mine, theirs)| mine == theirs);
    let near = one.floor_char_boundary(alike.count().saturating_sub(CONTEXT_BYTES));
    let (mine, theirs) = (graphemes_from(one, near), graphemes_from(other, near));
    let same = mine
        .iter()
        .zip(&theirs)
        .take_while(|(mine, theirs)| mine == theirs)
        .count();
    let first = mine.get(same.saturating_sub(CONTEXT_GRAPHEMES));
    let start = near + first.map_or(0, |(start, _)| *start);
    // The texts are equal up to the difference, so `start` is the same offset in both.
    let from = |text: &str| format!("…{}", cut(text.get(start..).unwrap_or_default(), max));
    (from(one), from(other))
}

fn graphemes_from(text: &str, near: usize) -> Vec<(usize, &str)> {
    let graphemes = text.get(near..).unwrap_or_default().grapheme_indices(true);
    graphemes.skip(usize::from(near > 0)).take(CONTEXT_BYTES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grapheme_is_never_split() {
        assert_eq!(cut("abcdef", 3), "abc…");
        assert_eq!(cut("abc", 3), "abc");
        // An e with its accent, a family and a flag are one grapheme each.
        assert_eq!(cut("e\u{301}e\u{301}e\u{301}", 2), "e\u{301}e\u{301}…");
        let family = "👩\u{200d}👩\u{200d}👧";
        assert_eq!(cut(&format!("{family}{family}"), 1), format!("{family}…"));
        assert_eq!(cut("🇫🇷🇩🇪🇮🇹", 2), "🇫🇷🇩🇪…");
        assert_eq!(cut("🇫🇷🇩🇪", 2), "🇫🇷🇩🇪");
        // A letter with too many marks is left out completely.
        assert_eq!(cut(&format!("abc{}", "\u{301}".repeat(1_000)), 80), "ab…");
    }

    #[test]
    fn the_number_of_characters_in_a_grapheme_is_limited() {
        let longest = 80 * CHARS_PER_GRAPHEME + EXTRA_CHARS;
        let letter = format!("a{}", "\u{301}".repeat(longest - 1));
        assert_eq!(cut(&letter, 80), letter);
        assert_eq!(cut(&format!("{letter}\u{301}"), 80), "…");
    }

    #[test]
    fn two_texts_are_cut_so_that_they_differ() {
        let long = "a".repeat(100);
        let (one, other) = cut_apart(&format!("{long}x"), &format!("{long}y"), 80);
        assert_eq!((one.as_str(), other.as_str()), ("…aaaaaaaaaax", "…aaaaaaaaaay"));
        let (one, other) = cut_apart(&long, &format!("{long}e\u{301}"), 80);
        assert_eq!((one.as_str(), other.as_str()), ("…aaaaaaaaaa", "…aaaaaaaaaae\u{301}"));
        // The accent is part of the grapheme that differs.
        let (one, other) = cut_apart(&format!("{long}e"), &format!("{long}e\u{301}"), 80);
        assert_eq!((one.as_str(), other.as_str()), ("…aaaaaaaaaae", "…aaaaaaaaaae\u{301}"));
        // Texts of which only a part is read.
        let longer = "a".repeat(1_000);
        let (one, other) = cut_apart(&format!("{longer}x"), &format!("{longer}y"), 80);
        assert_eq!((one.as_str(), other.as_str()), ("…aaaaaaaaaax", "…aaaaaaaaaay"));
        let longer = format!("a{}", "\u{301}".repeat(30)).repeat(100);
        let (one, other) = cut_apart(&format!("{longer}x"), &format!("{longer}y"), 80);
        assert!(one.starts_with("…a") && one.ends_with('x'), "{one}");
        assert!(other.starts_with("…a") && other.ends_with('y'), "{other}");
        assert_eq!(cut_apart("a", "b", 80), ("a".to_owned(), "b".to_owned()));
        assert_eq!(cut_apart(&long, &long, 3), ("aaa…".to_owned(), "aaa…".to_owned()));
    }
}
