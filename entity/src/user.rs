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
    /// The subject, or the name of whoever added them before names belonged to memberships.
    pub display_name: String,
    /// The address of whoever added them before addresses belonged to memberships.
    pub email: Option<String>,
    /// How they call themselves: by their own verified token, or by hand. None: teams use the name that they gave.
    pub own_name: Option<String>,
    /// Their address, by their own verified token.
    pub own_email: Option<String>,
    /// Who gave `own_name`: `token` or `self`.
    pub named_by: Option<String>,
    /// When they were first named here.
    pub created_at: DateTimeUtc,
    /// When name or address last changed.
    pub updated_at: DateTimeUtc,
}

/// Daybook's tables are joined by hand.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
