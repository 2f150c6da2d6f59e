//! A rule such as "notify me of every new campaign".

use sea_orm::entity::prelude::*;
use serde::Serialize;

/// A rule such as "notify me of every new campaign".
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "watches")]
pub struct Model {
    /// The team.
    #[sea_orm(primary_key, auto_increment = false)]
    pub team_id: Uuid,
    /// The person.
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: Uuid,
    /// The type of objects that the person watches.
    #[sea_orm(primary_key, auto_increment = false)]
    pub object_type: String,
    /// When the person began to watch.
    pub created_at: DateTimeUtc,
}

/// No relations: queries join Daybook's tables explicitly.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
