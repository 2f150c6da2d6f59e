//! A team: every recorded row belongs to one.

use sea_orm::entity::prelude::*;
use serde::Serialize;

/// A team: every recorded row belongs to one.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "teams")]
pub struct Model {
    /// The id, a UUIDv7. The reserved team of the service itself is [`SYSTEM_TEAM`](crate::SYSTEM_TEAM).
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The team's name.
    pub name: String,
    /// When the team was created.
    pub created_at: DateTimeUtc,
}

/// No relations: queries join Daybook's tables explicitly.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
