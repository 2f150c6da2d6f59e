//! A failure of a consumer of mode `isolate`: the consumer's work was undone, and the change was kept.

use sea_orm::entity::prelude::*;
use serde::Serialize;

/// A failure of a consumer of mode `isolate`: the consumer's work was undone, and the change was kept.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "consumer_failures")]
pub struct Model {
    /// The id, a UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The team.
    pub team_id: Uuid,
    /// The consumer's name.
    pub consumer: String,
    /// The events that the consumer received.
    pub event_ids: Vec<Uuid>,
    /// The error's text.
    pub error: String,
    /// The story that the failure belongs to.
    pub correlation_id: Uuid,
    /// When it failed.
    pub created_at: DateTimeUtc,
    /// When a retry succeeded.
    pub resolved_at: Option<DateTimeUtc>,
}

/// No relations: queries join Daybook's tables explicitly.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
