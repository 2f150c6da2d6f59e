//! A team: whatever is recorded belongs to one.

use sea_orm::entity::prelude::*;
use serde::Serialize;

/// A team: whatever is recorded belongs to one.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "teams")]
pub struct Model {
    /// UUIDv7; the reserved team of the service itself is [`SYSTEM_TEAM`](crate::SYSTEM_TEAM).
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// What people call it.
    pub name: String,
    /// When it was founded.
    pub created_at: DateTimeUtc,
}

/// Daybook's tables are joined by hand.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
