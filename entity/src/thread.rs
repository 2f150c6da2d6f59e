//! Where an object's events and people's comments are read: one an object.

use sea_orm::entity::prelude::*;
use serde::Serialize;

/// Where an object's events and people's comments are read: one an object.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "threads")]
pub struct Model {
    /// UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The team.
    pub team_id: Uuid,
    /// The object's type.
    pub object_type: String,
    /// The object's id, as text.
    pub object_id: String,
    /// What the object was last called.
    pub object_label: String,
    /// The type of the object it belongs to.
    pub scope_type: Option<String>,
    /// The id of the object it belongs to.
    pub scope_id: Option<String>,
    /// The newest message's `seq`.
    pub last_seq: i64,
    /// How often messages have been changed.
    pub revision: i64,
    /// When it was made.
    pub created_at: DateTimeUtc,
    /// When the newest message came.
    pub updated_at: DateTimeUtc,
}

/// Daybook's tables are joined by hand.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
