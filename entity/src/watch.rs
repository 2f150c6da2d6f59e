//! "Tell me of every new campaign."

use sea_orm::entity::prelude::*;
use serde::Serialize;

/// "Tell me of every new campaign."
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "watches")]
pub struct Model {
    /// The team.
    #[sea_orm(primary_key, auto_increment = false)]
    pub team_id: Uuid,
    /// The person.
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: Uuid,
    /// The type of objects they want to hear of.
    #[sea_orm(primary_key, auto_increment = false)]
    pub object_type: String,
    /// Since when.
    pub created_at: DateTimeUtc,
}

/// Daybook's tables are joined by hand.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
