//! The schema of the service's events.

use serde_json::{Map, Value};

use crate::wide_events::core_schema;

/// The JSON Schema that the service's wide events follow: the layer's own fields, and what requests record. Other
/// fields are free, since whoever handles a request may add some. A program that types its own takes this and adds
/// to its `properties`.
pub fn event_schema() -> Value {
    let mut schema = core_schema();
    // A file of ours, whose fields a test looks for.
    let own: Map<String, Value> = serde_json::from_str(include_str!("own.schema.json")).unwrap_or_default();
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.extend(own);
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_has_the_layers_fields_and_ours() {
        let schema = event_schema();
        for name in ["status_code", "database", "events", "actor"] {
            assert!(schema["properties"][name].is_object(), "{name}");
        }
    }
}
