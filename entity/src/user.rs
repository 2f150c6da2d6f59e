//! A person, as their identity provider knows them. Visible through a common team only.

use sea_orm::entity::prelude::*;
use serde::Serialize;

/// A person, as their identity provider knows them. Visible through a common team only.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "users")]
pub struct Model {
    /// UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Who vouches for the person: the token's `iss`.
    pub issuer: String,
    /// Who the person is to the issuer: the token's `sub`.
    pub subject: String,
    /// How sentences call them.
    pub display_name: String,
    /// Where to reach them.
    pub email: Option<String>,
    /// When they were first named here.
    pub created_at: DateTimeUtc,
    /// When name or address last changed.
    pub updated_at: DateTimeUtc,
}

/// Daybook's tables are joined by hand.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
