//! The recorded event, and the reference to its object.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::event_type::EventType;
use super::payload::{EventData, unreadable_reason};
use daybook_tenancy::error::Result;
use daybook_tenancy::json::Unreadable;
use daybook_tenancy::{Actor, Person};

/// An object by its type and id, as events, threads and scopes refer to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ObjectRef {
    /// The model's `OBJECT_TYPE`.
    #[serde(rename = "type")]
    pub object_type: String,
    /// The object's id, as text.
    pub id: String,
}

/// One recorded event: what happened to which object, by whom and why, and the ids that relate it to other events.
///
/// Consumers receive it, and `daybook activity --json` prints it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// UUIDv7, made in the app: ids sort by time.
    pub id: Uuid,
    /// The team that the event belongs to.
    pub team_id: Uuid,
    /// The kind of change.
    pub event_type: EventType,
    /// The name of a [`EventType::Custom`] event.
    pub event_name: Option<String>,
    /// The model's `OBJECT_TYPE`.
    pub object_type: String,
    /// The object's id, as text.
    pub object_id: String,
    /// The label of the object when the event was recorded.
    pub object_label: String,
    /// Whether the object has a thread.
    pub threadable: bool,
    /// The object that this object belongs to, if the model names one.
    pub scope: Option<ObjectRef>,
    /// Who made the change.
    pub actor: Actor,
    /// The person for whom the actor acts, if that is another person.
    pub on_behalf_of: Option<Person>,
    /// How the change came in: `http`, `cli`, or the name of a job.
    pub via: Option<String>,
    /// The reason, as a person wrote it.
    pub reason: Option<String>,
    /// The payload, as stored. [`Event::data`] returns it typed.
    pub event_data: serde_json::Value,
    /// The payload's version; 0 for a raw payload, below 0 for one that can't be read.
    pub schema_version: i16,
    /// The story that the event belongs to.
    pub correlation_id: Uuid,
    /// The event that caused it.
    pub causation_id: Option<Uuid>,
    /// The request in which the event was recorded.
    pub request_id: Option<String>,
    /// The database transaction in which the event was recorded.
    pub transaction_id: i64,
    /// When its transaction began, by the database's clock.
    pub created_at: DateTime<Utc>,
}

impl Event {
    /// Returns the payload, typed by the event's type and version.
    ///
    /// # Errors
    /// [`Error::Internal`](daybook_tenancy::error::Error::Internal) if this program doesn't know the version of the stored payload, which means that a newer
    /// program wrote it.
    pub fn data(&self) -> Result<EventData> {
        EventData::from_stored(self.event_type, self.schema_version, &self.event_data)
    }

    /// Returns the reason why the stored payload can't be read, if it can't. `event_data` then holds `{"unreadable":
    /// {"reason": …}}`.
    pub fn unreadable(&self) -> Option<Unreadable> {
        unreadable_reason(self.schema_version)
    }

    /// Returns the reference to the event's object.
    pub fn object_ref(&self) -> ObjectRef {
        ObjectRef {
            object_type: self.object_type.clone(),
            id: self.object_id.clone(),
        }
    }
}
