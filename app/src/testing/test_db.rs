//! A database for one test.

use std::sync::Arc;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, PgPool};

use super::server::Server;
use super::{Recording, TestTeam, must};
use crate::error::Result;
use crate::events::Consumers;
use crate::tenancy::{Database, DatabaseOptions, ForgottenCommits, Migrations};

/// A migrated database of a test's own. Clones are the same database; it is dropped with the last of them.
#[derive(Clone)]
pub struct TestDb {
    inner: Arc<Inner>,
}

struct Inner {
    server: &'static Server,
    name: String,
}

impl std::fmt::Debug for TestDb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TestDb").field(&self.inner.name).finish()
    }
}

impl TestDb {
    /// A database with Daybook's own tables.
    pub async fn new() -> Self {
        Self::with_migrations(Migrations::default()).await
    }

    /// A database with these migrations applied. The first test of a process that asks for a set applies it;
    /// the others get a copy.
    pub async fn with_migrations(migrations: Migrations) -> Self {
        let server = must(Server::get().await, "start the tests' PostgreSQL");
        let name = must(server.make_database(&migrations).await, "make a database");
        Self {
            inner: Arc::new(Inner { server, name }),
        }
    }

    /// The service's [`Database`], without consumers.
    pub async fn database(&self) -> Database {
        self.database_with(Consumers::none()).await
    }

    /// The service's [`Database`] with these consumers and a [`Recording`].
    pub async fn database_with(&self, consumers: Consumers) -> Database {
        let options = DatabaseOptions {
            max_connections: 4,
            ..self.options()
        };
        self.connect(options, consumers).await
    }

    /// A [`Database`] with options of the test's own, made from [`TestDb::options`].
    pub async fn connect(&self, options: DatabaseOptions, consumers: Consumers) -> Database {
        must(Database::connect(options).await, "connect as the service does")
            .with_extension(consumers)
            .with_extension(Recording::default())
            .with_extension(ForgottenCommits::Panic)
    }

    /// How the service would connect: as `daybook_app`, by the owner's login.
    pub fn options(&self) -> DatabaseOptions {
        DatabaseOptions::new(self.owner_options())
    }

    /// To this database, as its owner: no superuser, and bound by row-level security.
    pub fn owner_options(&self) -> PgConnectOptions {
        self.inner.server.owner.clone().database(&self.inner.name)
    }

    /// To this database, as the server's superuser, for tests of what must be refused. `None` on a server that
    /// `DAYBOOK_TEST_DATABASE_URL` names.
    pub fn superuser_options(&self) -> Option<PgConnectOptions> {
        Some(self.inner.server.superuser.clone()?.database(&self.inner.name))
    }

    /// A connection as the owner.
    pub async fn owner(&self) -> PgConnection {
        must(self.owner_options().connect().await, "connect as the owner")
    }

    /// A pool as the owner, of two connections.
    pub async fn owner_pool(&self) -> PgPool {
        let options = sqlx::postgres::PgPoolOptions::new().max_connections(2);
        must(options.connect_with(self.owner_options()).await, "connect as the owner")
    }

    /// A connection as `daybook_app` with no team set: whoever holds it plays by SQL alone.
    pub async fn app_connection(&self) -> PgConnection {
        must(self.connect_as_app().await, "connect as daybook_app")
    }

    pub(super) async fn connect_as_app(&self) -> Result<PgConnection> {
        Ok(self
            .owner_options()
            .options([("role", daybook_migration::rls::APP_ROLE)])
            .connect()
            .await?)
    }

    /// Founds a team.
    pub async fn team(&self, name: &str) -> TestTeam {
        TestTeam::found(self, name).await
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.server.drop_database(std::mem::take(&mut self.name));
    }
}
