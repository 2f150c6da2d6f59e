//! The recorded event, its type, and the reference to its object.

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr, VariantArray};
use uuid::Uuid;

use crate::payload::{EventData, unreadable_reason};
use crate::tracked::{Tracked, column_named};
use daybook_tenancy::error::{Error, Result};
use daybook_tenancy::json::Unreadable;
use daybook_tenancy::{Actor, Person, TeamTx};

/// The kind of change that an event records.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    IntoStaticStr,
    VariantArray,
    utoipa::ToSchema,
    schemars::JsonSchema,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE", parse_err_ty = Error, parse_err_fn = unknown_event_type)]
#[non_exhaustive]
pub enum EventType {
    /// An object was created.
    Created,
    /// Fields changed.
    Updated,
    /// An object was deleted, softly or permanently.
    Deleted,
    /// An object moved from one state to another.
    StateChanged,
    /// A softly deleted object was restored.
    Restored,
    /// An event that the domain defines itself; `event_name` names it.
    Custom,
}

impl EventType {
    /// Every type, in the order above.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The value in the column `event_type`: `CREATED`, `STATE_CHANGED`, …
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

fn unknown_event_type(text: &str) -> Error {
    Error::invalid(
        "event_type",
        format!("{text:?} is not one of CREATED, UPDATED, DELETED, STATE_CHANGED, RESTORED, CUSTOM"),
    )
}

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
    /// [`Error::Internal`] if this program doesn't know the version of the stored payload, which means that a newer
    /// program wrote it.
    pub fn data(&self) -> Result<EventData> {
        EventData::from_stored(self.event_type, self.schema_version, &self.event_data)
    }

    /// Reads the model that the event is about, as it is in the database now; returns `None` if it no longer exists.
    ///
    /// # Errors
    /// [`Error::Internal`] if the event is about another type of object than `M`.
    pub async fn object<M: Tracked>(&self, tx: &TeamTx) -> Result<Option<M>> {
        if self.object_type != M::OBJECT_TYPE {
            return Err(Error::internal(format!(
                "the event is about a {}, not about a {}",
                self.object_type,
                M::OBJECT_TYPE
            )));
        }
        let id = Uuid::try_parse(&self.object_id).map_err(Error::internal)?;
        let found = M::Entity::find()
            .filter(column_named::<M>("team_id")?.eq(tx.team_id()))
            .filter(column_named::<M>("id")?.eq(id))
            .one(tx)
            .await?;
        Ok(found)
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
