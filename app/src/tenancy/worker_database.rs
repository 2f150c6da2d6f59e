//! Connections of the workers: to the queue, and past the wall between teams as far as the queue needs it.

use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions, PgRow, Postgres};
use sqlx::query::Query;
use sqlx::{ConnectOptions as _, Execute as _, Row as _, Transaction};

use super::moments::readable;
use super::plans::Plans;
use crate::error::{Error, Result, is_stale_plan};

/// How long the connection side_pool stays open after its last use.
const SIDE_POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The workers' pool, as `daybook_worker`: it owns the queue's work, hands over what teams ask for, and sees of events
/// and sessions their envelopes, never contents.
#[derive(Debug, Clone)]
pub struct WorkerDatabase {
    pool: PgPool,
    /// For what is asked while a connection of the other pool is held: its holders wait for nobody.
    side_pool: PgPool,
    /// Of both pools.
    plans: Plans,
}

impl WorkerDatabase {
    /// Opens the pool. `connect` leads to the server itself, past any pooler: the role is set when a connection is
    /// opened, and the queue listens.
    ///
    /// # Errors
    /// [`Error::Internal`] if the login may not be `daybook_worker`; [`Error::Unavailable`] if nobody answers.
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
                "the workers' connections are {role}, not daybook_worker: a pooler is between; set DAYBOOK_WORKER_URL to \
                 the server itself, with a login that is a member of daybook_worker"
            )));
        }
        let side_pool = plans
            .watch(PgPoolOptions::new())
            .max_connections(1)
            .idle_timeout(SIDE_POOL_IDLE_TIMEOUT)
            .connect_lazy_with(connect);
        Ok(Self { pool, side_pool, plans })
    }

    /// Begins a transaction, in no team.
    ///
    /// # Errors
    /// As any statement.
    pub(crate) async fn begin(&self) -> Result<WorkerTx> {
        Ok(WorkerTx {
            transaction: self.pool.begin().await?,
            plans: self.plans.clone(),
        })
    }

    /// Runs one statement by itself; once more if its plan was no longer valid.
    ///
    /// # Errors
    /// As any statement.
    pub(crate) async fn fetch_all(&self, query: Query<'_, Postgres, PgArguments>) -> Result<Vec<PgRow>> {
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
    pub(crate) fn discard_plans(&self) {
        self.plans.discard();
    }

    /// As [`WorkerDatabase::fetch_all`], for a caller that is called while the queue holds a connection of the pool.
    ///
    /// # Errors
    /// As any statement.
    pub(crate) async fn fetch_all_on_side_pool(&self, query: Query<'_, Postgres, PgArguments>) -> Result<Vec<PgRow>> {
        self.fetch_all_from(&self.side_pool, query).await
    }

    /// For the queue itself, and for nobody else.
    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Closes the pool once its connections have come back.
    pub async fn close(&self) {
        self.side_pool.close().await;
        self.pool.close().await;
    }
}

/// PostgreSQL's own words name the role, and not what to do.
fn explain_refused_role(error: sqlx::Error) -> Error {
    let refused = error.as_database_error().and_then(|refusal| refusal.code());
    // A startup option that is not allowed; a role that is not there.
    match refused.as_deref() {
        Some("42501" | "22023") => Error::internal(
            "the workers' login may not be daybook_worker: GRANT daybook_worker TO it, or set DAYBOOK_WORKER_URL to a login \
             that is a member, on the server itself",
        ),
        _ => Error::from(error),
    }
}

/// A transaction of the workers', rolled back unless it is committed.
#[derive(Debug)]
pub(crate) struct WorkerTx {
    transaction: Transaction<'static, Postgres>,
    plans: Plans,
}

impl WorkerTx {
    pub(crate) async fn fetch_all(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<Vec<PgRow>> {
        let outcome = query.fetch_all(&mut *self.transaction).await;
        self.check_plan(outcome.and_then(readable))
    }

    pub(crate) async fn fetch_optional(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<Option<PgRow>> {
        Ok(self.fetch_all(query).await?.into_iter().next())
    }

    pub(crate) async fn fetch_one(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<PgRow> {
        let row = self.fetch_optional(query).await?;
        Ok(row.ok_or(sqlx::Error::RowNotFound)?)
    }

    pub(crate) async fn execute(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<u64> {
        let outcome = query.execute(&mut *self.transaction).await;
        Ok(self.check_plan(outcome)?.rows_affected())
    }

    pub(crate) async fn commit(self) -> Result<()> {
        Ok(self.transaction.commit().await?)
    }

    /// The transaction can't go on after an invalid plan; the next one meets none.
    fn check_plan<T>(&self, outcome: Result<T, sqlx::Error>) -> Result<T> {
        if outcome.as_ref().is_err_and(is_stale_plan) {
            self.plans.discard();
        }
        Ok(outcome?)
    }
}
