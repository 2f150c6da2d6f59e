//! Checks the stored form of each payload. Stored events are never rewritten, so a change here needs a new version, and
//! a reader that still supports the old one.

use daybook::events::{
    CreatedEventData, CustomEventData, DeletedEventData, Event, EventData, EventType, FieldChange, RestoredEventData,
    StateChangedEventData, UpdatedEventData,
};
use schemars::{JsonSchema, schema_for};
use serde_json::{Value, json};

use super::assert_golden;

fn assert_schema<T: JsonSchema>(name: &str) {
    let schema = serde_json::to_string_pretty(&schema_for!(T)).unwrap();
    assert_golden(name, &format!("{schema}\n"));
}

#[test]
fn the_payloads_have_these_schemas() {
    assert_schema::<CreatedEventData>("created.v1.json");
    assert_schema::<UpdatedEventData>("updated.v1.json");
    assert_schema::<DeletedEventData>("deleted.v1.json");
    assert_schema::<StateChangedEventData>("state_changed.v1.json");
    assert_schema::<RestoredEventData>("restored.v1.json");
    assert_schema::<CustomEventData>("custom.v1.json");
}

fn read(event_type: EventType, version: i16, data: Value) -> daybook::Result<EventData> {
    let id = uuid::Uuid::now_v7();
    let event: Event = serde_json::from_value(json!({
        "id": id, "team_id": id, "event_type": event_type, "object_type": "widget", "object_id": "1",
        "object_label": "w", "threadable": true, "actor": { "kind": "system", "name": "test" },
        "event_data": data, "schema_version": version, "correlation_id": id, "transaction_id": 1,
        "created_at": "2026-11-20T00:00:00Z",
    }))
    .unwrap();
    event.data()
}

/// Payloads that the first version stored, byte for byte, must always be readable.
#[test]
fn payloads_of_version_one_can_be_read() {
    let values = json!({ "initial_values": { "name": "w", "secret": { "redacted": true } } });
    let EventData::Created(data) = read(EventType::Created, 1, values).unwrap() else {
        panic!()
    };
    assert_eq!(data.initial_values["name"], "w");

    let changes = json!({ "changes": { "price": { "old": "1.00", "new": null }, "secret": { "redacted": true } } });
    let EventData::Updated(data) = read(EventType::Updated, 1, changes.clone()).unwrap() else {
        panic!()
    };
    assert_eq!(
        data.changes["price"],
        FieldChange {
            old: json!("1.00"),
            new: Value::Null
        }
    );
    assert!(data.changes["secret"].is_redacted());
    assert_eq!(
        serde_json::to_value(&data).unwrap(),
        changes,
        "and is written unchanged"
    );

    let state = json!({ "state": { "old": "draft", "new": "done" }, "reason": "over" });
    let EventData::StateChanged(data) = read(EventType::StateChanged, 1, state.clone()).unwrap() else {
        panic!()
    };
    assert_eq!(serde_json::to_value(&data).unwrap(), state);

    let gone = json!({ "final_values": { "name": "w" } });
    let EventData::Deleted(data) = read(EventType::Deleted, 1, gone.clone()).unwrap() else {
        panic!()
    };
    assert_eq!(serde_json::to_value(&data).unwrap(), gone);

    let back = json!({ "restored_values": { "name": "w" }, "reason": "a mistake" });
    let EventData::Restored(data) = read(EventType::Restored, 1, back.clone()).unwrap() else {
        panic!()
    };
    assert_eq!(serde_json::to_value(&data).unwrap(), back);

    let custom = json!({ "name": "paid", "data": [1, "2"] });
    let EventData::Custom(data) = read(EventType::Custom, 1, custom.clone()).unwrap() else {
        panic!()
    };
    assert_eq!(serde_json::to_value(&data).unwrap(), custom);
}

#[test]
fn plain_json_is_read_unchanged_and_a_newer_version_is_an_error() {
    assert_eq!(
        read(EventType::Updated, 0, json!([1])).unwrap(),
        EventData::Raw(json!([1]))
    );
    assert!(read(EventType::Updated, 2, json!({})).is_err());
}
