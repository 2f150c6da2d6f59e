//! The field names that only the layer may write.

/// Names of top-level fields that code can't set, so that readers of events can rely on them.
const RESERVED_NAMES: [&str; 27] = [
    "timestamp",
    "kind",
    "service",
    "version",
    "deployment_id",
    "region",
    "request_id",
    "trace_id",
    "span_id",
    "parent_span_id",
    "correlation_id",
    "replaced_ids",
    "method",
    "route",
    "http_version",
    "path",
    "status_code",
    "outcome",
    "duration_ms",
    "headers_ms",
    "bytes_in",
    "bytes_out",
    "error",
    "sample_rate",
    "sample_reason",
    "schema_errors",
    "dropped_before",
];

/// Bitmask of the lengths of reserved names, for each first byte: a fast pre-check that excludes almost every other
/// name.
static LENGTHS_BY_FIRST_BYTE: [u32; 256] = {
    let mut lengths = [0; 256];
    let mut at = 0;
    while at < RESERVED_NAMES.len() {
        let name = RESERVED_NAMES[at];
        lengths[name.as_bytes()[0] as usize] |= 1 << name.len();
        at += 1;
    }
    lengths
};

/// Returns whether only the layer may write the top-level field `name`. Code may set the other fields that the layer
/// writes (`ip`, `query`), because a service behind a proxy may know better values.
pub(super) fn is_reserved(name: &str) -> bool {
    let first = name.bytes().next().unwrap_or_default();
    let lengths = LENGTHS_BY_FIRST_BYTE[usize::from(first)];
    let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
    lengths.checked_shr(length).unwrap_or(0) & 1 == 1 && RESERVED_NAMES.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_names_are_recognised() {
        assert!(RESERVED_NAMES.into_iter().all(is_reserved));
        for name in ["", "ip", "query", "status", "status_coda", "user", &"t".repeat(64)] {
            assert!(!is_reserved(name), "{name}");
        }
    }
}
