//! The byte range that a reader of a log asks for.

/// The range of the header `Range`. It is parsed here, because the crates for it (`headers` 0.4, `http-range-header`)
/// refuse an end after the last byte, or a suffix that is longer than the log. RFC 9110 §14.1.2 allows both; for such a
/// suffix, the answer is the whole log.
pub(super) enum ByteRange {
    Satisfiable(std::ops::Range<u64>),
    /// Several ranges, or an invalid value. The whole log is sent, as RFC 9110 allows.
    Ignored,
    Unsatisfiable,
}

/// Reads the value of `Range` for a log of `total` bytes.
pub(super) fn byte_range(text: &str, total: u64) -> ByteRange {
    let Some((from, to)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return ByteRange::Ignored;
    };
    let (from, to) = (from.trim(), to.trim());
    let range = match (from.parse::<u64>(), to.parse::<u64>()) {
        (Ok(from), Ok(to)) if from <= to => from..to.saturating_add(1).min(total),
        (Ok(from), Err(_)) if to.is_empty() => from..total,
        (Err(_), Ok(last)) if from.is_empty() => total.saturating_sub(last)..total,
        _ => return ByteRange::Ignored,
    };
    if range.start >= total || range.is_empty() {
        return ByteRange::Unsatisfiable;
    }
    ByteRange::Satisfiable(range)
}
