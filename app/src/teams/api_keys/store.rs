//! API keys in the database.

use chrono::{DateTime, Utc};
use daybook_entity::api_key;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Set};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::owners::{lock_key, lock_owner, require_room};
use crate::auth::ACCESS;
use crate::auth::ApiKey;
use crate::error::{Error, FieldError, Result};
use crate::teams::person::is_line;
use crate::teams::record::{AccessEvent, record};
use crate::tenancy::moments::{MUST_BE_WRITABLE, is_writable};
use crate::tenancy::{Role, TeamTx};

const MAX_NAME_CHARS: usize = 200;

/// The role of a key. A key can't be an owner: owners are people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyRole {
    /// May read.
    Viewer,
    /// May read and write.
    Member,
    /// May also manage members and API keys.
    Admin,
}

impl From<KeyRole> for Role {
    fn from(role: KeyRole) -> Self {
        match role {
            KeyRole::Viewer => Self::Viewer,
            KeyRole::Member => Self::Member,
            KeyRole::Admin => Self::Admin,
        }
    }
}

/// A key to be created.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewApiKey)]
pub struct NewKey {
    /// The name of the key in sentences.
    #[schema(min_length = 1, max_length = 200)]
    pub name: String,
    /// The key's role.
    pub role: KeyRole,
    /// When it expires; never, if not given.
    pub expires_at: Option<DateTime<Utc>>,
}

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

/// Returns the keys before an id, newest first, including revoked and expired ones; `None` starts at the newest.
///
/// # Errors
/// Those of any database statement.
pub async fn list_keys(tx: &TeamTx, before: Option<Uuid>, limit: u64) -> Result<Vec<KeyInfo>> {
    let mut query = api_key::Entity::find().order_by_desc(api_key::Column::Id).limit(limit);
    if let Some(last) = before {
        query = query.filter(api_key::Column::Id.lt(last));
    }
    query.all(tx).await?.into_iter().map(KeyInfo::try_from).collect()
}

/// Creates a key and returns it in full, only this once.
///
/// # Errors
/// [`Error::Forbidden`] if the actor is not an admin, or has less than the key's role; [`Error::Invalid`] by field;
/// [`Error::Conflict`] `too-many-api-keys`.
pub async fn make_key(tx: &TeamTx, new: &NewKey) -> Result<(KeyInfo, ApiKey)> {
    let needed = Role::Admin.max(new.role.into());
    tx.require(needed)?;
    new.check(tx.clock().now())?;
    let owner = lock_owner(tx, needed).await?;
    let maker = tx.context().actor.user_id();
    for member in owner.into_iter().chain(maker.filter(|maker| Some(*maker) != owner)) {
        require_room(tx, member).await?;
    }
    let key = ApiKey::generate();
    let row = api_key::ActiveModel {
        id: Set(Uuid::now_v7()),
        team_id: Set(tx.team_id()),
        name: Set(new.name.clone()),
        prefix: Set(key.prefix().to_owned()),
        secret_sha256: Set(key.secret_sha256().to_vec()),
        role: Set(Role::from(new.role).as_str().to_owned()),
        created_by: Set(maker),
        owned_by: Set(owner),
        expires_at: Set(new.expires_at),
        ..Default::default()
    };
    let made: KeyInfo = api_key::Entity::insert(row).exec_with_returning(tx).await?.try_into()?;
    record(tx, [AccessEvent::key_created(&made)]).await?;
    Ok((made, key))
}

/// Revokes a key. A key that was revoked before keeps its time of revocation.
///
/// # Errors
/// [`Error::Forbidden`] if the actor is not an admin; [`Error::NotFound`] if there is no such key.
pub async fn revoke_key(tx: &TeamTx, id: Uuid) -> Result<()> {
    tx.require(Role::Admin)?;
    let key = lock_key(tx, id).await?;
    if key.revoked_at.is_none() {
        let query = sqlx::query("UPDATE api_keys SET revoked_at = now() WHERE team_id = $1 AND id = $2")
            .bind(tx.team_id())
            .bind(id);
        tx.execute_sql(query).await?;
        tx.signal(ACCESS);
        record(tx, [AccessEvent::key_revoked(&key, "by_hand")]).await?;
    }
    Ok(())
}

impl NewKey {
    fn check(&self, now: DateTime<Utc>) -> Result<()> {
        let mut wrong = Vec::new();
        if !is_line(&self.name, MAX_NAME_CHARS) {
            let detail = format!("must be 1 to {MAX_NAME_CHARS} characters of one line");
            wrong.push(FieldError {
                field: "name".to_owned(),
                detail,
            });
        }
        if self.expires_at.is_some_and(|at| at <= now) {
            wrong.push(FieldError {
                field: "expires_at".to_owned(),
                detail: "must be in the future".to_owned(),
            });
        } else if self.expires_at.is_some_and(|at| !is_writable(&at)) {
            wrong.push(FieldError {
                field: "expires_at".to_owned(),
                detail: MUST_BE_WRITABLE.to_owned(),
            });
        }
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(Error::Invalid(wrong))
        }
    }
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
