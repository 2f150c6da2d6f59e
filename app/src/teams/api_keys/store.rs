//! API keys in the database.

use chrono::{DateTime, Utc};
use daybook_entity::api_key;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Set};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::key::{KeyInfo, lock_key};
use super::owners::{lock_owner, require_room};
use crate::auth::ACCESS;
use crate::auth::ApiKey;
use crate::error::{Error, FieldError, Result};
use crate::teams::person::is_line;
use crate::teams::record::{AccessEvent, record};
use crate::tenancy::timestamps::{MUST_BE_WRITABLE, is_writable};
use crate::tenancy::{Role, TeamTx};

const MAX_NAME_CHARS: usize = 200;

/// The role of a key. A key can't be an owner: owners are people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
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
