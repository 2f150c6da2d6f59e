//! The queue's own schema, `graphile_worker`, which its crate brings along, and who may use it.

use graphile_worker_migrations::sql::GRAPHILE_WORKER_MIGRATIONS;
use sea_orm_migration::sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, Statement};

use crate::rls::WORKER_ROLE;

/// Where the queue's tables are.
pub const SCHEMA: &str = "graphile_worker";

/// Applies the queue's migrations, and lets the workers, and nobody else, use its tables.
///
/// # Errors
/// The first step that failed; the ones before it stay applied.
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

/// What the queue's schema is, and what it is still to become, by names such as `graphile_worker_22`.
///
/// # Errors
/// As any statement.
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
    // Rights come last: until they are there, nothing is.
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

/// Lets the workers, and nobody else, call the queue's functions, and pins the search path of those that run as their
/// owner or in a trigger. Does nothing where there is no queue yet.
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

/// The queue's tables have row-level security and no policy: nobody but their owner can use them, until now.
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
