//! A [`TeamTx`] as SeaORM's connection.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr, Statement};
use sea_query_sqlx::SqlxValues;
use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgRow, Postgres};
use sqlx::query::Query;

use super::TeamTx;
use super::connection::open;
use super::statement_kind::StatementKind;
use crate::json::{Unreadable, WRITES_PLACEHOLDER};
use crate::rereading::{Replaced, readable_query};
use crate::timestamps::readable;

fn exec_err(error: sqlx::Error) -> DbErr {
    DbErr::Exec(RuntimeErr::SqlxError(error.into()))
}

fn query_err(error: sqlx::Error) -> DbErr {
    DbErr::Query(RuntimeErr::SqlxError(error.into()))
}

#[async_trait::async_trait]
impl ConnectionTrait for TeamTx {
    fn get_database_backend(&self) -> DbBackend {
        DbBackend::Postgres
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let kind = StatementKind::of(&statement.sql);
        refuse_placeholders(&statement, kind)?;
        let query = sea_query(statement, self.database.persistent());
        let mut connection = self.connection.lock().await;
        let connection = open(&mut connection).map_err(exec_err)?;
        let done = self.counted(query.execute(&mut **connection)).await.map_err(exec_err)?;
        self.note_affected_by(kind, done.rows_affected());
        Ok(done.into())
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let mut connection = self.connection.lock().await;
        let connection = open(&mut connection).map_err(exec_err)?;
        let statement = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut **connection);
        let done = self.counted(statement).await.map_err(exec_err)?;
        self.note_affected_by(StatementKind::of(sql), done.rows_affected());
        Ok(done.into())
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        Ok(self.query_all_raw(statement).await?.into_iter().next())
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let kind = StatementKind::of(&statement.sql);
        refuse_placeholders(&statement, kind)?;
        // A query can run a second time, if it returns values that a program can't read.
        let again = (kind == StatementKind::Query).then(|| statement.clone());
        let mut rows = self.rows(statement).await?;
        if let Some(again) = again
            && let Some(sql) = readable_query(&again.sql, &rows, Replaced::TimestampsAndJson)
        {
            rows = self.rows(Statement { sql, ..again }).await?;
        }
        let rows = readable(self.note_returned(kind, rows)).map_err(query_err)?;
        Ok(rows.into_iter().map(Into::into).collect())
    }
}

/// Refuses a statement that would store a placeholder. A model that was read from an unreadable row has one in its
/// field, and an update of all its columns would replace the stored value with it.
fn refuse_placeholders(statement: &Statement, kind: StatementKind) -> Result<(), DbErr> {
    let is_placeholder =
        |value: &sea_orm::Value| matches!(value, sea_orm::Value::Json(Some(json)) if Unreadable::is_placeholder(json));
    let mut values = statement.values.iter().flat_map(|values| &values.0);
    if kind != StatementKind::Query && values.any(is_placeholder) {
        return Err(DbErr::Custom(format!("a value to be written {WRITES_PLACEHOLDER}")));
    }
    Ok(())
}

impl TeamTx {
    async fn rows(&self, statement: Statement) -> Result<Vec<PgRow>, DbErr> {
        let persistent = self.database.persistent();
        let copy = self.may_restart().then(|| statement.clone());
        let mut slot = self.connection.lock().await;
        let connection = open(&mut slot).map_err(query_err)?;
        let query = sea_query(statement, persistent);
        match self.counted(query.fetch_all(&mut **connection)).await {
            Ok(rows) => Ok(rows),
            Err(error) => {
                let Some(copy) = copy.filter(|_| self.restarts_after(&error)) else {
                    return Err(query_err(error));
                };
                if Box::pin(self.restart(&mut slot)).await.is_err() {
                    // The first error is returned, which is retryable: SeaORM's errors can't express the second one.
                    return Err(query_err(error));
                }
                let connection = open(&mut slot).map_err(query_err)?;
                let again = sea_query(copy, persistent);
                self.counted(again.fetch_all(&mut **connection))
                    .await
                    .map_err(query_err)
            }
        }
    }
}

fn sea_query(statement: Statement, persistent: bool) -> Query<'static, Postgres, SqlxValues> {
    let values = statement.values.unwrap_or(sea_orm::Values(Vec::new()));
    sqlx::query_with(AssertSqlSafe(statement.sql), SqlxValues(values)).persistent(persistent)
}
