//! Finds people and keys that have lost access to a team, for connections that outlive the request that checked it.

use sqlx::Row;
use uuid::Uuid;

use crate::error::Result;
use crate::tenancy::TeamTx;

/// Returns those of the given people who are no longer members, and those of the given API keys (by row id) that are no
/// longer valid. Uses one statement.
///
/// # Errors
/// Those of any database statement.
pub async fn lost_access(tx: &TeamTx, people: &[Uuid], keys: &[Uuid]) -> Result<(Vec<Uuid>, Vec<Uuid>)> {
    let query = sqlx::query(
        "SELECT true AS is_person, p.id FROM unnest($2::uuid[]) AS p (id)
         WHERE NOT EXISTS (SELECT FROM memberships m WHERE m.team_id = $1 AND m.user_id = p.id)
         UNION ALL
         SELECT false, k.id FROM unnest($3::uuid[]) AS k (id)
         WHERE NOT EXISTS (SELECT FROM api_keys a WHERE a.team_id = $1 AND a.id = k.id
             AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now()))",
    )
    .bind(tx.team_id())
    .bind(people)
    .bind(keys);
    let mut lost_access = (Vec::new(), Vec::new());
    for row in tx.fetch_all(query).await? {
        let list = if row.try_get("is_person")? {
            &mut lost_access.0
        } else {
            &mut lost_access.1
        };
        list.push(row.try_get("id")?);
    }
    Ok(lost_access)
}
