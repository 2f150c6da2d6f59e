//! An event as it was recorded.

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::events::payload::{EventData, unreadable_reason};
use crate::events::tracked::{Tracked, column_named};
use crate::json::Unreadable;
use crate::tenancy::{Actor, Person, TeamTx};

/// What kind of change an event tells of.
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
    utoipa::ToSchema,
    schemars::JsonSchema,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
pub enum EventType {
    /// An object came to be.
    Created,
    /// Fields changed.
    Updated,
    /// An object went, softly or for good.
    Deleted,
    /// An object moved from one state to another.
    StateChanged,
    /// A softly deleted object came back.
    Restored,
    /// Something of the domain's own; `event_name` says what.
    Custom,
}

impl EventType {
    /// Every type, in the order above.
    pub const ALL: [Self; 6] = [
        Self::Created,
        Self::Updated,
        Self::Deleted,
        Self::StateChanged,
        Self::Restored,
        Self::Custom,
    ];

    /// As in the column `event_type`: `CREATED`, `STATE_CHANGED`, …
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "CREATED",
            Self::Updated => "UPDATED",
            Self::Deleted => "DELETED",
            Self::StateChanged => "STATE_CHANGED",
            Self::Restored => "RESTORED",
            Self::Custom => "CUSTOM",
        }
    }
}

impl std::fmt::Display for EventType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for EventType {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|t| t.as_str() == s).ok_or_else(|| {
            Error::invalid(
                "event_type",
                format!("{s:?} is none of CREATED, UPDATED, DELETED, STATE_CHANGED, RESTORED, CUSTOM"),
            )
        })
    }
}

/// An object by its type and id, as events, threads and scopes name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ObjectRef {
    /// The model's `OBJECT_TYPE`.
    #[serde(rename = "type")]
    pub object_type: String,
    /// The object's id, as text.
    pub id: String,
}

/// One entry of the book: what happened to which object, by whom, why, and what belongs together.
///
/// It is what a consumer is given and what `daybook activity --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// UUIDv7, made in the app: ids sort by time.
    pub id: Uuid,
    /// The team it belongs to.
    pub team_id: Uuid,
    /// The kind of change.
    pub event_type: EventType,
    /// The name of a [`EventType::Custom`] event.
    pub event_name: Option<String>,
    /// The model's `OBJECT_TYPE`.
    pub object_type: String,
    /// The object's id, as text.
    pub object_id: String,
    /// What the object was called at that moment.
    pub object_label: String,
    /// Whether the object has a thread.
    pub threadable: bool,
    /// The object it belongs to, if the model names one.
    pub scope: Option<ObjectRef>,
    /// Who did it.
    pub actor: Actor,
    /// In whose name, where that is another person.
    pub on_behalf_of: Option<Person>,
    /// The way in: `http`, `cli`, a job's name.
    pub via: Option<String>,
    /// Why, in a person's words.
    pub reason: Option<String>,
    /// The payload, as stored. [`Event::data`] gives it typed.
    pub event_data: serde_json::Value,
    /// The payload's version; 0 for a raw one, below 0 for one that can't be read.
    pub schema_version: i16,
    /// The story it belongs to.
    pub correlation_id: Uuid,
    /// The event that caused it.
    pub causation_id: Option<Uuid>,
    /// The request it was recorded in.
    pub request_id: Option<String>,
    /// The database transaction it was recorded in.
    pub transaction_id: i64,
    /// When its transaction began, by the database's clock.
    pub created_at: DateTime<Utc>,
}

impl Event {
    /// The payload, typed by the event's type and version.
    ///
    /// # Errors
    /// [`Error::Internal`] if the stored payload has a version that this program doesn't know, which means
    /// that a newer program wrote it.
    pub fn data(&self) -> Result<EventData> {
        EventData::from_stored(self.event_type, self.schema_version, &self.event_data)
    }

    /// The model it tells of, as it is in the database; `None` if it is gone.
    ///
    /// # Errors
    /// [`Error::Internal`] if the event is of another type of object than `M`.
    pub async fn object<M: Tracked>(&self, tx: &TeamTx) -> Result<Option<M>> {
        if self.object_type != M::OBJECT_TYPE {
            return Err(Error::internal(format!(
                "the event is of a {}, not of a {}",
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

    /// Why the stored payload can't be read, if it can't: `event_data` then holds `{"unreadable": {"reason": …}}`.
    pub fn unreadable(&self) -> Option<Unreadable> {
        unreadable_reason(self.schema_version)
    }

    /// The object it tells of.
    pub fn object_ref(&self) -> ObjectRef {
        ObjectRef {
            object_type: self.object_type.clone(),
            id: self.object_id.clone(),
        }
    }
}
