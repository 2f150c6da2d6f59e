//! Runs statements in a [`TeamTx`], and begins the transaction again if its first statement met an invalid cached plan.

use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgRow, Postgres};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Execute};

use super::connection::{give_back, open};
use super::statement_kind::StatementKind;
use super::{Admission, TeamTx};
use crate::error::{Error, Result, is_stale_plan};
use crate::observer::Ending;
use crate::rereading::{Replaced, readable_query};
use crate::timestamps::readable;

impl TeamTx {
    /// Returns all rows of a statement. With `persistent(false)` PostgreSQL plans it at each call, for the given
    /// values.
    ///
    /// A query whose rows have timestamps that RFC 3339 can't write runs a second time, and then returns the nearest
    /// timestamps that it can write.
    ///
    /// # Errors
    /// Those of [`Error::from_database`].
    pub async fn fetch_all(&self, mut query: Query<'_, Postgres, PgArguments>) -> Result<Vec<PgRow>> {
        let persistent = self.database.persistent() && Execute::persistent(&query);
        // sqlx gives a query's text only after its arguments have been taken.
        let arguments = query.take_arguments().map_err(sqlx::Error::Encode)?.unwrap_or_default();
        let sql = query.sql();
        let kind = StatementKind::of(sql.as_str());
        let copy = (kind == StatementKind::Query || self.may_restart()).then(|| arguments.clone());
        let query = sqlx::query_with(sql.clone(), arguments).persistent(persistent);
        let mut slot = self.connection.lock().await;
        let rows = match self.counted(query.fetch_all(&mut **open(&mut slot)?)).await {
            Ok(rows) => rows,
            Err(error) => {
                let Some(arguments) = copy.clone().filter(|_| self.restarts_after(&error)) else {
                    return Err(error.into());
                };
                Box::pin(self.restart(&mut slot)).await?;
                let again = sqlx::query_with(sql.clone(), arguments).persistent(persistent);
                self.counted(again.fetch_all(&mut **open(&mut slot)?)).await?
            }
        };
        if kind == StatementKind::Query
            && let Some(arguments) = copy
            && let Some(sql) = readable_query(sql.as_str(), &rows, Replaced::Timestamps)
        {
            let again = sqlx::query_with(AssertSqlSafe(sql), arguments).persistent(false);
            let rows = self.counted(again.fetch_all(&mut **open(&mut slot)?)).await?;
            return Ok(readable(rows)?);
        }
        Ok(readable(self.note_returned(kind, rows))?)
    }

    /// Returns the first row of a statement, if there is one.
    ///
    /// # Errors
    /// Those of [`Error::from_database`].
    pub async fn fetch_optional(&self, query: Query<'_, Postgres, PgArguments>) -> Result<Option<PgRow>> {
        Ok(self.fetch_all(query).await?.into_iter().next())
    }

    /// Runs a statement and returns the number of rows that it changed.
    ///
    /// # Errors
    /// Those of [`Error::from_database`].
    pub async fn execute_sql(&self, query: Query<'_, Postgres, PgArguments>) -> Result<u64> {
        let persistent = self.database.persistent() && Execute::persistent(&query);
        let query = query.persistent(persistent);
        let mut connection = self.connection.lock().await;
        let connection = open(&mut connection)?;
        let affected = self.counted(query.execute(&mut **connection)).await?.rows_affected();
        self.note_affected(affected);
        Ok(affected)
    }

    /// Runs SQL without parameters.
    pub(super) async fn run(&self, sql: &str) -> Result<()> {
        let mut connection = self.connection.lock().await;
        let connection = open(&mut connection)?;
        self.counted(sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut **connection))
            .await?;
        Ok(())
    }

    /// Awaits a statement: counts it and its time, and notes whether the transaction can still be committed.
    pub(super) async fn counted<T>(
        &self,
        statement: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        // The time is counted when this is dropped, so a statement that its caller stops waiting for is counted, too.
        let _waited = Waited {
            tx: self,
            began: self.clock().instant(),
        };
        // If the caller stops waiting, it is unknown whether the statement failed. Then no commit is allowed.
        let was_aborted = {
            let mut state = self.state.lock();
            state.statements = state.statements.saturating_add(1);
            std::mem::replace(&mut state.aborted, true)
        };
        let outcome = statement.await;
        let refused = self.note_refusal(&outcome);
        self.state.lock().aborted = was_aborted || refused;
        if let Err(error) = &outcome
            && is_stale_plan(error)
        {
            self.database.discard_plans();
        }
        outcome
    }

    /// Returns whether the next statement may run in another transaction instead: it is the first one, or the
    /// transaction only reads, so that each statement has its own snapshot anyway.
    pub(super) fn may_restart(&self) -> bool {
        let state = self.state.lock();
        self.database.persistent() && (state.statements == 0 || self.entry.read_only && state.unfinished == 0)
    }

    /// Returns whether to run a statement again that failed with this error. [`TeamTx::may_restart`] was true before
    /// it.
    pub(super) fn restarts_after(&self, error: &sqlx::Error) -> bool {
        let state = self.state.lock();
        is_stale_plan(error) && (state.statements == 1 || self.entry.read_only && state.unfinished == 0)
    }

    /// Begins the transaction again on another connection.
    ///
    /// # Errors
    /// Those of entering the team; [`Error::Unavailable`] if the caller's role has changed.
    pub(super) async fn restart(&self, slot: &mut Option<PoolConnection<Postgres>>) -> Result<()> {
        if let Some(stale) = slot.take() {
            give_back(stale, None).await;
        }
        self.release_claim();
        if let Some(observer) = &self.entry.request.observer {
            observer.retried();
        }
        let entered = Self::admit(&self.database, &self.entry.clone().unobserved(), Admission::Again).await;
        let error = match entered {
            Ok(mut again) if again.role == self.role => {
                self.stats.add(again.waited);
                *slot = again.connection.0.take();
                self.state.lock().aborted = false;
                return Ok(());
            }
            Ok(_) => Error::Unavailable {
                detail: "your role in the team has just changed; try again".into(),
                source: None,
            },
            Err(error) => error,
        };
        self.report_end(Ending::RolledBack);
        Err(error)
    }

    fn count(&self, waited: Duration) {
        self.stats.add(waited);
        self.database.stats().add(waited);
    }
}

/// Counts a statement and the time since its start when it is dropped.
struct Waited<'a> {
    tx: &'a TeamTx,
    began: Instant,
}

impl Drop for Waited<'_> {
    fn drop(&mut self) {
        self.tx.count(self.tx.clock().elapsed_since(self.began));
    }
}
