//! The sample domain: a campaign with a budget.

use sea_orm::entity::prelude::*;
use serde::Serialize;

/// The sample domain: a campaign with a budget.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize, utoipa::ToSchema)]
#[schema(as = Campaign)]
#[sea_orm(table_name = "campaigns")]
pub struct Model {
    /// UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    #[schema(value_type = String, format = Uuid)]
    pub id: Uuid,
    /// The team.
    #[schema(value_type = String, format = Uuid)]
    pub team_id: Uuid,
    /// The campaign's name.
    pub name: String,
    /// `draft`, `active`, `paused`, `approved` or `done`.
    pub state: String,
    /// The amount that may be spent, zero or more.
    #[sea_orm(column_type = "Decimal(None)")]
    #[schema(value_type = String, example = "250")]
    pub budget: Decimal,
    /// The client's address; events never record it.
    pub client_email: Option<String>,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: DateTimeUtc,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: DateTimeUtc,
}

/// No relations: queries join Daybook's tables explicitly.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
