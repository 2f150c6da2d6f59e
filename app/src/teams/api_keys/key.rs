//! A key as it is listed.

use chrono::{DateTime, Utc};
use daybook_entity::api_key;
use serde::Serialize;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::tenancy::{Role, TeamTx};

/// Columns of a [`KeyInfo`].
pub(super) const COLUMNS: &str =
    "id, name, prefix, role, created_by, owned_by, adopted_at, created_at, expires_at, revoked_at";

/// A key as it is listed, without the secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ApiKey)]
pub struct KeyInfo {
    /// The id, a UUIDv7.
    pub id: Uuid,
    /// The name of the key in sentences.
    pub name: String,
    /// The part between the key's underscores, which identifies it.
    pub prefix: String,
    /// The key's role.
    pub role: Role,
    /// The person who created it.
    pub created_by: Option<Uuid>,
    /// The member who is responsible for it: it is revoked when they leave, unless another admin adopts it before.
    /// `None` if the creator isn't known.
    pub owned_by: Option<Uuid>,
    /// When the responsible member adopted it.
    pub adopted_at: Option<DateTime<Utc>>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it expires, if it does.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}

impl TryFrom<api_key::Model> for KeyInfo {
    type Error = Error;

    fn try_from(row: api_key::Model) -> Result<Self> {
        Ok(Self {
            id: row.id,
            name: row.name,
            prefix: row.prefix,
            role: row.role.parse()?,
            created_by: row.created_by,
            owned_by: row.owned_by,
            adopted_at: row.adopted_at,
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
        })
    }
}

/// Locks a key for a change.
///
/// # Errors
/// [`Error::NotFound`] if there is no such key.
pub(super) async fn lock_key(tx: &TeamTx, id: Uuid) -> Result<KeyInfo> {
    let sql = format!("SELECT {COLUMNS} FROM api_keys WHERE team_id = $1 AND id = $2 FOR UPDATE");
    let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(tx.team_id()).bind(id);
    let row = tx
        .fetch_optional(query)
        .await?
        .ok_or_else(|| Error::not_found("API key"))?;
    key(&row)
}

/// Reads a key from a row with [`COLUMNS`].
pub(super) fn key(row: &PgRow) -> Result<KeyInfo> {
    Ok(KeyInfo {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        prefix: row.try_get("prefix")?,
        role: row.try_get::<&str, _>("role")?.parse()?,
        created_by: row.try_get("created_by")?,
        owned_by: row.try_get("owned_by")?,
        adopted_at: row.try_get("adopted_at")?,
        created_at: row.try_get("created_at")?,
        expires_at: row.try_get("expires_at")?,
        revoked_at: row.try_get("revoked_at")?,
    })
}
