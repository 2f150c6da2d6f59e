//! What every event has.

use serde_json::Value;

/// A JSON Schema (2020-12) of the layer's own fields, which leaves all others free. Take it and add to its
/// `properties`.
pub fn core_schema() -> Value {
    // A file of ours, which the test below reads.
    serde_json::from_str(include_str!("core.schema.json")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::outcome::Outcome;
    use super::*;

    #[test]
    fn the_schema_knows_every_outcome() {
        let outcomes: Vec<_> = Outcome::ALL.iter().map(|outcome| outcome.as_str()).collect();
        assert_eq!(core_schema()["properties"]["outcome"], json!({"enum": outcomes}));
    }
}
