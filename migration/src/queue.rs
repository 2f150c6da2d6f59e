//! The schema of the queue, `graphile_worker`, which comes from the crate of that name, and the rights to use it.

use graphile_worker_migrations::sql::GRAPHILE_WORKER_MIGRATIONS;
use sea_orm_migration::sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, Statement};

use crate::rls::WORKER_ROLE;

/// The schema of the queue's tables.
pub const SCHEMA: &str = "graphile_worker";

/// Applies the queue's migrations, and lets only the workers use its tables.
///
/// # Errors
/// The error of the first step that failed; the steps before it stay applied.
pub async fn migrate(connection: &DatabaseConnection) -> Result<(), DbErr> {
    if status(connection).await?.1.is_none() {
        return Ok(());
    }
    let pool = connection.get_postgres_connection_pool().clone();
    graphile_worker_migrations::migrate(pool, SCHEMA)
        .await
        .map_err(|error| DbErr::Custom(format!("the queue's migrations: {error}")))?;
    connection.execute_unprepared(&function_rights()).await?;
    connection.execute_unprepared(&rights()).await?;
    Ok(())
}

/// Returns the applied version of the queue's schema, and the version that is still to be applied, by names such as
/// `graphile_worker_22`.
///
/// # Errors
/// The errors of any statement.
pub async fn status(connection: &DatabaseConnection) -> Result<(Option<String>, Option<String>), DbErr> {
    let newest = GRAPHILE_WORKER_MIGRATIONS
        .iter()
        .map(|migration| i64::from(migration.migration_number()))
        .max()
        .unwrap_or_default();
    let applied = applied(connection).await?;
    let name = |number: i64| format!("{SCHEMA}_{number}");
    Ok((
        (applied > 0).then(|| name(applied)),
        (applied < newest).then(|| name(newest)),
    ))
}

async fn applied(connection: &DatabaseConnection) -> Result<i64, DbErr> {
    let one = async |sql: String| {
        connection
            .query_one_raw(Statement::from_string(connection.get_database_backend(), sql))
            .await
    };
    // The rights are granted last: without them, the queue counts as not migrated.
    let there = one(format!(
        "SELECT to_regclass('{SCHEMA}.migrations') IS NOT NULL
            AND has_schema_privilege('{WORKER_ROLE}', '{SCHEMA}', 'USAGE') AS there
         FROM pg_roles WHERE rolname = '{WORKER_ROLE}' AND to_regnamespace('{SCHEMA}') IS NOT NULL"
    ))
    .await?;
    match there {
        Some(row) if row.try_get::<bool>("", "there")? => {}
        _ => return Ok(0),
    }
    let row = one(format!(
        "SELECT coalesce(max(id), 0)::bigint AS id FROM {SCHEMA}.migrations"
    ))
    .await?;
    row.map_or(Ok(0), |row| row.try_get("", "id"))
}

/// Returns SQL that lets only the workers call the queue's functions, and that pins the search path of those that run
/// as their owner or in a trigger. It does nothing if there is no queue yet.
pub(crate) fn function_rights() -> String {
    format!(
        "DO $$
         DECLARE called regprocedure;
         BEGIN
             IF to_regnamespace('{SCHEMA}') IS NULL THEN
                 RETURN;
             END IF;
             REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA {SCHEMA} FROM PUBLIC;
             GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {SCHEMA} TO {WORKER_ROLE};
             FOR called IN SELECT oid::regprocedure FROM pg_proc
                 WHERE pronamespace = '{SCHEMA}'::regnamespace AND (prosecdef OR prorettype = 'trigger'::regtype)
             LOOP
                 EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, pg_temp', called);
             END LOOP;
         END $$;"
    )
}

/// Returns SQL that grants the workers their rights on the queue's tables. The tables have row-level security without a
/// policy, so without this only their owner can use them.
fn rights() -> String {
    format!(
        "DO $$
         DECLARE named text;
         BEGIN
             FOR named IN SELECT format('%I.%I', n.nspname, c.relname)
                 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE n.nspname = '{SCHEMA}' AND c.relkind = 'r' AND c.relrowsecurity
             LOOP
                 EXECUTE 'DROP POLICY IF EXISTS workers ON ' || named;
                 EXECUTE 'CREATE POLICY workers ON ' || named || ' TO {WORKER_ROLE} USING (true)';
             END LOOP;
         END $$;
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {SCHEMA} TO {WORKER_ROLE};
         GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {SCHEMA} TO {WORKER_ROLE};
         GRANT USAGE ON SCHEMA {SCHEMA} TO {WORKER_ROLE};"
    )
}
