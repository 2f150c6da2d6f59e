//! The schema of the service's events.

use serde_json::{Map, Value};

use crate::wide_events::core_schema;

/// Returns the JSON Schema of the service's wide events: the layer's own fields, and the fields that requests record.
/// Other fields are allowed, since handlers may add some. A program that wants to type its own fields adds them to the
/// `properties` of this schema.
pub fn event_schema() -> Value {
    let mut schema = core_schema();
    // The file is part of this source, and a test checks its fields.
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
    fn the_schema_has_the_layers_and_the_services_fields() {
        let schema = event_schema();
        for name in ["status_code", "database", "events", "actor"] {
            assert!(schema["properties"][name].is_object(), "{name}");
        }
    }
}
