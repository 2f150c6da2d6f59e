//! Changes that run beside the service without blocking its writers: they build and replace indexes, and fill in
//! columns.
//!
//! They are for steps outside a transaction (`use_transaction` is `Some(false)`). Each function can be called again
//! after it stopped at any point: it continues with what exists, and rebuilds an index that was left invalid.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbErr, Statement, TransactionTrait};

use crate::rls::{begin_in, team_ids};

/// The maximum number of rows that one transaction of a backfill changes.
const BATCH_ROWS: i64 = 1_000;
/// The maximum time for which the exchange of an index waits for the service's transactions. Other transactions wait
/// behind it.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '5s'";

/// An index of a table in `public`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Index {
    pub(crate) name: &'static str,
    pub(crate) table: &'static str,
    /// The columns, and the condition of a partial index, as PostgreSQL writes them.
    pub(crate) keys: &'static str,
}

/// Builds an index that does not exist, or was left invalid.
///
/// # Errors
/// The errors of any statement.
pub(crate) async fn build_index(connection: &SchemaManagerConnection<'_>, index: &Index) -> Result<(), DbErr> {
    build(connection, "INDEX", index.name, index).await
}

/// Drops an index, if it exists.
///
/// # Errors
/// The errors of any statement.
pub(crate) async fn drop_index(connection: &SchemaManagerConnection<'_>, name: &str) -> Result<(), DbErr> {
    let drop = format!("DROP INDEX CONCURRENTLY IF EXISTS public.{name}");
    connection.execute_unprepared(&drop).await?;
    Ok(())
}

/// Changes the keys of an index: builds the new index under another name, then exchanges the two.
///
/// # Errors
/// The errors of any statement.
pub(crate) async fn replace_index(connection: &SchemaManagerConnection<'_>, index: &Index) -> Result<(), DbErr> {
    let Index { name, .. } = index;
    let exchange = format!(
        "DROP INDEX public.{name};
         ALTER INDEX public.{name}_next RENAME TO {name}"
    );
    replace(connection, "INDEX", index, &exchange).await
}

/// Changes the order of a unique constraint's columns, as [`replace_index`] does. The constraint is in force all the
/// time.
///
/// # Errors
/// The errors of any statement.
pub(crate) async fn replace_unique_constraint(
    connection: &SchemaManagerConnection<'_>,
    index: &Index,
) -> Result<(), DbErr> {
    let Index { name, table, .. } = index;
    let exchange = format!(
        "ALTER TABLE public.{table} DROP CONSTRAINT {name},
             ADD CONSTRAINT {name} UNIQUE USING INDEX {name}_next"
    );
    replace(connection, "UNIQUE INDEX", index, &exchange).await
}

async fn replace(
    connection: &SchemaManagerConnection<'_>,
    kind: &str,
    index: &Index,
    exchange: &str,
) -> Result<(), DbErr> {
    let next = format!("{}_next", index.name);
    if has_keys(connection, index).await? {
        return Ok(());
    }
    build(connection, kind, &next, index).await?;
    let transaction = connection.begin().await?;
    transaction.execute_unprepared(LOCK_TIMEOUT).await?;
    transaction.execute_unprepared(exchange).await?;
    transaction.commit().await
}

async fn build(connection: &SchemaManagerConnection<'_>, kind: &str, name: &str, index: &Index) -> Result<(), DbErr> {
    if is_invalid(connection, name).await? {
        drop_index(connection, name).await?;
    }
    let Index { table, keys, .. } = index;
    let create = format!("CREATE {kind} CONCURRENTLY IF NOT EXISTS {name} ON public.{table} {keys}");
    connection.execute_unprepared(&create).await?;
    Ok(())
}

/// Returns whether an index exists whose build was not completed.
async fn is_invalid(connection: &SchemaManagerConnection<'_>, name: &str) -> Result<bool, DbErr> {
    let sql = format!(
        "SELECT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass('public.{name}') AND NOT indisvalid) AS yes"
    );
    query_bool(connection, sql).await
}

async fn has_keys(connection: &SchemaManagerConnection<'_>, index: &Index) -> Result<bool, DbErr> {
    let Index { name, keys, .. } = index;
    let sql = format!("SELECT pg_get_indexdef('public.{name}'::regclass) LIKE '% {keys}' AS yes");
    query_bool(connection, sql).await
}

async fn query_bool(connection: &SchemaManagerConnection<'_>, sql: String) -> Result<bool, DbErr> {
    let query = Statement::from_string(connection.get_database_backend(), sql);
    let row = connection.query_one_raw(query).await?;
    row.map_or(Ok(false), |row| row.try_get("", "yes"))
}

/// Runs an `UPDATE` in each team until it finds no more rows, each time in a separate transaction. `$1` is the team and
/// `$2` the number of rows that it may change. The statement must not find rows again that it has already changed.
///
/// # Errors
/// The errors of the statement. The changes of earlier transactions are kept.
pub(crate) async fn update_in_batches(manager: &SchemaManager<'_>, update: &str) -> Result<(), DbErr> {
    let connection = manager.get_connection();
    for team_id in team_ids(manager).await? {
        loop {
            let transaction = begin_in(connection, team_id).await?;
            let values = [team_id.into(), BATCH_ROWS.into()];
            let statement = Statement::from_sql_and_values(transaction.get_database_backend(), update, values);
            let changed = transaction.execute_raw(statement).await?.rows_affected();
            transaction.commit().await?;
            if changed < BATCH_ROWS.unsigned_abs() {
                break;
            }
        }
    }
    Ok(())
}
