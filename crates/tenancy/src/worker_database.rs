//! The workers' connections: to the queue, and across teams as far as the queue needs it.

use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions, PgRow, Postgres};
use sqlx::query::Query;
use sqlx::{ConnectOptions as _, Execute as _, Row as _, Transaction};

use super::plans::Plans;
use super::timestamps::readable;
use crate::error::{Error, Result, is_stale_plan};

/// How long the connection of the side pool stays open after its last use.
const SIDE_POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The workers' pool, with the role `daybook_worker`. It reads and writes the queue and hands over the jobs that teams
/// enqueue. Of events and sessions it sees the envelopes, never the contents.
#[derive(Debug, Clone)]
pub struct WorkerDatabase {
    pool: PgPool,
    /// A second pool, for statements that run while a connection of `pool` is held. No code holds its connection while
    /// it waits for another one.
    side_pool: PgPool,
    /// The plans of both pools.
    plans: Plans,
}

impl WorkerDatabase {
    /// Opens the pool. `connect` must connect to the server directly, not through a pooler: the role is set when a
    /// connection is opened, and the queue uses LISTEN.
    ///
    /// # Errors
    /// [`Error::Internal`] if the login may not use the role `daybook_worker`; [`Error::Unavailable`] if the server
    /// doesn't answer.
    pub async fn connect(connect: PgConnectOptions, max_connections: u32) -> Result<Self> {
        let connect = connect
            .application_name("daybook worker")
            .disable_statement_logging()
            .options([("role", daybook_migration::rls::WORKER_ROLE)]);
        let plans = Plans::default();
        let pool = plans
            .watch(PgPoolOptions::new())
            .max_connections(max_connections)
            .connect_with(connect.clone())
            .await
            .map_err(explain_refused_role)?;
        let row = sqlx::raw_sql("SELECT current_user::text AS role")
            .fetch_one(&pool)
            .await?;
        let role: String = row.try_get("role")?;
        if role != daybook_migration::rls::WORKER_ROLE {
            return Err(Error::internal(format!(
                "the workers' connections have the role {role}, not daybook_worker, because they use a pooler; set \
                 DAYBOOK_WORKER_URL to the server itself, with a login that is a member of daybook_worker"
            )));
        }
        let side_pool = plans
            .watch(PgPoolOptions::new())
            .max_connections(1)
            .idle_timeout(SIDE_POOL_IDLE_TIMEOUT)
            .connect_lazy_with(connect);
        Ok(Self { pool, side_pool, plans })
    }

    /// Begins a transaction without a team.
    ///
    /// # Errors
    /// Those of any database statement.
    pub async fn begin(&self) -> Result<WorkerTx> {
        Ok(WorkerTx {
            transaction: self.pool.begin().await?,
            plans: self.plans.clone(),
        })
    }

    /// Runs one statement in its own transaction. Runs it again if its plan was stale.
    ///
    /// # Errors
    /// Those of any database statement.
    pub async fn fetch_all(&self, query: Query<'_, Postgres, PgArguments>) -> Result<Vec<PgRow>> {
        self.fetch_all_from(&self.pool, query).await
    }

    async fn fetch_all_from(&self, pool: &PgPool, mut query: Query<'_, Postgres, PgArguments>) -> Result<Vec<PgRow>> {
        let arguments = query.take_arguments().map_err(sqlx::Error::Encode)?.unwrap_or_default();
        let sql = query.sql();
        let first = sqlx::query_with(sql.clone(), arguments.clone());
        let rows = match first.fetch_all(pool).await {
            Err(error) if is_stale_plan(&error) => {
                self.plans.discard();
                sqlx::query_with(sql, arguments).fetch_all(pool).await?
            }
            outcome => outcome?,
        };
        Ok(readable(rows)?)
    }

    /// Closes the connections whose plans may be invalid, each when it is next taken.
    pub fn discard_plans(&self) {
        self.plans.discard();
    }

    /// Does the same as [`WorkerDatabase::fetch_all`], for code that runs while the queue holds a connection of the
    /// pool.
    ///
    /// # Errors
    /// Those of any database statement.
    pub async fn fetch_all_on_side_pool(&self, query: Query<'_, Postgres, PgArguments>) -> Result<Vec<PgRow>> {
        self.fetch_all_from(&self.side_pool, query).await
    }

    /// Returns the pool. Only the queue itself uses it.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Closes the pools as soon as all connections have returned to them.
    pub async fn close(&self) {
        self.side_pool.close().await;
        self.pool.close().await;
    }
}

/// Adds the remedy to PostgreSQL's error, which names only the role.
fn explain_refused_role(error: sqlx::Error) -> Error {
    let refused = error.as_database_error().and_then(|refusal| refusal.code());
    // The startup option is not allowed, or there is no such role.
    match refused.as_deref() {
        Some("42501" | "22023") => Error::internal(
            "the workers' login may not use the role daybook_worker: GRANT daybook_worker TO it, or set \
             DAYBOOK_WORKER_URL to the server itself, with a login that is a member of the role",
        ),
        _ => Error::from(error),
    }
}

/// A transaction of the workers. It is rolled back unless it is committed.
#[derive(Debug)]
pub struct WorkerTx {
    transaction: Transaction<'static, Postgres>,
    plans: Plans,
}

impl WorkerTx {
    /// Runs a statement and returns its rows.
    ///
    /// # Errors
    /// Those of any database statement.
    pub async fn fetch_all(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<Vec<PgRow>> {
        let outcome = query.fetch_all(&mut *self.transaction).await;
        self.check_plan(outcome.and_then(readable))
    }

    /// Runs a statement and returns its first row, if it has one.
    ///
    /// # Errors
    /// Those of any database statement.
    pub async fn fetch_optional(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<Option<PgRow>> {
        Ok(self.fetch_all(query).await?.into_iter().next())
    }

    /// Runs a statement and returns its first row.
    ///
    /// # Errors
    /// Those of any database statement; [`Error::Internal`] if there is no row.
    pub async fn fetch_one(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<PgRow> {
        let row = self.fetch_optional(query).await?;
        Ok(row.ok_or(sqlx::Error::RowNotFound)?)
    }

    /// Runs a statement and returns the number of rows that it affected.
    ///
    /// # Errors
    /// Those of any database statement.
    pub async fn execute(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<u64> {
        let outcome = query.execute(&mut *self.transaction).await;
        Ok(self.check_plan(outcome)?.rows_affected())
    }

    /// Commits the transaction.
    ///
    /// # Errors
    /// Those of any database statement.
    pub async fn commit(self) -> Result<()> {
        Ok(self.transaction.commit().await?)
    }

    /// Discards the plans after a stale one. This transaction can't continue; the next one gets new plans.
    fn check_plan<T>(&self, outcome: Result<T, sqlx::Error>) -> Result<T> {
        if outcome.as_ref().is_err_and(is_stale_plan) {
            self.plans.discard();
        }
        Ok(outcome?)
    }
}
