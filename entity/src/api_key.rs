//! A program's key to one team. The secret itself is kept nowhere.

use sea_orm::entity::prelude::*;

/// A program's key to one team. The secret itself is kept nowhere.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "api_keys")]
pub struct Model {
    /// UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The team.
    pub team_id: Uuid,
    /// What sentences call it.
    pub name: String,
    /// The part that is shown and looked up.
    pub prefix: String,
    /// SHA-256 of the secret part, 32 bytes.
    #[sea_orm(column_type = "VarBinary(StringLen::None)")]
    pub secret_sha256: Vec<u8>,
    /// `viewer`, `member` or `admin`: what it may do.
    pub role: String,
    /// The person who made it.
    pub created_by: Option<Uuid>,
    /// The member who answers for it: it is revoked with them.
    pub owned_by: Option<Uuid>,
    /// When that member took it over from another.
    pub adopted_at: Option<DateTimeUtc>,
    /// When it was made.
    pub created_at: DateTimeUtc,
    /// When it stops to hold, if it does.
    pub expires_at: Option<DateTimeUtc>,
    /// When somebody took it back.
    pub revoked_at: Option<DateTimeUtc>,
}

/// Daybook's tables are joined by hand.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
