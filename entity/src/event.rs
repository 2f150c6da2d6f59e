//! An entry of the book. Append-only: the database refuses every change.

use sea_orm::entity::prelude::*;
use serde::Serialize;

/// An entry of the book. Append-only: the database refuses every change.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "events")]
pub struct Model {
    /// UUIDv7; the table is partitioned by month on it.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The team.
    pub team_id: Uuid,
    /// `CREATED`, `UPDATED`, `DELETED`, `STATE_CHANGED` or `CUSTOM`.
    pub event_type: String,
    /// The name of a `CUSTOM` event.
    pub event_name: Option<String>,
    /// The model's type.
    pub object_type: String,
    /// The object's id, as text.
    pub object_id: String,
    /// What the object was called at that moment.
    pub object_label: String,
    /// Whether the object has a thread.
    pub threadable: bool,
    /// The type of the object it belongs to.
    pub scope_type: Option<String>,
    /// The id of the object it belongs to.
    pub scope_id: Option<String>,
    /// `user`, `api_key`, `job` or `system`.
    pub actor_kind: String,
    /// The actor's row, where it has one.
    pub actor_id: Option<Uuid>,
    /// What the actor was called at that moment.
    pub actor_name: String,
    /// The person in whose name the actor acted.
    pub on_behalf_of: Option<Uuid>,
    /// What that person was called at that moment.
    pub on_behalf_of_name: Option<String>,
    /// The way in.
    pub via: Option<String>,
    /// Why, in a person's words.
    pub reason: Option<String>,
    /// The payload.
    #[sea_orm(column_type = "JsonBinary")]
    pub event_data: Json,
    /// The payload's version; 0 for a raw one.
    pub schema_version: i16,
    /// The story it belongs to.
    pub correlation_id: Uuid,
    /// The event that caused it.
    pub causation_id: Option<Uuid>,
    /// The request it was recorded in.
    pub request_id: Option<String>,
    /// The database transaction it was recorded in.
    pub transaction_id: i64,
    /// When its transaction began.
    pub created_at: DateTimeUtc,
}

/// Daybook's tables are joined by hand.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
