//! A request that must not be executed twice.

use sea_orm::entity::prelude::*;

/// A request that must not be executed twice.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "idempotency_keys")]
pub struct Model {
    /// The team.
    #[sea_orm(primary_key, auto_increment = false)]
    pub team_id: Uuid,
    /// The owner of the key: the actor's kind and id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub actor: String,
    /// The `Idempotency-Key`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: String,
    /// SHA-256 of method, path and body: the same key with a different request is refused.
    #[sea_orm(column_type = "VarBinary(StringLen::None)")]
    pub request_sha256: Vec<u8>,
    /// The response's status; null until the response is stored.
    pub status: Option<i16>,
    /// The response's `Content-Type`.
    pub content_type: Option<String>,
    /// The response's `ETag`.
    pub etag: Option<String>,
    /// The response's `Location`.
    pub location: Option<String>,
    /// The response's body.
    #[sea_orm(column_type = "VarBinary(StringLen::None)", nullable)]
    pub body: Option<Vec<u8>>,
    /// The story of the request that did the work.
    pub correlation_id: Uuid,
    /// When the key was first used.
    pub created_at: DateTimeUtc,
}

/// No relations: queries join Daybook's tables explicitly.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
