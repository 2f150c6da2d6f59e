//! Owners of API keys, and what happens to the keys when an owner leaves or gets a lower role.

use sqlx::Row as _;
use uuid::Uuid;

use super::key::{COLUMNS, KeyInfo, key, lock_key};
use crate::auth::ACCESS;
use crate::error::{Error, Result};
use crate::teams::record::{AccessEvent, record};
use crate::tenancy::{Actor, Role, TeamTx};

/// SQL condition for the keys that a member is responsible for: those they own, and those they created (also on behalf
/// of another person) that nobody else has adopted.
const KEYS_OF: &str = "team_id = $1 AND revoked_at IS NULL
    AND (owned_by = $2 OR (created_by = $2 AND adopted_at IS NULL))";
/// Maximum number of valid keys per responsible member. They are revoked in one transaction when the member leaves,
/// with one event each.
const MAX_KEYS_PER_MEMBER: i64 = 500;

/// Returns the member who is responsible for what the actor creates, and locks the member's row until the transaction
/// ends. A transaction that removes or demotes the member waits for this lock, and then sees what was created. Returns
/// `None` for the service itself.
///
/// # Errors
/// [`Error::NotFound`] of the team, or [`Error::Unauthenticated`] for a key, if the actor was removed in the meantime;
/// [`Error::Forbidden`] if their role is now less than `needed`.
pub(in crate::teams) async fn lock_owner(tx: &TeamTx, needed: Role) -> Result<Option<Uuid>> {
    let key_id = match &tx.context().actor {
        Actor::ApiKey { id, .. } => Some(*id),
        Actor::User { .. } => None,
        Actor::Job { .. } | Actor::System { .. } => return Ok(None),
        // A key without an owner would never be revoked.
        other => return Err(Error::internal(format!("a {} can't own what it creates", other.kind()))),
    };
    let owner = match key_id {
        None => tx.context().person_id(),
        Some(id) => find_owner(tx, id).await?,
    };
    if let Some(owner) = owner {
        let query = sqlx::query("SELECT role FROM memberships WHERE team_id = $1 AND user_id = $2 FOR SHARE")
            .bind(tx.team_id())
            .bind(owner);
        let row = tx.fetch_optional(query).await?;
        let role: Role = match (&row, key_id) {
            (Some(row), _) => row.try_get::<&str, _>("role")?.parse()?,
            (None, None) => return Err(Error::not_found("team")),
            (None, Some(_)) => return Err(revoked()),
        };
        if role < needed {
            return Err(Error::Forbidden {
                detail: format!("this needs the role {needed}; yours is {role}"),
            });
        }
    }
    if let Some(id) = key_id {
        // Locked after the member's row, in the same order as a transaction that removes them.
        let query = sqlx::query(
            "SELECT role FROM api_keys WHERE team_id = $1 AND id = $2 AND revoked_at IS NULL AND owned_by IS NOT DISTINCT FROM $3
             FOR SHARE",
        );
        let query = query.bind(tx.team_id()).bind(id).bind(owner);
        let row = tx.fetch_optional(query).await?.ok_or_else(revoked)?;
        let role: Role = row.try_get::<&str, _>("role")?.parse()?;
        if role < needed {
            return Err(Error::Forbidden {
                detail: format!("this needs the role {needed}; the key's is {role}"),
            });
        }
    }
    Ok(owner)
}

/// Checks that a member may have one more key. Keys that are created concurrently may exceed the limit.
///
/// # Errors
/// [`Error::Conflict`] `too-many-api-keys`.
pub(super) async fn require_room(tx: &TeamTx, member: Uuid) -> Result<()> {
    let sql = format!("SELECT FROM (SELECT FROM api_keys WHERE {KEYS_OF} LIMIT $3) k HAVING count(*) = $3");
    let query = sqlx::query(sqlx::AssertSqlSafe(sql));
    let query = query.bind(tx.team_id()).bind(member).bind(MAX_KEYS_PER_MEMBER);
    match tx.fetch_optional(query).await? {
        None => Ok(()),
        Some(_) => Err(Error::conflict(
            "too-many-api-keys",
            format!(
                "a member can have at most {MAX_KEYS_PER_MEMBER} API keys that are not revoked; revoke those that are not used"
            ),
        )),
    }
}

/// Returns whether a member is responsible for a key that is not revoked: the same condition as [`KEYS_OF`].
fn is_key_of(key: &KeyInfo, member: Uuid) -> bool {
    key.owned_by == Some(member) || key.created_by == Some(member) && key.adopted_at.is_none()
}

async fn find_owner(tx: &TeamTx, key_id: Uuid) -> Result<Option<Uuid>> {
    let query = sqlx::query("SELECT owned_by FROM api_keys WHERE team_id = $1 AND id = $2")
        .bind(tx.team_id())
        .bind(key_id);
    let row = tx.fetch_optional(query).await?.ok_or_else(revoked)?;
    Ok(row.try_get("owned_by")?)
}

fn revoked() -> Error {
    Error::unauthenticated("the API key is not valid for this team")
}

/// Makes the acting person responsible for a key.
///
/// # Errors
/// [`Error::Forbidden`] if the actor is not an admin, or is itself a key; [`Error::NotFound`] if there is no such key;
/// [`Error::Conflict`] `key-revoked` or `too-many-api-keys`.
pub async fn adopt_key(tx: &TeamTx, id: Uuid) -> Result<KeyInfo> {
    tx.require(Role::Admin)?;
    if !matches!(tx.context().actor, Actor::User { .. }) {
        return Err(Error::Forbidden {
            detail: "only a person can adopt an API key: authenticate with a person's token".to_owned(),
        });
    }
    let owner = lock_owner(tx, Role::Admin).await?;
    let before = lock_key(tx, id).await?;
    if before.revoked_at.is_some() {
        return Err(Error::conflict(
            "key-revoked",
            "the key was revoked permanently; create another one",
        ));
    }
    if before.owned_by == owner && before.adopted_at.is_some() {
        return Ok(before);
    }
    if let Some(owner) = owner
        && !is_key_of(&before, owner)
    {
        require_room(tx, owner).await?;
    }
    let sql = format!(
        "UPDATE api_keys SET owned_by = $3, adopted_at = now() WHERE team_id = $1 AND id = $2 RETURNING {COLUMNS}"
    );
    let query = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(tx.team_id())
        .bind(id)
        .bind(owner);
    let row = tx
        .fetch_optional(query)
        .await?
        .ok_or_else(|| Error::internal("the UPDATE of a locked API key returned no row"))?;
    let after = key(&row)?;
    record(tx, [AccessEvent::key_adopted(&before, &after)]).await?;
    Ok(after)
}

/// Revokes the keys of a member who leaves, and records the events.
///
/// # Errors
/// Those of any database statement.
pub(in crate::teams) async fn revoke_keys_of(tx: &TeamTx, user_id: Uuid) -> Result<Vec<KeyInfo>> {
    let sql = format!("UPDATE api_keys SET revoked_at = now() WHERE {KEYS_OF} RETURNING {COLUMNS}");
    let keys = keys(
        tx,
        sqlx::query(sqlx::AssertSqlSafe(sql)).bind(tx.team_id()).bind(user_id),
    )
    .await?;
    tx.signal(ACCESS);
    record(tx, keys.iter().map(|key| AccessEvent::key_revoked(key, "owner_left"))).await?;
    Ok(keys)
}

/// Lowers the keys of a member to the member's new role, and records the events.
///
/// # Errors
/// Those of any database statement.
pub(in crate::teams) async fn lower_keys_of(tx: &TeamTx, user_id: Uuid, role: Role) -> Result<Vec<KeyInfo>> {
    tx.signal(ACCESS);
    let too_high: &[&str] = match role {
        Role::Admin | Role::Owner => return Ok(Vec::new()),
        Role::Member => &["admin"],
        Role::Viewer => &["admin", "member"],
    };
    let sql = format!("UPDATE api_keys SET role = $3 WHERE {KEYS_OF} AND role = ANY ($4) RETURNING {COLUMNS}");
    let query = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(tx.team_id())
        .bind(user_id)
        .bind(role.as_str())
        .bind(too_high);
    let keys = keys(tx, query).await?;
    record(tx, keys.iter().map(AccessEvent::key_lowered)).await?;
    Ok(keys)
}

async fn keys(
    tx: &TeamTx,
    query: sqlx::query::Query<'_, sqlx::Postgres, sqlx::postgres::PgArguments>,
) -> Result<Vec<KeyInfo>> {
    let mut keys: Vec<KeyInfo> = tx.fetch_all(query).await?.iter().map(key).collect::<Result<_>>()?;
    keys.sort_by_key(|key| key.id);
    Ok(keys)
}
