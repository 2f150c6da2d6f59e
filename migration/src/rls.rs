//! Turns a table into a team table, for Daybook's own migrations and for a user's.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, Statement, TransactionTrait};
use uuid::Uuid;

/// The role of requests and consumers. It sees the rows of one team, and nothing without a team.
pub const APP_ROLE: &str = "daybook_app";
/// The role of the relay. It sees the envelope columns of events of all teams, never their contents.
pub const RELAY_ROLE: &str = "daybook_relay";
/// The role of the workers. It owns the queue's work and creates partitions.
pub const WORKER_ROLE: &str = "daybook_worker";

/// Returns SQL that creates the run-time roles, and makes `owner` a member of those that it grants. Each text is one
/// script. A superuser runs them before the first migration if the migrating login has no right to create roles, which
/// the first migration would do otherwise. `owner` is quoted as an identifier.
pub fn role_scripts(owner: &str) -> Vec<String> {
    let owner = quoted(owner);
    let roles = [APP_ROLE, RELAY_ROLE, WORKER_ROLE].into_iter().map(|role| {
        format!(
            "DO $$ BEGIN
                 IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
                     CREATE ROLE {role} NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
                 END IF;
             END $$"
        )
    });
    let grants = format!("GRANT {APP_ROLE}, {WORKER_ROLE} TO {owner}; GRANT {RELAY_ROLE} TO {WORKER_ROLE}");
    roles.chain([grants]).collect()
}

/// The team that the transaction has entered; null, and so equal to nothing, if it has entered none.
///
/// After a commit, a custom setting is `''` instead of null; hence the `nullif`. There is no sub-select, so that the
/// planner sees the value.
pub const CURRENT_TEAM: &str = "nullif(current_setting('daybook.team_id', true), '')::uuid";

/// The person for whom the transaction acts; null if there is none.
pub const CURRENT_USER_ID: &str = "nullif(current_setting('daybook.user_id', true), '')::uuid";

/// Turns `table`, which must have a column `team_id uuid`, into a team table. It enables row-level security, and forces
/// it so that it also binds the table's owner. It adds one policy and the run-time role's rights. A table of a schema
/// other than `public` is named with its schema: `shop.guests`.
///
/// ```ignore
/// async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
///     manager.create_table(guests()).await?;
///     enable_team_rls(manager, "guests").await
/// }
/// ```
///
/// # Errors
/// [`DbErr`] if the table or its column `team_id` is missing, or the migrating role doesn't own it.
pub async fn enable_team_rls(manager: &SchemaManager<'_>, table: &str) -> Result<(), DbErr> {
    let (schema, table) = match table.split_once('.') {
        Some((schema, table)) => (Some(quoted(schema)), format!("{}.{}", quoted(schema), quoted(table))),
        None => (None, quoted(table)),
    };
    if let Some(schema) = schema {
        manager
            .get_connection()
            .execute_unprepared(&format!("GRANT USAGE ON SCHEMA {schema} TO {APP_ROLE};"))
            .await?;
    }
    manager
        .get_connection()
        .execute_unprepared(&format!(
            "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
             ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
             CREATE POLICY team_isolation ON {table}
                 USING (team_id = {CURRENT_TEAM}) WITH CHECK (team_id = {CURRENT_TEAM});
             GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {APP_ROLE};"
        ))
        .await?;
    Ok(())
}

/// Runs `work` once for each team, in a transaction that has entered the team. Use it to backfill.
///
/// Under forced row-level security, a plain `UPDATE` by the owner changes no row and reports no error, because no team
/// is set. `work` receives a connection that can read and write the rows of that team, and no others.
///
/// # Errors
/// The first error of `work`. The changes in earlier teams are kept.
pub async fn for_each_team<F>(manager: &SchemaManager<'_>, mut work: F) -> Result<(), DbErr>
where
    F: AsyncFnMut(&DatabaseTransaction, Uuid) -> Result<(), DbErr>,
{
    let connection = manager.get_connection();
    for team_id in team_ids(manager).await? {
        let transaction = begin_in(connection, team_id).await?;
        work(&transaction, team_id).await?;
        transaction.commit().await?;
    }
    // If the migration runs in a transaction, the setting would otherwise stay set after the savepoints above.
    connection
        .execute_unprepared("SELECT set_config('daybook.team_id', '', true)")
        .await?;
    Ok(())
}

/// Returns the ids of all teams, including the service's own team.
pub(crate) async fn team_ids(manager: &SchemaManager<'_>) -> Result<Vec<Uuid>, DbErr> {
    // `teams` has its own policy, which lets its owner list it.
    let query = Statement::from_string(manager.get_database_backend(), "SELECT id FROM teams ORDER BY id");
    let rows = manager.get_connection().query_all_raw(query).await?;
    rows.iter().map(|row| row.try_get("", "id")).collect()
}

/// Begins a transaction that has entered the team.
pub(crate) async fn begin_in(
    connection: &SchemaManagerConnection<'_>,
    team_id: Uuid,
) -> Result<DatabaseTransaction, DbErr> {
    let transaction = connection.begin().await?;
    let enter = Statement::from_sql_and_values(
        transaction.get_database_backend(),
        "SELECT set_config('daybook.team_id', $1, true)",
        [team_id.to_string().into()],
    );
    transaction.execute_raw(enter).await?;
    Ok(transaction)
}

/// Revokes TEMP on the database from PUBLIC, if the login may do that: as the database's owner or a superuser.
/// Otherwise it changes nothing, and the service refuses to start until the database's owner has done it.
///
/// Neither a dump of a database nor a copy with `CREATE DATABASE … TEMPLATE` keeps the rights on the database, so every
/// migration run calls this too.
///
/// # Errors
/// The errors of any statement.
pub async fn revoke_temp(connection: &impl ConnectionTrait) -> Result<(), DbErr> {
    connection
        .execute_unprepared(
            "DO $$ BEGIN
                 -- Checked first: of two migrations that change the same row of pg_database at once, one would fail.
                 IF pg_catalog.has_database_privilege('public', pg_catalog.current_database(), 'TEMPORARY') THEN
                     EXECUTE pg_catalog.format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC',
                         pg_catalog.current_database());
                 END IF;
             EXCEPTION WHEN insufficient_privilege THEN NULL;
             END $$",
        )
        .await?;
    Ok(())
}

/// Lets the run-time role read which of Daybook's steps are applied: the self-check compares the schema with the steps
/// that the program knows. Every migration run calls this, as it calls [`revoke_temp`].
///
/// # Errors
/// The errors of any statement.
pub async fn grant_reading_steps(connection: &impl ConnectionTrait) -> Result<(), DbErr> {
    connection
        .execute_unprepared(&format!(
            "DO $$ BEGIN
                 IF NOT pg_catalog.has_table_privilege('{APP_ROLE}', 'public.daybook_migrations', 'SELECT') THEN
                     GRANT SELECT ON public.daybook_migrations TO {APP_ROLE};
                 END IF;
             END $$"
        ))
        .await?;
    Ok(())
}

/// Creates the three run-time roles, once per cluster, and grants the app's role to the migrating role.
///
/// Roles belong to the cluster, not to the database, so the migration of another database may create them at the same
/// time. Both possible results of that race are accepted. `down()` never drops the roles.
pub(crate) async fn ensure_roles(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    for role in [APP_ROLE, RELAY_ROLE, WORKER_ROLE] {
        manager
            .get_connection()
            .execute_unprepared(&format!(
                "DO $$ BEGIN
                     IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
                         CREATE ROLE {role} NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
                     END IF;
                 EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
                 END $$"
            ))
            .await?;
    }
    // Only the app's role: the relay's policy would let its members see the rows of all teams.
    grant_role(manager, APP_ROLE, "CURRENT_USER").await?;
    manager
        .get_connection()
        .execute_unprepared(&format!(
            "GRANT USAGE ON SCHEMA public TO {APP_ROLE}, {RELAY_ROLE}, {WORKER_ROLE};"
        ))
        .await?;
    Ok(())
}

/// Makes `member` (a role's name, or `CURRENT_USER`) a member of `role`.
pub(crate) async fn grant_role(manager: &SchemaManager<'_>, role: &str, member: &str) -> Result<(), DbErr> {
    let member_sql = if member == "CURRENT_USER" {
        "current_user".to_owned()
    } else {
        format!("'{member}'")
    };
    // Since PostgreSQL 16, the creator of a role is a member of it, but without the right to `SET ROLE` to it.
    manager
        .get_connection()
        .execute_unprepared(&format!(
            "DO $$
             DECLARE kind text := CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER' ELSE 'SET' END;
             BEGIN
                 IF NOT pg_has_role({member_sql}, '{role}', kind) THEN
                     GRANT {role} TO {member};
                 END IF;
             EXCEPTION WHEN unique_violation OR internal_error THEN
                 -- Granted at this moment by another database's migration with the same login.
                 IF NOT pg_has_role({member_sql}, '{role}', kind) THEN RAISE; END IF;
             END $$;"
        ))
        .await?;
    Ok(())
}

fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}
