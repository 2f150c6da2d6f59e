//! The service's question to itself at start: could my role see past the policies?

use sqlx::postgres::PgPool;
use sqlx::{Executor, Row};

use crate::error::{Error, Result};

/// Asks through the pool itself, so that what is asked is what requests will be.
///
/// # Errors
/// One [`Error::Internal`] that lists everything found, each with its remedy.
pub(super) async fn refuse_roles_that_see_past_policies(pool: &PgPool, strict: bool) -> Result<()> {
    // One connection for all of it, inside a transaction: a pooler may spread anything else.
    let mut tx = pool.begin().await?;
    let role = (&mut *tx)
        .fetch_one(
            "SELECT current_user::text AS role, session_user::text AS login, r.rolsuper, r.rolbypassrls,
                    (SELECT rolsuper FROM pg_roles WHERE rolname = session_user) AS login_is_superuser,
                    ARRAY(SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                          WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND c.relowner = r.oid
                          ORDER BY c.relname) AS owned
             FROM pg_roles r WHERE r.rolname = current_user",
        )
        .await?;
    let open_tables: Vec<String> = (&mut *tx)
        .fetch_all(
            "SELECT c.relname::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p')
               AND NOT (c.relrowsecurity AND c.relforcerowsecurity)
               AND (c.relname IN ('teams', 'users') OR EXISTS (SELECT FROM pg_attribute a
                    WHERE a.attrelid = c.oid AND a.attname = 'team_id' AND NOT a.attisdropped))
             ORDER BY 1",
        )
        .await?
        .iter()
        .map(|row| row.try_get("name"))
        .collect::<Result<_, _>>()?;
    tx.rollback().await?;

    let name: String = role.try_get("role")?;
    let mut findings = Vec::new();
    if role.try_get::<bool, _>("rolsuper")? {
        findings.push(format!(
            "role {name} is a superuser, and policies don't bind superusers"
        ));
    }
    if role.try_get::<bool, _>("rolbypassrls")? {
        findings.push(format!("role {name} has BYPASSRLS; ALTER ROLE {name} NOBYPASSRLS"));
    }
    let owned: Vec<String> = role.try_get("owned")?;
    if !owned.is_empty() {
        findings.push(format!(
            "role {name} owns {}; the run-time role must own no table: migrate as another role",
            owned.join(", ")
        ));
    }
    for table in open_tables {
        findings.push(format!(
            "table {table} has team rows and no forced row-level security; call enable_team_rls in its migration"
        ));
    }
    if !findings.is_empty() {
        return Err(Error::internal(format!("refusing to serve: {}", findings.join("; "))));
    }
    if role.try_get::<Option<bool>, _>("login_is_superuser")? == Some(true) {
        let login: String = role.try_get("login")?;
        let warning = format!(
            "the session's login {login} is a superuser: SET ROLE NONE would see past every policy; \
             give DATABASE_URL or DAYBOOK_APP_URL a login that is not"
        );
        if strict {
            return Err(Error::internal(format!(
                "refusing to serve: {warning} (DAYBOOK_STRICT_ROLES=on)"
            )));
        }
        tracing::warn!("{warning}");
    }
    Ok(())
}
