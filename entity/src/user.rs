//! A person, as their identity provider knows them. Others see a person only through a common team.

use sea_orm::entity::prelude::*;
use serde::Serialize;

/// A person, as their identity provider knows them. Others see a person only through a common team.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "users")]
pub struct Model {
    /// The id, a UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The issuer that vouches for the person: the token's `iss`.
    pub issuer: String,
    /// The person's id at the issuer: the token's `sub`.
    pub subject: String,
    /// The same as `subject`. In rows that are older than `memberships.display_name`, it is the name that was entered
    /// when the person was added.
    pub display_name: String,
    /// Null. In rows that are older than `memberships.email`, it is the address that was entered when the person was
    /// added.
    pub email: Option<String>,
    /// The person's own name, from their verified token or entered by themselves. If it is null, each team uses the
    /// name that it entered.
    pub own_name: Option<String>,
    /// The person's own address, from their verified token.
    pub own_email: Option<String>,
    /// The source of `own_name`: `token` or `self`.
    pub named_by: Option<String>,
    /// When the person was first added here.
    pub created_at: DateTimeUtc,
    /// When the name or address last changed.
    pub updated_at: DateTimeUtc,
}

/// No relations: queries join Daybook's tables explicitly.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
