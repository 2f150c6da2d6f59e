//! The payloads of events: one type for each event type, so that an event's type and its payload can't disagree.
//!
//! Payloads are stored as JSON with a `schema_version`. A change of a type's shape needs a new version, and a branch in
//! [`EventData::from_stored`] that still reads the old one: stored events are never rewritten. The JSON Schemas of the
//! current version are golden files of the tests.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::event_type::EventType;
use daybook_tenancy::error::{Error, Result};
use daybook_tenancy::json::{MAX_ENVELOPE_DEPTH, Unreadable};

/// The version that this program writes.
pub(super) const SCHEMA_VERSION: i16 = 1;
/// The version of payloads without a type.
const RAW_VERSION: i16 = 0;
/// In-memory versions that mark payloads that can't be read, by the reason. No row has them.
const UNREADABLE_VERSIONS: [(i16, Unreadable); 2] = [(-1, Unreadable::TOO_DEEP), (-2, Unreadable::NO_JSON)];

/// Returns the version that marks a payload as unreadable for this reason.
pub(super) fn unreadable_version(unreadable: &Unreadable) -> i16 {
    let known = UNREADABLE_VERSIONS.iter().find(|(_, reason)| reason == unreadable);
    known.map_or(-1, |(version, _)| *version)
}

/// Returns the reason for which a payload of this version can't be read; `None` for any other version.
pub(super) fn unreadable_reason(version: i16) -> Option<Unreadable> {
    let known = UNREADABLE_VERSIONS.into_iter().find(|(of, _)| *of == version);
    known.map(|(_, reason)| reason)
}

/// Values by field name, as recorded: decimals and integers above 2^53−1 as strings, instants as RFC 3339 in UTC,
/// redacted values as `{"redacted": true}`, the null of a JSON column as `{"json_null": true}`.
pub type FieldValues = BTreeMap<String, Value>;

/// Changes by field name.
pub type FieldChanges = BTreeMap<String, FieldChange>;

/// Returns what is recorded instead of a redacted value.
pub(super) fn redacted() -> Value {
    json!({ "redacted": true })
}

/// Returns what is recorded for the null of a JSON column, because null itself means that there is no value.
pub(super) fn json_null() -> Value {
    json!({ "json_null": true })
}

pub(super) fn is_json_null(value: &Value) -> bool {
    value
        .as_object()
        .is_some_and(|object| object.len() == 1 && object.get("json_null") == Some(&Value::Bool(true)))
}

/// Compares in place, without building a [`redacted`] value.
fn is_redacted(value: &Value) -> bool {
    value
        .as_object()
        .is_some_and(|object| object.len() == 1 && object.get("redacted") == Some(&Value::Bool(true)))
}

/// A field before and after.
///
/// Stored as `{"old": …, "new": …}`, or as `{"redacted": true}` for a redacted field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "StoredChange", into = "StoredChange")]
pub struct FieldChange {
    /// Before.
    pub old: Value,
    /// After.
    pub new: Value,
}

impl FieldChange {
    /// Returns a change that records only that the field changed.
    pub fn redacted() -> Self {
        Self {
            old: redacted(),
            new: redacted(),
        }
    }

    /// Returns whether the values were left out of the record.
    pub fn is_redacted(&self) -> bool {
        is_redacted(&self.old) && is_redacted(&self.new)
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum StoredChange {
    Values { old: Value, new: Value },
    Redacted { redacted: bool },
}

impl From<StoredChange> for FieldChange {
    fn from(stored: StoredChange) -> Self {
        match stored {
            StoredChange::Values { old, new } => Self { old, new },
            StoredChange::Redacted { .. } => Self::redacted(),
        }
    }
}

impl From<FieldChange> for StoredChange {
    fn from(change: FieldChange) -> Self {
        if change.is_redacted() {
            return Self::Redacted { redacted: true };
        }
        Self::Values {
            old: change.old,
            new: change.new,
        }
    }
}

/// An object was created.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CreatedEventData {
    /// The tracked fields after the creation.
    pub initial_values: FieldValues,
}

/// Fields changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UpdatedEventData {
    /// The tracked fields that differ.
    pub changes: FieldChanges,
}

/// An object was deleted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeletedEventData {
    /// The tracked fields before the deletion.
    pub final_values: FieldValues,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// An object moved from one state to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StateChangedEventData {
    /// The state before and after.
    pub state: FieldChange,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A deleted object was restored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RestoredEventData {
    /// The tracked fields after the restoration.
    pub restored_values: FieldValues,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// An event that the domain defines itself: a payment, an approval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CustomEventData {
    /// What happened, in one or two words: `payment_received`.
    pub name: String,
    /// The details.
    pub data: Value,
}

/// A payload of plain JSON, for events without a payload type. It is recorded as it is, with version 0.
#[derive(Debug, Clone, PartialEq)]
pub struct RawEventData {
    event_type: EventType,
    data: Value,
}

impl RawEventData {
    /// Creates a plain payload for an event type. The name of a [`EventType::Custom`] event is the field `name`, else
    /// `custom`.
    pub fn new(event_type: EventType, data: Value) -> Self {
        Self { event_type, data }
    }
}

/// A payload, typed by its event's type.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum EventData {
    /// The payload of an [`EventType::Created`] event.
    Created(CreatedEventData),
    /// The payload of an [`EventType::Updated`] event.
    Updated(UpdatedEventData),
    /// The payload of an [`EventType::Deleted`] event.
    Deleted(DeletedEventData),
    /// The payload of an [`EventType::StateChanged`] event.
    StateChanged(StateChangedEventData),
    /// The payload of an [`EventType::Restored`] event.
    Restored(RestoredEventData),
    /// The payload of an [`EventType::Custom`] event.
    Custom(CustomEventData),
    /// The payload of an event of any type, recorded as plain JSON.
    Raw(Value),
    /// The payload of an event of any type that can't be read.
    Unreadable(Unreadable),
}

impl EventData {
    pub(super) fn from_stored(event_type: EventType, version: i16, data: &Value) -> Result<Self> {
        if let Some(unreadable) = unreadable_reason(version) {
            return Ok(Self::Unreadable(unreadable));
        }
        let data = data.clone();
        match (version, event_type) {
            (RAW_VERSION, _) => Ok(Self::Raw(data)),
            (SCHEMA_VERSION, EventType::Created) => Ok(Self::Created(serde_json::from_value(data)?)),
            (SCHEMA_VERSION, EventType::Updated) => Ok(Self::Updated(serde_json::from_value(data)?)),
            (SCHEMA_VERSION, EventType::Deleted) => Ok(Self::Deleted(serde_json::from_value(data)?)),
            (SCHEMA_VERSION, EventType::StateChanged) => Ok(Self::StateChanged(serde_json::from_value(data)?)),
            (SCHEMA_VERSION, EventType::Restored) => Ok(Self::Restored(serde_json::from_value(data)?)),
            (SCHEMA_VERSION, EventType::Custom) => Ok(Self::Custom(serde_json::from_value(data)?)),
            (newer, _) => Err(Error::internal(format!(
                "a {event_type} event has schema version {newer}; this program reads versions 0 and {SCHEMA_VERSION}"
            ))),
        }
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A payload that can be emitted. Its type determines the event's type.
pub trait EventPayload: sealed::Sealed + Send {
    /// Returns the event's type.
    fn event_type(&self) -> EventType;
    /// Returns the name of a custom event; `None` for other types.
    fn event_name(&self) -> Option<String> {
        None
    }
    /// Returns the payload's own reason, which takes precedence over the context's.
    fn reason(&self) -> Option<&str> {
        None
    }
    /// Returns the schema version; 0 for a raw payload.
    fn schema_version(&self) -> i16 {
        SCHEMA_VERSION
    }
    /// Returns the number of JSON levels that the payload adds around the recorded values.
    #[doc(hidden)]
    fn envelope_depth(&self) -> usize;
    /// Returns the payload as it is stored.
    ///
    /// # Errors
    /// [`Error::Internal`] for a value that JSON can't hold.
    fn into_json(self) -> Result<Value>;
}

macro_rules! payload {
    ($type:ty, $event_type:expr, $envelope_depth:expr $(, $reason:ident)?) => {
        impl sealed::Sealed for $type {}
        impl EventPayload for $type {
            fn event_type(&self) -> EventType {
                $event_type
            }
            fn envelope_depth(&self) -> usize {
                $envelope_depth
            }
            $(fn reason(&self) -> Option<&str> {
                self.$reason.as_deref()
            })?
            fn into_json(self) -> Result<Value> {
                Ok(serde_json::to_value(self)?)
            }
        }
    };
}

payload!(DeletedEventData, EventType::Deleted, 2, reason);
payload!(StateChangedEventData, EventType::StateChanged, 2, reason);
payload!(RestoredEventData, EventType::Restored, 2, reason);

// These two payloads, which bulk changes use, are moved into their JSON by hand: serde would copy all names and values.

impl sealed::Sealed for CreatedEventData {}
impl EventPayload for CreatedEventData {
    fn event_type(&self) -> EventType {
        EventType::Created
    }
    fn envelope_depth(&self) -> usize {
        2
    }
    fn into_json(self) -> Result<Value> {
        let values = Value::Object(self.initial_values.into_iter().collect());
        Ok(Value::Object(Map::from_iter([("initial_values".to_owned(), values)])))
    }
}

impl sealed::Sealed for UpdatedEventData {}
impl EventPayload for UpdatedEventData {
    fn event_type(&self) -> EventType {
        EventType::Updated
    }
    fn envelope_depth(&self) -> usize {
        MAX_ENVELOPE_DEPTH
    }
    fn into_json(self) -> Result<Value> {
        let changes = self.changes.into_iter().map(|(name, change)| {
            let stored = if change.is_redacted() {
                redacted()
            } else {
                Value::Object(Map::from_iter([
                    ("old".to_owned(), change.old),
                    ("new".to_owned(), change.new),
                ]))
            };
            (name, stored)
        });
        let changes = Value::Object(changes.collect());
        Ok(Value::Object(Map::from_iter([("changes".to_owned(), changes)])))
    }
}

impl sealed::Sealed for CustomEventData {}
impl EventPayload for CustomEventData {
    fn event_type(&self) -> EventType {
        EventType::Custom
    }
    fn event_name(&self) -> Option<String> {
        Some(self.name.clone())
    }
    fn envelope_depth(&self) -> usize {
        1
    }
    fn into_json(self) -> Result<Value> {
        Ok(serde_json::to_value(self)?)
    }
}

impl sealed::Sealed for RawEventData {}
impl EventPayload for RawEventData {
    fn event_type(&self) -> EventType {
        self.event_type
    }
    fn event_name(&self) -> Option<String> {
        let name = || {
            self.data
                .get("name")
                .and_then(Value::as_str)
                .unwrap_or("custom")
                .to_owned()
        };
        (self.event_type == EventType::Custom).then(name)
    }
    fn schema_version(&self) -> i16 {
        RAW_VERSION
    }
    fn envelope_depth(&self) -> usize {
        0
    }
    fn into_json(self) -> Result<Value> {
        Ok(self.data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hand_written_json_equals_that_of_serde() {
        let created = CreatedEventData {
            initial_values: FieldValues::from([("name".to_owned(), json!("Spring")), ("email".to_owned(), redacted())]),
        };
        assert_eq!(
            created.clone().into_json().unwrap(),
            serde_json::to_value(&created).unwrap()
        );
        let change = FieldChange {
            old: json!(null),
            new: json!("250"),
        };
        let updated = UpdatedEventData {
            changes: FieldChanges::from([
                ("budget".to_owned(), change),
                ("email".to_owned(), FieldChange::redacted()),
            ]),
        };
        assert_eq!(
            updated.clone().into_json().unwrap(),
            serde_json::to_value(&updated).unwrap()
        );
    }
}
