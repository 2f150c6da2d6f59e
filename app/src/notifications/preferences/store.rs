//! The SQL of preferences. They are applied when notifications are written: `notifications/store/deliver.rs`.

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::rule::Rule;
use crate::error::{Error, Result};
use crate::tenancy::TeamTx;

/// A person's preference.
#[derive(Debug)]
pub(super) struct PreferenceRow {
    pub(super) rule: Rule,
    pub(super) in_app: bool,
    pub(super) updated_at: DateTime<Utc>,
}

/// Returns a person's preferences in the order of object type and event type, after the given ones. Returns `limit + 1`
/// rows if there are more than `limit`.
///
/// # Errors
/// Those of any database statement.
pub(super) async fn preferences(
    tx: &TeamTx,
    user_id: Uuid,
    after: Option<(String, String)>,
    limit: u64,
) -> Result<Vec<PreferenceRow>> {
    let (object_type, event_type) = after.unwrap_or_default();
    let query = sqlx::query(
        "SELECT event_type, object_type, in_app, updated_at FROM notification_preferences
         WHERE team_id = $1 AND user_id = $2 AND (object_type, event_type) > ($3, $4)
         ORDER BY object_type, event_type LIMIT $5",
    )
    .bind(tx.team_id())
    .bind(user_id)
    .bind(object_type)
    .bind(event_type)
    .bind(i64::try_from(limit + 1).map_err(Error::internal)?);
    tx.fetch_all(query).await?.iter().map(preference_row).collect()
}

/// Sets a preference. If it already has that value, its time stays.
///
/// # Errors
/// Those of any database statement.
pub(super) async fn set_preference(tx: &TeamTx, user_id: Uuid, rule: &Rule, in_app: bool) -> Result<PreferenceRow> {
    let (event_type, object_type) = rule.columns();
    let query = sqlx::query(
        "INSERT INTO notification_preferences AS p (team_id, user_id, event_type, object_type, in_app)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (team_id, user_id, object_type, event_type) DO UPDATE SET
             in_app = excluded.in_app,
             updated_at = CASE WHEN p.in_app = excluded.in_app THEN p.updated_at ELSE now() END
         RETURNING event_type, object_type, in_app, updated_at",
    )
    .bind(tx.team_id())
    .bind(user_id)
    .bind(event_type)
    .bind(object_type)
    .bind(in_app);
    let row = tx
        .fetch_optional(query)
        .await?
        .ok_or_else(|| Error::internal("the INSERT of a preference returned no row"))?;
    preference_row(&row)
}

/// Deletes a preference, if it exists. The names are not validated: an invalid name matches no row.
///
/// # Errors
/// Those of any database statement.
pub(super) async fn delete_preference(tx: &TeamTx, user_id: Uuid, event_type: &str, object_type: &str) -> Result<()> {
    let query = sqlx::query(
        "DELETE FROM notification_preferences
         WHERE team_id = $1 AND user_id = $2 AND event_type = $3 AND object_type = $4",
    )
    .bind(tx.team_id())
    .bind(user_id)
    .bind(event_type)
    .bind(object_type);
    tx.execute_sql(query).await?;
    Ok(())
}

/// Returns whether the team has a thread of an object of this type.
///
/// # Errors
/// Those of any database statement.
pub(super) async fn has_thread_of(tx: &TeamTx, object_type: &str) -> Result<bool> {
    let query = sqlx::query("SELECT FROM threads WHERE team_id = $1 AND object_type = $2 LIMIT 1")
        .bind(tx.team_id())
        .bind(object_type);
    Ok(tx.fetch_optional(query).await?.is_some())
}

fn preference_row(row: &PgRow) -> Result<PreferenceRow> {
    Ok(PreferenceRow {
        rule: Rule::parse(row.try_get("event_type")?, row.try_get("object_type")?).map_err(Error::internal)?,
        in_app: row.try_get("in_app")?,
        updated_at: row.try_get("updated_at")?,
    })
}
