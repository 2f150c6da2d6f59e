//! A rule such as "don't notify me of comments on campaigns".

use sea_orm::entity::prelude::*;
use serde::Serialize;

/// A rule such as "don't notify me of comments on campaigns".
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "notification_preferences")]
pub struct Model {
    /// The team.
    #[sea_orm(primary_key, auto_increment = false)]
    pub team_id: Uuid,
    /// The person.
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: Uuid,
    /// The type of objects that the rule is for, or `*` for all types.
    #[sea_orm(primary_key, auto_increment = false)]
    pub object_type: String,
    /// The kind of event that the rule is for: an event type, `COMMENT`, `MENTION`, or `*` for all except `MENTION`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub event_type: String,
    /// Whether the person is notified in the inbox.
    pub in_app: bool,
    /// When it was created.
    pub created_at: DateTimeUtc,
    /// When it last changed.
    pub updated_at: DateTimeUtc,
}

/// No relations: queries join Daybook's tables explicitly.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
