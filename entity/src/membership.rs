//! A person in a team.

use sea_orm::entity::prelude::*;
use serde::Serialize;

/// A person in a team.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "memberships")]
pub struct Model {
    /// The team.
    #[sea_orm(primary_key, auto_increment = false)]
    pub team_id: Uuid,
    /// The person.
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: Uuid,
    /// `viewer`, `member`, `admin` or `owner`.
    pub role: String,
    /// What `@handle` mentions them by; unique in the team, lower case.
    pub handle: String,
    /// How the team calls them, as long as they have no name of their own.
    pub display_name: Option<String>,
    /// Where the team reaches them, as long as they have no address of their own.
    pub email: Option<String>,
    /// When they were added.
    pub created_at: DateTimeUtc,
}

/// Daybook's tables are joined by hand.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
