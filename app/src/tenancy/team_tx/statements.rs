//! Running statements in a [`TeamTx`], and beginning again when the first of them met a plan that is no longer valid.

use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgRow, Postgres};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Execute};

use super::connection::{give_back, open};
use super::report::changes_rows;
use super::{Admission, TeamTx};
use crate::error::{Error, Result, is_stale_plan};
use crate::tenancy::moments::readable;
use crate::tenancy::observer::Ending;
use crate::tenancy::rereading::{Replaced, readable_query};

impl TeamTx {
    /// All rows of a query. A query with `persistent(false)` is planned at each call, with the values at hand.
    ///
    /// Moments that can't be written as RFC 3339 are read as the nearest ones that can: then the query runs twice.
    ///
    /// # Errors
    /// As [`Error::from_database`] sorts them.
    pub async fn fetch_all(&self, mut query: Query<'_, Postgres, PgArguments>) -> Result<Vec<PgRow>> {
        let persistent = self.database.persistent() && Execute::persistent(&query);
        // sqlx shows a query's text only to who takes it apart.
        let arguments = query.take_arguments().map_err(sqlx::Error::Encode)?.unwrap_or_default();
        let sql = query.sql();
        let changes = changes_rows(sql.as_str());
        let copy = (!changes || self.may_restart()).then(|| arguments.clone());
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
        if !changes
            && let Some(arguments) = copy
            && let Some(sql) = readable_query(sql.as_str(), &rows, Replaced::Moments)
        {
            let again = sqlx::query_with(AssertSqlSafe(sql), arguments).persistent(false);
            let rows = self.counted(again.fetch_all(&mut **open(&mut slot)?)).await?;
            return Ok(readable(rows)?);
        }
        Ok(readable(self.note_returned(changes, rows))?)
    }

    /// The first row of a query, if it has one.
    ///
    /// # Errors
    /// As [`Error::from_database`] sorts them.
    pub async fn fetch_optional(&self, query: Query<'_, Postgres, PgArguments>) -> Result<Option<PgRow>> {
        Ok(self.fetch_all(query).await?.into_iter().next())
    }

    /// Runs a statement and says how many rows it touched.
    ///
    /// # Errors
    /// As [`Error::from_database`] sorts them.
    pub async fn execute_sql(&self, query: Query<'_, Postgres, PgArguments>) -> Result<u64> {
        let persistent = self.database.persistent() && Execute::persistent(&query);
        let query = query.persistent(persistent);
        let mut connection = self.connection.lock().await;
        let connection = open(&mut connection)?;
        let affected = self.counted(query.execute(&mut **connection)).await?.rows_affected();
        self.note_affected(affected);
        Ok(affected)
    }

    pub(super) async fn run(&self, sql: &str) -> Result<()> {
        let mut connection = self.connection.lock().await;
        let connection = open(&mut connection)?;
        self.counted(sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut **connection))
            .await?;
        Ok(())
    }

    pub(super) async fn counted<T>(
        &self,
        statement: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        // Also if its caller gives up on it, which is when its time is worth knowing.
        let _waited = Waited {
            tx: self,
            began: Instant::now(),
        };
        // Whoever gives up on a statement never learns whether it failed, and a commit must not vouch for it.
        let was_aborted = {
            let mut state = self.state();
            state.statements = state.statements.saturating_add(1);
            std::mem::replace(&mut state.aborted, true)
        };
        let outcome = statement.await;
        let refused = self.note_refusal(&outcome);
        self.state().aborted = was_aborted || refused;
        if let Err(error) = &outcome
            && is_stale_plan(error)
        {
            self.database.discard_plans();
        }
        outcome
    }

    /// Whether a statement that comes next could be run in another transaction as well: it is the first, or all of them
    /// only read, each by a snapshot of its own.
    pub(super) fn may_restart(&self) -> bool {
        let state = self.state();
        self.database.persistent() && (state.statements == 0 || self.entry.read_only && state.unfinished == 0)
    }

    /// Whether to run a statement again that failed so, of which [`TeamTx::may_restart`] held before.
    pub(super) fn restarts_after(&self, error: &sqlx::Error) -> bool {
        let state = self.state();
        is_stale_plan(error) && (state.statements == 1 || self.entry.read_only && state.unfinished == 0)
    }

    /// Begins again, on another connection.
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
                self.state().aborted = false;
                return Ok(());
            }
            Ok(_) => Error::Unavailable {
                detail: "your role in the team has just changed; try again".into(),
                source: None,
            },
            Err(error) => error,
        };
        self.tell(Ending::RolledBack);
        Err(error)
    }

    fn count(&self, waited: Duration) {
        self.stats.add(waited);
        self.database.stats().add(waited);
    }
}

/// A statement that is waited for, until this is dropped.
struct Waited<'a> {
    tx: &'a TeamTx,
    began: Instant,
}

impl Drop for Waited<'_> {
    fn drop(&mut self) {
        self.tx.count(self.began.elapsed());
    }
}
