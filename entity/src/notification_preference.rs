//! "Tell me nothing of comments on campaigns."

use sea_orm::entity::prelude::*;
use serde::Serialize;

/// "Tell me nothing of comments on campaigns."
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "notification_preferences")]
pub struct Model {
    /// The team.
    #[sea_orm(primary_key, auto_increment = false)]
    pub team_id: Uuid,
    /// The person.
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: Uuid,
    /// Of which objects: a type, or `*` for all.
    #[sea_orm(primary_key, auto_increment = false)]
    pub object_type: String,
    /// Of what: an event type, `COMMENT`, `MENTION`, or `*` for all but `MENTION`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub event_type: String,
    /// Whether they are told in the inbox.
    pub in_app: bool,
    /// When it was made.
    pub created_at: DateTimeUtc,
    /// When it last changed.
    pub updated_at: DateTimeUtc,
}

/// Daybook's tables are joined by hand.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
