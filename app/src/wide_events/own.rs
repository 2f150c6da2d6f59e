//! Which names are the layer's.

/// Written by the layer alone: whoever reads events relies on it.
const LAYERS: [&str; 27] = [
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

/// By a name's first letter, the lengths that names of the layer have: almost every other name is told apart by it.
static LENGTHS: [u32; 256] = {
    let mut lengths = [0; 256];
    let mut at = 0;
    while at < LAYERS.len() {
        let name = LAYERS[at];
        lengths[name.as_bytes()[0] as usize] |= 1 << name.len();
        at += 1;
    }
    lengths
};

/// Whether a field at the top of an event is the layer's alone. Others that it writes (`ip`, `query`) may be set by
/// whoever knows better: an address behind a proxy.
pub(super) fn is_layers(name: &str) -> bool {
    let first = name.bytes().next().unwrap_or_default();
    let lengths = LENGTHS[usize::from(first)];
    let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
    lengths.checked_shr(length).unwrap_or(0) & 1 == 1 && LAYERS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layers_names_are_known() {
        assert!(LAYERS.into_iter().all(is_layers));
        for name in ["", "ip", "query", "status", "status_coda", "user", &"t".repeat(64)] {
            assert!(!is_layers(name), "{name}");
        }
    }
}
