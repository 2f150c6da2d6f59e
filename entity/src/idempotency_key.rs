//! A request that must not happen twice.

use sea_orm::entity::prelude::*;

/// A request that must not happen twice.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "idempotency_keys")]
pub struct Model {
    /// The team.
    #[sea_orm(primary_key, auto_increment = false)]
    pub team_id: Uuid,
    /// Whose key it is: the actor's kind and id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub actor: String,
    /// The `Idempotency-Key`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: String,
    /// SHA-256 of method, path and body: the same key with another request is refused.
    #[sea_orm(column_type = "VarBinary(StringLen::None)")]
    pub request_sha256: Vec<u8>,
    /// The answer's status; none until the answer is stored.
    pub status: Option<i16>,
    /// The answer's type.
    pub content_type: Option<String>,
    /// The answer's version.
    pub etag: Option<String>,
    /// Where what was made is.
    pub location: Option<String>,
    /// The answer's body.
    #[sea_orm(column_type = "VarBinary(StringLen::None)", nullable)]
    pub body: Option<Vec<u8>>,
    /// The story of the request that did the work.
    pub correlation_id: Uuid,
    /// When it was first seen.
    pub created_at: DateTimeUtc,
}

/// Daybook's tables are joined by hand.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
