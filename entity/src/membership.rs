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
    /// The name for `@handle` mentions; unique in the team, lower case.
    pub handle: String,
    /// The name that the team gave the person, used until the person has a name of their own.
    pub display_name: Option<String>,
    /// The address that the team entered, used until the person has an address of their own.
    pub email: Option<String>,
    /// When they were added.
    pub created_at: DateTimeUtc,
}

/// No relations: queries join Daybook's tables explicitly.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
