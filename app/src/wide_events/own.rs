//! Which names are the layer's.

/// Who may write a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// The layer alone: whoever reads events relies on it.
    Layers,
    /// The layer first, and whoever knows better: an address behind a proxy.
    Shared,
    /// Anybody.
    Anybodys,
}

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
const SHARED: [&str; 4] = ["query", "user_agent", "ip", "headers"];

/// By a name's first letter, the lengths that names of the layer have: almost every other name is told apart by it.
static LENGTHS: [u32; 256] = {
    let mut lengths = [0; 256];
    let mut at = 0;
    while at < LAYERS.len() + SHARED.len() {
        let name = if at < LAYERS.len() {
            LAYERS[at]
        } else {
            SHARED[at - LAYERS.len()]
        };
        lengths[name.as_bytes()[0] as usize] |= 1 << name.len();
        at += 1;
    }
    lengths
};

pub(super) fn whose(name: &str) -> Whose {
    let first = name.bytes().next().unwrap_or_default();
    let lengths = LENGTHS[usize::from(first)];
    if lengths.checked_shr(name.len() as u32).unwrap_or(0) & 1 == 0 {
        Whose::Anybodys
    } else if LAYERS.contains(&name) {
        Whose::Layers
    } else if SHARED.contains(&name) {
        Whose::Shared
    } else {
        Whose::Anybodys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layers_names_are_known() {
        for name in LAYERS {
            assert_eq!(whose(name), Whose::Layers, "{name}");
        }
        for name in SHARED {
            assert_eq!(whose(name), Whose::Shared, "{name}");
        }
        for name in ["", "status", "status_coda", "user", &"t".repeat(64)] {
            assert_eq!(whose(name), Whose::Anybodys, "{name}");
        }
    }
}
