//! What the service checks at start, through its own pool: that its role is bound by the policies, and that policies,
//! triggers, functions and grants are as the migrations made them.

mod catalogue;

use daybook_migration::rls::RELAY_ROLE;
use sqlx::postgres::{PgConnection, PgPool, PgRow};
use sqlx::{Executor, Row};

use crate::error::{Error, Result};

/// Asks through the pool itself, so that what is asked is what requests will be.
///
/// # Errors
/// One [`Error::Internal`] that lists everything found, each with its remedy.
pub(super) async fn refuse_what_breaks_isolation(pool: &PgPool, strict: bool) -> Result<()> {
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
            // In schemas other than `public`, those that the role can reach.
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
    let unsafe_functions = open_to_temporary_objects(&mut tx).await?;
    // What the role or the login could become: other roles that they are, directly or by others, members of.
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
    let schema = catalogue::compare(&mut tx).await?;
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
    // A superuser is a member of every role, which says nothing more.
    if !role.try_get::<bool, _>("rolsuper")? {
        for other in &others {
            if other.try_get("of_role")?
                && let Some(why) = sees_past_policies(other)?
            {
                let other: String = other.try_get("name")?;
                findings.push(format!(
                    "role {name} is a member of {other}, which {why}, and SET ROLE {other} would see past the policies; \
                     REVOKE {other} FROM {name}, or from the role that it has {other} by"
                ));
            }
        }
    }
    for table in open_tables {
        findings.push(format!(
            "table {table} has team rows and no forced row-level security; call enable_team_rls in its migration"
        ));
    }
    findings.extend(unsafe_functions);
    findings.extend(schema.refused);
    for warning in schema.warned {
        tracing::warn!("{warning}");
    }
    if !findings.is_empty() {
        return Err(Error::internal(format!("refusing to serve: {}", findings.join("; "))));
    }
    let Some(why) = login_sees_past_policies(&role, &others)? else {
        return Ok(());
    };
    let login: String = role.try_get("login")?;
    let warning = format!(
        "the session's login {login} {why}: SET ROLE could see past every policy; \
         give DATABASE_URL or DAYBOOK_APP_URL a login that is not"
    );
    if strict {
        return Err(Error::internal(format!(
            "refusing to serve: {warning} (DAYBOOK_STRICT_ROLES=on)"
        )));
    }
    tracing::warn!("{warning}");
    Ok(())
}

/// What lets the role run code of its own as the owner of a function: TEMP on the database, or a function that runs as its
/// owner and would find the role's objects before the right ones.
async fn open_to_temporary_objects(connection: &mut PgConnection) -> Result<Vec<String>> {
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
    // Trigger functions run whether or not one may call them. What belongs to an extension is its author's.
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

/// Why a role that one could become must not be one, if so: the end of "which …".
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

/// What about the login behind the role deserves a warning: that it is, or could become, a role that no policy
/// binds. That it is the tables' owner, who is bound, is the ordinary set-up of one login for everything.
fn login_sees_past_policies(role: &PgRow, others: &[PgRow]) -> Result<Option<String>> {
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
