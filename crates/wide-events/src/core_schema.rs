//! The JSON Schema of the fields that the layer writes.

use serde_json::Value;

/// Returns a JSON Schema (2020-12) of the layer's own fields. It allows any other field. A program adds its own fields
/// to `properties`.
pub fn core_schema() -> Value {
    // The test below checks that this file can be parsed.
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
