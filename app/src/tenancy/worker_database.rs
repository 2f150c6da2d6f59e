//! Connections of the workers: to the queue, and past the wall between teams as far as the queue needs it.

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Row as _};

use crate::error::{Error, Result};

/// The workers' pool, as `daybook_worker`: it owns the queue's work, hands over what teams ask for, and sees of events
/// and sessions their envelopes, never contents.
#[derive(Debug, Clone)]
pub struct WorkerDatabase {
    pool: PgPool,
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
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .connect_with(connect)
            .await?;
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
        Ok(Self { pool })
    }

    /// For the queue and what feeds it, and for nobody else.
    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Closes the pool once its connections have come back.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}
