//! Removes credentials from log lines. A line may quote text that a client sent, or a library's message about it.

use std::borrow::Cow;
use std::sync::LazyLock;

use crate::wide_events::Redaction;

/// The maximum length of a line, in bytes. Only a line that quotes outside text is longer.
const MAX_LINE_BYTES: usize = 16 * 1024;

static CREDENTIALS: LazyLock<Redaction> = LazyLock::new(Redaction::credentials);

/// Returns the line without credentials, cut at [`MAX_LINE_BYTES`].
pub(super) fn redact_credentials(line: &str) -> Cow<'_, str> {
    let mut end = line.len().min(MAX_LINE_BYTES);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    let shown = line.get(..end).unwrap_or_default();
    let redacted = CREDENTIALS.text(shown);
    match line.len() - end {
        0 => redacted,
        more => Cow::Owned(format!("{redacted}… ({more} bytes more)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_removed_and_addresses_kept() {
        let key = "dbk_0123456789ab_0123456789012345678901234567890123456789";
        for (line, written) in [
            (
                "listening on http://127.0.0.1:8080, database postgres://ada:hunter2@db.example.com/x",
                "listening on http://127.0.0.1:8080, database postgres://ada:[REDACTED]@db.example.com/x",
            ),
            (&format!("refused: {key}"), "refused: dbk_0123456789ab_[REDACTED]"),
            (
                "refused: ?token=hunter2 by ada@example.com",
                "refused: ?token=[REDACTED] by ada@example.com",
            ),
            ("nothing to hide", "nothing to hide"),
        ] {
            assert_eq!(redact_credentials(line), written);
        }
    }

    #[test]
    fn a_line_is_bounded() {
        let line = "ä ".repeat(150_000);
        let written = redact_credentials(&line);
        assert!(
            written.len() < MAX_LINE_BYTES + 100 && written.ends_with(" bytes more)"),
            "{}",
            written.len()
        );
    }
}
