//! Checks at start, through the service's own pool, that the run-time role is bound by row-level security, and that
//! policies, triggers, functions and grants are as the migrations made them.
//!
//! A finding is either an error, with which the service doesn't start, or a warning, which is only logged. Before the
//! service refuses to start, it checks once more: a migration that another process was finishing is complete by then.

mod catalogue;
mod findings;

use std::time::Duration;

use daybook_migration::rls::RELAY_ROLE;
use sqlx::postgres::{PgConnection, PgPool, PgRow};
use sqlx::{Executor, Row};

use self::findings::Findings;
use crate::clock::Clock;
use crate::error::{Error, Result};

/// Maximum time that a start waits for another process's migration to end.
const MAX_MIGRATION_WAIT: Duration = Duration::from_secs(10);
/// How often the start checks whether that migration still runs.
const MIGRATION_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Runs the self-check through the pool, so that it tests exactly the role and the settings that requests will have.
///
/// With `strict`, a login that could become a role that policies don't bind is refused as well.
///
/// # Errors
/// One [`Error::Internal`] that lists everything that was found, each with its remedy.
pub(super) async fn refuse_what_breaks_isolation(pool: &PgPool, strict: bool, clock: &Clock) -> Result<()> {
    let mut findings = examine(pool, strict, clock).await?;
    if !findings.refused.is_empty() {
        await_running_migration(pool, clock).await?;
        findings = examine(pool, strict, clock).await?;
    }
    for warning in findings.warned {
        tracing::warn!("self-check: {warning}");
    }
    if findings.refused.is_empty() {
        return Ok(());
    }
    Err(Error::internal(format!(
        "refusing to serve: {}",
        findings.refused.join("; ")
    )))
}

/// Returns when no process migrates this database, or after [`MAX_MIGRATION_WAIT`].
///
/// A migration that has recorded its last step still migrates the queue and grants rights. It holds the lock of
/// [`Migrations`](super::Migrations) until all of that is done.
async fn await_running_migration(pool: &PgPool, clock: &Clock) -> Result<()> {
    let began = clock.instant();
    loop {
        let row = pool
            .fetch_one(
                "SELECT EXISTS (SELECT FROM pg_locks WHERE granted AND mode = 'ShareRowExclusiveLock'
                     AND relation = to_regclass('public.daybook_migrations_lock')
                     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) AS is_migrating",
            )
            .await?;
        if !row.try_get::<bool, _>("is_migrating")? || clock.elapsed_since(began) > MAX_MIGRATION_WAIT {
            return Ok(());
        }
        tokio::time::sleep(MIGRATION_POLL_INTERVAL).await;
    }
}

async fn examine(pool: &PgPool, strict: bool, clock: &Clock) -> Result<Findings> {
    // All queries run in one transaction, because a pooler may send statements outside transactions to different
    // server connections.
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
    let unprotected_tables: Vec<String> = (&mut *tx)
        .fetch_all(
            // In schemas other than `public`, only tables that the role can use are checked.
            "SELECT CASE n.nspname WHEN 'public' THEN '' ELSE n.nspname || '.' END || c.relname AS name
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE (n.nspname = 'public' OR n.nspname NOT IN ('pg_catalog', 'information_schema')
                    AND has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE')) AND c.relkind IN ('r', 'p')
               AND NOT (c.relrowsecurity AND c.relforcerowsecurity)
               AND (n.nspname = 'public' AND c.relname IN ('teams', 'users') OR EXISTS (SELECT FROM pg_attribute a
                    WHERE a.attrelid = c.oid AND a.attname = 'team_id' AND NOT a.attisdropped))
             ORDER BY 1",
        )
        .await?
        .iter()
        .map(|row| row.try_get("name"))
        .collect::<Result<_, _>>()?;
    let unsafe_functions = functions_open_to_caller(&mut tx).await?;
    // Roles that the run-time role or the login is a member of, directly or through other roles, and so can become.
    let others = (&mut *tx)
        .fetch_all(
            "SELECT o.rolname::text AS name, o.rolsuper, o.rolbypassrls,
                    pg_has_role(current_user, o.oid, 'MEMBER') AS of_role,
                    EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                            WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND c.relowner = o.oid) AS owns
             FROM pg_roles o
             WHERE o.rolname NOT IN (current_user, session_user) AND pg_has_role(session_user, o.oid, 'MEMBER')
                OR o.rolname <> current_user AND pg_has_role(current_user, o.oid, 'MEMBER')
             ORDER BY 1",
        )
        .await?;
    let mut findings = catalogue::compare(&mut tx, clock).await?;
    tx.rollback().await?;

    let mut refused = powers_of_role(&role, &others)?;
    refused.extend(unprotected_tables.into_iter().map(|table| {
        format!("table {table} has team rows and no forced row-level security; call enable_team_rls in its migration")
    }));
    refused.extend(unsafe_functions);
    refused.append(&mut findings.refused);
    if let Some(why) = powers_of_login(&role, &others)? {
        let login: &str = role.try_get("login")?;
        let warning = format!(
            "the session's login {login} {why}: SET ROLE could see past every policy; \
             set DATABASE_URL or DAYBOOK_APP_URL to a login of which this is not true"
        );
        match strict {
            true => refused.push(format!("{warning} (DAYBOOK_STRICT_ROLES=on)")),
            false => findings.warned.push(warning),
        }
    }
    Ok(Findings { refused, ..findings })
}

/// Returns the properties and memberships of the run-time role by which it would see past the policies.
fn powers_of_role(role: &PgRow, others: &[PgRow]) -> Result<Vec<String>> {
    let name: &str = role.try_get("role")?;
    let mut findings = Vec::new();
    let is_superuser: bool = role.try_get("rolsuper")?;
    if is_superuser {
        findings.push(format!(
            "role {name} is a superuser, and policies don't bind superusers; set DAYBOOK_APP_URL to another login, or \
             ALTER ROLE {name} NOSUPERUSER"
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
    // A superuser counts as a member of every role, so its memberships add no information.
    if !is_superuser {
        for other in others {
            if other.try_get("of_role")?
                && let Some(why) = sees_past_policies(other)?
            {
                let other: &str = other.try_get("name")?;
                findings.push(format!(
                    "role {name} is a member of {other}, which {why}, and SET ROLE {other} would see past the policies; \
                     REVOKE {other} FROM {name}, or from the role through which {name} is a member"
                ));
            }
        }
    }
    Ok(findings)
}

/// Finds ways for the role to run its own code with the rights of a function's owner: the right to create temporary
/// objects in the database, and SECURITY DEFINER functions that look up names where the role can create objects.
async fn functions_open_to_caller(connection: &mut PgConnection) -> Result<Vec<String>> {
    let temp = connection
        .fetch_one(
            "SELECT NOT r.rolsuper AND has_database_privilege(r.oid, d.oid, 'TEMPORARY') AS may,
                    has_database_privilege('public', d.oid, 'TEMPORARY') AS as_anybody,
                    quote_ident(d.datname) AS database, quote_ident(r.rolname) AS role
             FROM pg_roles r, pg_database d WHERE r.rolname = current_user AND d.datname = current_database()",
        )
        .await?;
    let mut findings = Vec::new();
    if temp.try_get("may")? {
        let (database, role): (&str, &str) = (temp.try_get("database")?, temp.try_get("role")?);
        let from = if temp.try_get("as_anybody")? { "PUBLIC" } else { role };
        findings.push(format!(
            "role {role} may create temporary objects in the database, with which it could act as the owner of a function; \
             as the database's owner: REVOKE TEMPORARY ON DATABASE {database} FROM {from}"
        ));
    }
    // Trigger functions run even for a role that has no EXECUTE on them. Functions of extensions are not checked: their
    // authors are responsible for them.
    let functions = connection
        .fetch_all(
            "SELECT f.signature, f.pinned, (SELECT string_agg(n.nspname::text, ', ') FROM pg_namespace n
                WHERE n.nspname = ANY (f.path) AND has_schema_privilege(current_user, n.oid, 'CREATE')) AS writable
             FROM (
                SELECT p.oid::regprocedure::text AS signature, setting ~ ',\\s*\"?pg_temp\"?$' AS pinned,
                    regexp_split_to_array(replace(substr(setting, length('search_path=') + 1), '\"', ''), ',\\s*') AS path
                FROM pg_proc p
                JOIN pg_namespace n ON n.oid = p.pronamespace
                JOIN pg_roles r ON r.rolname = current_user
                LEFT JOIN LATERAL (SELECT s AS setting FROM unnest(p.proconfig) AS s WHERE s LIKE 'search\\_path=%') c ON true
                WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND NOT r.rolsuper
                  AND (has_function_privilege(r.oid, p.oid, 'EXECUTE') OR p.prorettype = 'trigger'::regtype)
                  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid
                                  AND d.deptype = 'e')
             ) f ORDER BY 1",
        )
        .await?;
    for function in &functions {
        let signature: &str = function.try_get("signature")?;
        if function.try_get::<Option<bool>, _>("pinned")? != Some(true) {
            findings.push(format!(
                "function {signature} runs as its owner and looks up names among the caller's temporary objects; \
                 ALTER FUNCTION {signature} SET search_path = pg_catalog, pg_temp (after schema-qualifying the names in it)"
            ));
        } else if let Some(schemas) = function.try_get::<Option<&str>, _>("writable")? {
            findings.push(format!(
                "function {signature} runs as its owner and looks up names in {schemas}, where the run-time role may create \
                 objects; REVOKE CREATE ON SCHEMA {schemas} FROM PUBLIC, or leave it out of the function's search_path"
            ));
        }
    }
    Ok(findings)
}

/// Returns why a role sees past the policies, as the end of a sentence "role r, which …"; `None` if it does not.
fn sees_past_policies(other: &PgRow) -> Result<Option<&'static str>> {
    Ok(if other.try_get("rolsuper")? {
        Some("is a superuser")
    } else if other.try_get("rolbypassrls")? {
        Some("has BYPASSRLS")
    } else if other.try_get::<&str, _>("name")? == RELAY_ROLE {
        Some("sees events across teams")
    } else if other.try_get("owns")? {
        Some("owns tables")
    } else {
        None
    })
}

/// Returns why the login behind the run-time role deserves a warning: no policy binds it, or a role that it can become.
/// A login that owns the tables is bound by their policies: one login for everything is an ordinary set-up.
fn powers_of_login(role: &PgRow, others: &[PgRow]) -> Result<Option<String>> {
    if role.try_get::<Option<bool>, _>("login_is_superuser")? == Some(true) {
        return Ok(Some("is a superuser".to_owned()));
    }
    for other in others {
        let why = match sees_past_policies(other)? {
            Some(why) if other.try_get("rolsuper")? || other.try_get("rolbypassrls")? => why,
            _ => continue,
        };
        let other: &str = other.try_get("name")?;
        return Ok(Some(format!("is a member of {other}, which {why}")));
    }
    Ok(None)
}
