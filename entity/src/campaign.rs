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
    /// What people call it.
    pub name: String,
    /// `draft`, `active`, `paused`, `approved` or `done`.
    pub state: String,
    /// What may be spent, zero or more.
    #[sea_orm(column_type = "Decimal(None)")]
    #[schema(value_type = String, example = "250")]
    pub budget: Decimal,
    /// Whom it is for; never recorded in events.
    pub client_email: Option<String>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: DateTimeUtc,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: DateTimeUtc,
}

/// Daybook's tables are joined by hand.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
