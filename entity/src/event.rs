//! A recorded event. Append-only: the database refuses every change.

use sea_orm::entity::prelude::*;
use serde::Serialize;

/// A recorded event. Append-only: the database refuses every change.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "events")]
pub struct Model {
    /// The id, a UUIDv7. The table is partitioned by month on this column.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The team.
    pub team_id: Uuid,
    /// `CREATED`, `UPDATED`, `DELETED`, `STATE_CHANGED`, `RESTORED` or `CUSTOM`.
    pub event_type: String,
    /// The name of a `CUSTOM` event.
    pub event_name: Option<String>,
    /// The object's type: its model's `OBJECT_TYPE`.
    pub object_type: String,
    /// The object's id, as text.
    pub object_id: String,
    /// The object's label when the event was recorded.
    pub object_label: String,
    /// Whether the object has a thread.
    pub threadable: bool,
    /// The type of the object that this object belongs to.
    pub scope_type: Option<String>,
    /// The id of the object that this object belongs to.
    pub scope_id: Option<String>,
    /// `user`, `api_key`, `job` or `system`.
    pub actor_kind: String,
    /// The actor's id, if it has one.
    pub actor_id: Option<Uuid>,
    /// The actor's name when the event was recorded.
    pub actor_name: String,
    /// The person for whom the actor acted.
    pub on_behalf_of: Option<Uuid>,
    /// That person's name when the event was recorded.
    pub on_behalf_of_name: Option<String>,
    /// The channel of the change: `http`, `cli` or a job's name.
    pub via: Option<String>,
    /// The reason, as a person wrote it.
    pub reason: Option<String>,
    /// The payload.
    #[sea_orm(column_type = "JsonBinary")]
    pub event_data: Json,
    /// The payload's version; 0 for a raw payload.
    pub schema_version: i16,
    /// The story that the event belongs to.
    pub correlation_id: Uuid,
    /// The event that caused it.
    pub causation_id: Option<Uuid>,
    /// The request in which the event was recorded.
    pub request_id: Option<String>,
    /// The database transaction in which the event was recorded.
    pub transaction_id: i64,
    /// When its transaction began.
    pub created_at: DateTimeUtc,
}

/// No relations: queries join Daybook's tables explicitly.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
