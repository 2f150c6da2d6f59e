//! The place where people read an object's events and comments: one thread per object.

use sea_orm::entity::prelude::*;
use serde::Serialize;

/// The place where people read an object's events and comments: one thread per object.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "threads")]
pub struct Model {
    /// The id, a UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The team.
    pub team_id: Uuid,
    /// The object's type.
    pub object_type: String,
    /// The object's id, as text.
    pub object_id: String,
    /// The object's last known label.
    pub object_label: String,
    /// The type of the object that this object belongs to.
    pub scope_type: Option<String>,
    /// The id of the object that this object belongs to.
    pub scope_id: Option<String>,
    /// The newest message's `seq`.
    pub last_seq: i64,
    /// The number of changes of its messages.
    pub revision: i64,
    /// When it was created.
    pub created_at: DateTimeUtc,
    /// When the newest message was posted.
    pub updated_at: DateTimeUtc,
}

/// No relations: queries join Daybook's tables explicitly.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
