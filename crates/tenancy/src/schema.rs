//! Applies migrations: Daybook's own, then the user's, one process at a time.

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
/// It locks a table that belongs to the owner and on which no other role has a right. Anyone who can connect could hold
/// an advisory lock. The mode conflicts with itself and assigns no transaction id, which would hold back the
/// relay. A statement that waits for a lock keeps a snapshot, and `CREATE INDEX CONCURRENTLY` in the process that has
/// the lock would wait for that snapshot forever; therefore no process waits in the database.
const LOCK: &str = "LOCK TABLE public.daybook_migrations_lock IN SHARE ROW EXCLUSIVE MODE NOWAIT";
/// The interval at which a process tries to take the lock that another one has.
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// The SQLSTATE of a lock that is not free.
const LOCK_NOT_AVAILABLE: &str = "55P03";
/// The maximum number of attempts to create the lock's table at the same time as another process.
const MAX_LOCK_TABLE_ATTEMPTS: u32 = 10;
/// The maximum number of attempts at a step that conflicts with the transactions of a running service.
const MAX_STEP_ATTEMPTS: u32 = 6;
/// The pause between these attempts, in which the service's transactions can make progress.
const STEP_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Removes the server's time limits for statements and transactions: a migration may take longer. For example, an index
/// that is built while the service runs waits for its transactions.
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

type MigrationStep<T> =
    for<'a> fn(&'a DatabaseConnection, u32) -> Pin<Box<dyn Future<Output = Result<T, DbErr>> + Send + 'a>>;

/// The functions of a migrator, without its type.
#[derive(Clone, Copy)]
struct MigrationSource {
    migrator: &'static str,
    up: MigrationStep<()>,
    down: MigrationStep<()>,
    pending: MigrationStep<Vec<String>>,
    applied: MigrationStep<Vec<String>>,
}

impl MigrationSource {
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
    sources: Vec<MigrationSource>,
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
            sources: vec![MigrationSource::of::<daybook_migration::Migrator>()],
        }
    }
}

/// The names of applied and pending migrations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The applied ones, oldest first.
    pub applied: Vec<String>,
    /// The pending ones, in order.
    pub pending: Vec<String>,
}

impl Migrations {
    /// Adds a user's migrations after the existing ones.
    pub fn add<M: MigratorTrait>(&mut self) {
        self.sources.push(MigrationSource::of::<M>());
    }

    /// Applies the pending migrations as the owner, one process at a time.
    ///
    /// # Errors
    /// The error of the first step that failed. The steps before it stay applied. [`Error::Internal`] if the owner has
    /// no right to the roles.
    pub async fn up(&self, owner: &PgConnectOptions) -> Result<()> {
        self.locked(owner, async |db| {
            for source in &self.sources {
                apply(source, db).await?;
            }
            queue::migrate(db).await?;
            // The rights are set each time, because neither a dump nor a copy of a database includes the database's own
            // rights.
            grant_reading_steps(db).await?;
            revoke_temp(db).await
        })
        .await
    }

    /// Reverts the last `steps` migrations, the user's before Daybook's.
    ///
    /// # Errors
    /// The error of the first step that failed. The steps after it stay reverted.
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

    /// Returns the applied and the pending migrations.
    ///
    /// # Errors
    /// Those of any database statement.
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
        // The lock has its own connection, so that it is held across the transactions of all steps.
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

/// Applies the pending migrations of a source. A step that failed because of a deadlock with a running service, or
/// because a lock was not free in time, is tried again: it was rolled back.
async fn apply(source: &MigrationSource, db: &DatabaseConnection) -> Result<(), DbErr> {
    let mut attempt = 1;
    loop {
        match (source.up)(db, 0).await {
            Err(error) if attempt < MAX_STEP_ATTEMPTS && is_lock_conflict(&error) => {
                tracing::warn!("migrations: a step could not get a lock that a running service holds; trying it again");
                tokio::time::sleep(STEP_RETRY_INTERVAL).await;
                attempt += 1;
            }
            outcome => return outcome,
        }
    }
}

/// Returns whether a step failed with a deadlock (40P01) or because it could not get a lock (55P03).
fn is_lock_conflict(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error))) = error else {
        return false;
    };
    let code = error.as_database_error().and_then(|refusal| refusal.code());
    matches!(code.as_deref(), Some("40P01" | LOCK_NOT_AVAILABLE))
}

/// Creates the table that is locked, if it is missing.
async fn make_lock_table(connection: &mut PgConnection) -> Result<()> {
    let mut attempt = 1;
    loop {
        // `IF NOT EXISTS` alone is not enough: it needs the right to create tables even if the table exists.
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
            // Another process is creating it at the same time.
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

/// Begins a transaction and takes the lock, as soon as no other process has it.
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
            tracing::info!("migrations: another process is migrating this database; waiting for it to finish");
            waits = true;
        }
        tokio::time::sleep(LOCK_RETRY_INTERVAL).await;
    }
}

/// Refuses an owner that can't create the roles and is not a member of the existing ones. Otherwise a step would fail
/// later.
async fn refuse_without_role_rights(connection: &mut PgConnection) -> Result<()> {
    let row = connection
        .fetch_one(
            "SELECT current_user::text AS name, rolsuper OR rolcreaterole AS can_make_roles,
                    -- The roles are checked by name, and only if they exist.
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
        "{name} has no right to create roles. So the roles daybook_app, daybook_relay and daybook_worker must exist, and \
         {name} must be a member of the first and the last. Let an administrator CREATE ROLE them, GRANT daybook_relay \
         TO daybook_worker, and GRANT daybook_app, daybook_worker TO {name}. Or let an administrator ALTER ROLE {name} \
         CREATEROLE for the first migration, and NOCREATEROLE after it"
    )))
}
