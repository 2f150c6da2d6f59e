//! Applying migrations: Daybook's own, then the user's, one process at a time.

use std::pin::Pin;
use std::time::Duration;

use daybook_migration::queue;
use daybook_migration::rls::{grant_reading_steps, revoke_temp};
use sea_orm::{DatabaseConnection, DbErr, RuntimeErr, SqlxPostgresConnector};
use sea_orm_migration::MigratorTrait;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection, Row};

use crate::error::{Error, Result};

/// Takes the lock under which migrations run, for the rest of the transaction, or fails at once.
///
/// It is a lock on a table that belongs to the owner and that nobody else has a right to. An advisory lock could be held
/// by anybody who can connect. The mode conflicts with itself, and gives the transaction no number, which would hold back
/// the relay. A statement that waits for a lock keeps a snapshot, for which `CREATE INDEX CONCURRENTLY` in the process that
/// has the lock would wait for ever; so nobody waits in the database.
const LOCK: &str = "LOCK TABLE public.daybook_migrations_lock IN SHARE ROW EXCLUSIVE MODE NOWAIT";
/// How often a process tries to take the lock that another one has.
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// The SQLSTATE of a lock that is not free.
const LOCK_NOT_AVAILABLE: &str = "55P03";
/// How often two processes that both make the lock's table may disturb each other.
const MAX_LOCK_TABLE_ATTEMPTS: u32 = 10;
/// How often a step is tried that meets the transactions of a running service.
const MAX_STEP_ATTEMPTS: u32 = 6;
/// How long the service's transactions have to themselves in between.
const STEP_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Lifts the limits that the server may have for statements and transactions: a migration may take longer. An index that is
/// built beside the service waits for its transactions.
macro_rules! without_timeouts {
    ($is_local:literal) => {
        concat!(
            "SELECT set_config(name, '0', ",
            $is_local,
            ") FROM pg_settings WHERE name IN
             ('idle_in_transaction_session_timeout', 'transaction_timeout', 'statement_timeout', 'lock_timeout')"
        )
    };
}

type Step<T> = for<'a> fn(&'a DatabaseConnection, u32) -> Pin<Box<dyn Future<Output = Result<T, DbErr>> + Send + 'a>>;

/// What a migrator can do, with its type forgotten.
#[derive(Clone, Copy)]
struct Source {
    migrator: &'static str,
    up: Step<()>,
    down: Step<()>,
    pending: Step<Vec<String>>,
    applied: Step<Vec<String>>,
}

impl Source {
    fn of<M: MigratorTrait>() -> Self {
        Self {
            migrator: std::any::type_name::<M>(),
            up: |db, _| Box::pin(async move { M::up(db, None).await }),
            down: |db, steps| Box::pin(async move { M::down(db, Some(steps)).await }),
            pending: |db, _| Box::pin(async move { Ok(names(&M::get_pending_migrations(db).await?)) }),
            applied: |db, _| Box::pin(async move { Ok(names(&M::get_applied_migrations(db).await?)) }),
        }
    }
}

fn names(migrations: &[sea_orm_migration::Migration]) -> Vec<String> {
    migrations.iter().map(|migration| migration.name().to_owned()).collect()
}

/// All migrations of this program, in the order in which they are applied.
#[derive(Clone)]
pub struct Migrations {
    sources: Vec<Source>,
}

impl std::fmt::Debug for Migrations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.sources.iter().map(|source| source.migrator))
            .finish()
    }
}

impl Default for Migrations {
    fn default() -> Self {
        Self {
            sources: vec![Source::of::<daybook_migration::Migrator>()],
        }
    }
}

/// Migrations that have and haven't been applied, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Applied, oldest first.
    pub applied: Vec<String>,
    /// Not applied yet, in order.
    pub pending: Vec<String>,
}

impl Migrations {
    /// Adds a user's migrations after the ones there are.
    pub fn add<M: MigratorTrait>(&mut self) {
        self.sources.push(Source::of::<M>());
    }

    /// Applies what is pending, as the owner, one process at a time.
    ///
    /// # Errors
    /// The first step that failed; the ones before it stay applied.
    pub async fn up(&self, owner: &PgConnectOptions) -> Result<()> {
        self.locked(owner, async |db| {
            for source in &self.sources {
                apply(source, db).await?;
            }
            queue::migrate(db).await?;
            // Each time: neither a dump nor a copy of a database brings its rights along.
            grant_reading_steps(db).await?;
            revoke_temp(db).await
        })
        .await
    }

    /// Takes back the last `steps` migrations, the user's before Daybook's.
    ///
    /// # Errors
    /// The first step that failed; the ones after it stay taken back.
    pub async fn down(&self, owner: &PgConnectOptions, steps: u32) -> Result<()> {
        self.locked(owner, async |db| {
            let mut left = steps;
            for source in self.sources.iter().rev() {
                let applied = u32::try_from((source.applied)(db, 0).await?.len()).unwrap_or(u32::MAX);
                let taken = left.min(applied);
                if taken > 0 {
                    (source.down)(db, taken).await?;
                    left -= taken;
                }
            }
            Ok(())
        })
        .await
    }

    /// What is applied and what is pending.
    ///
    /// # Errors
    /// As any statement.
    pub async fn status(&self, owner: &PgConnectOptions) -> Result<Pending> {
        self.locked(owner, async |db| {
            let mut status = Pending {
                applied: Vec::new(),
                pending: Vec::new(),
            };
            for source in &self.sources {
                status.applied.extend((source.applied)(db, 0).await?);
                status.pending.extend((source.pending)(db, 0).await?);
            }
            let (applied, pending) = queue::status(db).await?;
            status.applied.extend(applied);
            status.pending.extend(pending);
            Ok(status)
        })
        .await
    }

    async fn locked<T>(
        &self,
        owner: &PgConnectOptions,
        work: impl AsyncFnOnce(&DatabaseConnection) -> Result<T, DbErr>,
    ) -> Result<T> {
        let owner = owner
            .clone()
            .application_name("daybook migrate")
            .disable_statement_logging();
        // The lock has a connection of its own, so that it outlasts every step's transaction.
        let mut lock = owner.connect().await?;
        refuse_without_role_rights(&mut lock).await?;
        make_lock_table(&mut lock).await?;
        take_lock(&mut lock).await?;
        let pool = PgPoolOptions::new()
            .max_connections(2)
            .after_connect(|connection, _| {
                Box::pin(async move { connection.execute(without_timeouts!("false")).await.map(drop) })
            })
            .connect_with(owner)
            .await?;
        let outcome = work(&SqlxPostgresConnector::from_sqlx_postgres_pool(pool.clone())).await;
        pool.close().await;
        lock.close().await?;
        Ok(outcome?)
    }
}

/// Applies what is pending of a source. A step that met a running service's transactions in a deadlock, or whose lock was not
/// free in time, is tried again: it has left nothing behind.
async fn apply(source: &Source, db: &DatabaseConnection) -> Result<(), DbErr> {
    let mut attempt = 1;
    loop {
        match (source.up)(db, 0).await {
            Err(error) if attempt < MAX_STEP_ATTEMPTS && is_lock_conflict(&error) => {
                tracing::warn!("migrations: a step waited in vain for a lock of a running service; trying it again");
                tokio::time::sleep(STEP_RETRY_INTERVAL).await;
                attempt += 1;
            }
            outcome => return outcome,
        }
    }
}

/// Whether a step failed with a deadlock (40P01) or for want of a lock (55P03).
fn is_lock_conflict(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error))) = error else {
        return false;
    };
    let code = error.as_database_error().and_then(|refusal| refusal.code());
    matches!(code.as_deref(), Some("40P01" | LOCK_NOT_AVAILABLE))
}

/// Makes the table that is locked, as far as it is missing.
async fn make_lock_table(connection: &mut PgConnection) -> Result<()> {
    let mut attempt = 1;
    loop {
        // Not `IF NOT EXISTS` alone, which takes the right to create tables where there is nothing to create.
        let made = connection
            .execute(
                "DO $$ BEGIN
                     IF to_regclass('public.daybook_migrations_lock') IS NULL THEN
                         CREATE TABLE IF NOT EXISTS public.daybook_migrations_lock ();
                     END IF;
                 END $$",
            )
            .await;
        match made {
            Ok(_) => return Ok(()),
            // Another process makes it at this moment.
            Err(sqlx::Error::Database(refusal))
                if attempt < MAX_LOCK_TABLE_ATTEMPTS
                    && matches!(refusal.code().as_deref(), Some("23505" | "42P07" | "42710")) =>
            {
                attempt += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Begins a transaction that has the lock, as soon as no other process has it.
async fn take_lock(connection: &mut PgConnection) -> Result<()> {
    let mut waits = false;
    loop {
        connection.execute("BEGIN").await?;
        connection.execute(without_timeouts!("true")).await?;
        match connection.execute(LOCK).await {
            Ok(_) => return Ok(()),
            Err(sqlx::Error::Database(refusal)) if refusal.code().as_deref() == Some(LOCK_NOT_AVAILABLE) => {
                connection.execute("ROLLBACK").await?;
            }
            Err(error) => return Err(error.into()),
        }
        if !waits {
            tracing::info!("migrations: another process migrates this database; waiting for it to finish");
            waits = true;
        }
        tokio::time::sleep(LOCK_RETRY_INTERVAL).await;
    }
}

/// The one thing that a migration needs and an owner may lack, said before a step fails halfway.
async fn refuse_without_role_rights(connection: &mut PgConnection) -> Result<()> {
    let row = connection
        .fetch_one(
            "SELECT current_user::text AS name, rolsuper OR rolcreaterole AS can_make_roles,
                    -- Asked by name, and only once they are there.
                    (SELECT count(*) FROM pg_roles
                     WHERE rolname IN ('daybook_app', 'daybook_relay', 'daybook_worker')) = 3
                    AND (SELECT bool_and(pg_has_role(current_user, oid, 'MEMBER')) FROM pg_roles
                         WHERE rolname IN ('daybook_app', 'daybook_worker')) AS there
             FROM pg_roles WHERE rolname = current_user",
        )
        .await?;
    if row.try_get::<bool, _>("can_make_roles")? || row.try_get::<bool, _>("there")? {
        return Ok(());
    }
    let name: String = row.try_get("name")?;
    Err(Error::internal(format!(
        "{name} may not make the roles daybook_app, daybook_relay and daybook_worker, or is no member of the first and \
         the last: have an administrator CREATE ROLE them, GRANT daybook_relay TO daybook_worker, and GRANT daybook_app, \
         daybook_worker TO {name}; or ALTER ROLE {name} CREATEROLE for the first migration, and NOCREATEROLE after it"
    )))
}
