//! A program's key for one team. The secret itself is not stored.

use sea_orm::entity::prelude::*;

/// A program's key for one team. The secret itself is not stored.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "api_keys")]
pub struct Model {
    /// The id, a UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The team.
    pub team_id: Uuid,
    /// The key's name in sentences.
    pub name: String,
    /// The part of the key that is shown, and by which it is found.
    pub prefix: String,
    /// SHA-256 of the secret part, 32 bytes.
    #[sea_orm(column_type = "VarBinary(StringLen::None)")]
    pub secret_sha256: Vec<u8>,
    /// What the key may do: `viewer`, `member` or `admin`.
    pub role: String,
    /// The person who created it.
    pub created_by: Option<Uuid>,
    /// The member who is responsible for the key. It is revoked when this member leaves.
    pub owned_by: Option<Uuid>,
    /// When that member took over the key from another.
    pub adopted_at: Option<DateTimeUtc>,
    /// When it was created.
    pub created_at: DateTimeUtc,
    /// When it expires, if it does.
    pub expires_at: Option<DateTimeUtc>,
    /// When somebody revoked it.
    pub revoked_at: Option<DateTimeUtc>,
}

/// No relations: queries join Daybook's tables explicitly.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
