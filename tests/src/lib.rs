//! The tests' kit, in addition to `daybook::testing`: a team to test with, and models with unusual columns.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failure here is the test's failure"
)]
#![expect(clippy::disallowed_methods, reason = "tests wait by the machine's clock")]

pub mod accounting;
pub mod bench;
pub mod http;
pub mod jobs;
pub mod live;
mod migrations;
pub mod ports;
pub mod wide_events;
pub mod widget;

use std::io::Write as _;
use std::time::{Duration, Instant};

use daybook::Result;
use daybook::events::{Consumers, Track, create_model_with_event};
use daybook::tenancy::{Database, Entry, Migrations, Role, TeamTx};
use daybook::testing::{TestDb, TestMember, TestTeam};
use sqlx::postgres::PgConnection;

pub use daybook::campaigns::campaign;
pub use migrations::HarnessMigrator;

/// Returns Daybook's migrations, the sample's and the tests' own.
pub fn migrations() -> Migrations {
    let mut migrations = Migrations::default();
    migrations.add::<daybook::campaigns::Migrator>();
    migrations.add::<HarnessMigrator>();
    migrations
}

/// Returns a database with the tests' own tables.
pub async fn test_db() -> TestDb {
    TestDb::with_migrations(migrations()).await
}

/// A database with one team, which has one member: its owner Ada.
pub struct TeamFixture {
    /// The database's handle for tests.
    pub db: TestDb,
    /// The database, as the service uses it.
    pub database: Database,
    /// The team Acme.
    pub team: TestTeam,
    /// Ada.
    pub ada: TestMember,
}

impl TeamFixture {
    /// Starts without consumers.
    pub async fn new() -> Self {
        Self::with_consumers(Consumers::none()).await
    }

    /// Starts with exactly these consumers.
    pub async fn with_consumers(consumers: Consumers) -> Self {
        let db = test_db().await;
        let database = db.database_with(consumers).await;
        let team = db.team("Acme").await;
        let ada = team.member("ada", Role::Owner).await;
        Self {
            db,
            database,
            team,
            ada,
        }
    }

    /// Begins a transaction as Ada.
    pub async fn begin(&self) -> TeamTx {
        self.database.begin(&self.ada.context).await.unwrap()
    }

    /// Returns Ada's entry to the team.
    pub fn entry(&self) -> Entry {
        self.ada.entry()
    }

    /// Creates and commits a widget.
    pub async fn widget(&self, name: &str) -> widget::Model {
        let tx = self.begin().await;
        let widget = create_model_with_event(&tx, widget::named(name), Track::All)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        widget
    }

    /// Runs `work` in a transaction as Ada, and commits it.
    pub async fn write<T>(&self, work: impl AsyncFnOnce(&TeamTx) -> Result<T>) -> Result<T> {
        let tx = self.begin().await;
        let done = work(&tx).await?;
        tx.commit().await?;
        Ok(done)
    }

    /// Returns the number of the team's committed rows in a table.
    pub async fn count(&self, table: &str) -> i64 {
        let mut connection = self.team.connection().await;
        count(&mut connection, table).await
    }
}

/// Returns the number of rows of a table that a connection sees.
pub async fn count(connection: &mut PgConnection, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .fetch_one(connection)
        .await
        .unwrap()
}

/// Returns the SQLSTATE and the message with which a statement is refused; `None` if it is not.
pub async fn refusal(connection: &mut PgConnection, sql: &str) -> Option<(String, String)> {
    let error = sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
        .execute(connection)
        .await
        .err()?;
    let error = error.into_database_error().unwrap();
    Some((
        error.code().unwrap_or_default().into_owned(),
        error.message().to_owned(),
    ))
}

/// The time that a test waits for something that must happen. After this time the test fails. No test depends on how
/// soon it happens: a shared machine may be many times slower than a developer's own.
pub const WAIT_LIMIT: Duration = Duration::from_secs(60);

/// Waits until `ready` returns true.
///
/// # Panics
/// After [`WAIT_LIMIT`].
pub async fn eventually(what: &str, mut ready: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !ready().await {
        assert!(
            began.elapsed() < WAIT_LIMIT,
            "did not happen within {WAIT_LIMIT:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Returns the short form of a load for `make test`, or the long one for `make soak` (`DAYBOOK_SOAK=1`).
pub fn soak<T>(short: T, long: T) -> T {
    if std::env::var_os("DAYBOOK_SOAK").is_some() {
        long
    } else {
        short
    }
}

/// Reports on stderr that a test is skipped. The test runner doesn't capture this text, so the test doesn't look
/// passed.
pub fn skip(reason: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // If stderr is closed, the test does not fail.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {reason}");
}

/// Skips a test that needs a component which is not installed here. Under CI (`CI=true`), where the Makefile installs
/// everything that the tests need, the test fails instead.
///
/// # Panics
/// Under CI.
pub fn skip_without(component: &str) {
    let in_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!in_ci, "CI must not skip tests: {component} is missing");
    skip(&format!("{component} is missing"));
}

/// Returns the URL with which another process connects to a test's database as its owner. Returns `None` for a server
/// from `DAYBOOK_TEST_DATABASE_URL`, because its password is not known here.
pub fn url_of(db: &TestDb) -> Option<String> {
    let owner = db.owner_options();
    Some(format!(
        "postgres:///{}?host={}&port={}&user={}",
        owner.get_database()?,
        owner.get_socket()?.display().to_string().replace('/', "%2F"),
        owner.get_port(),
        owner.get_username(),
    ))
}

/// Drops `work` while one of its statements waits for a lock that another session holds. The statement continues to
/// wait in the server.
///
/// # Panics
/// If the work ends, or doesn't wait for a lock within [`WAIT_LIMIT`].
pub async fn drop_while_blocked<T>(db: &TestDb, work: impl Future<Output = T>) {
    tokio::select! {
        _ = work => panic!("the work ended without waiting for a lock"),
        () = wait_for_blocked_session(db) => {}
    }
}

/// Waits until a session of this database waits for a lock that another session holds.
pub async fn wait_for_blocked_session(db: &TestDb) {
    wait_for_blocked_sessions(db, 1).await;
}

/// Waits until at least `sessions` sessions of this database wait for locks that other sessions hold.
pub async fn wait_for_blocked_sessions(db: &TestDb, sessions: i64) {
    let mut owner = db.owner().await;
    eventually("sessions that wait for locks", async || {
        let waiting: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        .fetch_one(&mut owner)
        .await
        .unwrap();
        waiting >= sessions
    })
    .await;
}
