//! A database for one test.

use std::sync::Arc;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, PgPool};

use super::expect::expect_ok;
use super::recording::Recording;
use super::server::TestServer;
use crate::error::Result;
use crate::events::{Consumers, EventsParts};
use crate::jobs::JobsParts;
use crate::tenancy::{Database, DatabaseOptions, ForgottenCommits, Migrations};

/// A migrated database for one test. Clones are the same database, which is dropped with the last of them.
#[derive(Clone)]
pub struct TestDb {
    inner: Arc<Inner>,
}

struct Inner {
    server: &'static TestServer,
    name: String,
}

impl std::fmt::Debug for TestDb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TestDb").field(&self.inner.name).finish()
    }
}

impl TestDb {
    /// Creates a database with Daybook's own tables.
    pub async fn new() -> Self {
        Self::with_migrations(Migrations::default()).await
    }

    /// Creates a database with these migrations. The first test of a process with a set applies it; the others get a
    /// copy.
    pub async fn with_migrations(migrations: Migrations) -> Self {
        let server = expect_ok(TestServer::get().await, "start the tests' PostgreSQL");
        let name = expect_ok(server.create_database(&migrations).await, "create a database");
        Self {
            inner: Arc::new(Inner { server, name }),
        }
    }

    /// Opens the service's [`Database`], without consumers.
    pub async fn database(&self) -> Database {
        self.database_with(Consumers::none()).await
    }

    /// Opens the service's [`Database`] with these consumers and a [`Recording`].
    pub async fn database_with(&self, consumers: Consumers) -> Database {
        let options = self.options().max_connections(4);
        self.connect(options, consumers).await
    }

    /// Opens a [`Database`] with the test's own options, which are made from [`TestDb::options`]. The database has
    /// these consumers. It has no sentences, jobs or signals, because only `App::equip` attaches those of a program.
    pub async fn connect(&self, options: DatabaseOptions, consumers: Consumers) -> Database {
        let database = expect_ok(Database::connect(options).await, "connect like the service")
            .with_extension(Recording::default())
            .with_forgotten_commits(ForgottenCommits::Panic);
        JobsParts::default().attach(EventsParts::new(consumers).attach(database))
    }

    /// Returns the options with which the service would connect: as `daybook_app`, by the owner's login.
    pub fn options(&self) -> DatabaseOptions {
        DatabaseOptions::new(self.owner_options())
    }

    /// Returns the options to connect as the database's owner, who is not a superuser and is subject to row-level
    /// security.
    pub fn owner_options(&self) -> PgConnectOptions {
        self.inner.server.owner.clone().database(&self.inner.name)
    }

    /// Returns the options to connect as the server's superuser, for tests of what must be rejected. `None` on the
    /// server in `DAYBOOK_TEST_DATABASE_URL`.
    pub fn superuser_options(&self) -> Option<PgConnectOptions> {
        Some(self.inner.server.superuser.clone()?.database(&self.inner.name))
    }

    /// Opens a connection as the owner.
    pub async fn owner(&self) -> PgConnection {
        expect_ok(self.owner_options().connect().await, "connect as the owner")
    }

    /// Opens a pool of two connections as the owner.
    pub async fn owner_pool(&self) -> PgPool {
        let options = sqlx::postgres::PgPoolOptions::new().max_connections(2);
        expect_ok(options.connect_with(self.owner_options()).await, "connect as the owner")
    }

    /// Opens a connection as `daybook_app` without a team. Only the database's own rules limit it.
    pub async fn app_connection(&self) -> PgConnection {
        expect_ok(self.connect_as_app().await, "connect as daybook_app")
    }

    pub(super) async fn connect_as_app(&self) -> Result<PgConnection> {
        Ok(self
            .owner_options()
            .options([("role", daybook_migration::rls::APP_ROLE)])
            .connect()
            .await?)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.server.drop_database(std::mem::take(&mut self.name));
    }
}
