//! Tests migration steps that run while the service runs: from the last release on, killed in the middle, and with
//! concurrent writers.

use daybook::tenancy::Migrations;
use daybook::testing::TestDb;
use daybook_migration::Migrator;
use daybook_tests::eventually;
use sea_orm::SqlxPostgresConnector;
use sea_orm_migration::prelude::*;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::migrations::catalogue;

/// The number of steps of version 0.1.0.
const STEPS_OF_0_1_0: u32 = 12;
/// More than one batch.
const MEMBERS: i32 = 2_300;

const SMALL: Uuid = Uuid::from_u128(1);
const LARGE: Uuid = Uuid::from_u128(2);

/// Returns a database whose next pending step is this one.
async fn database_before(step: &str) -> TestDb {
    let db = TestDb::new().await;
    let (owner, migrations) = (db.owner_options(), Migrations::default());
    while !migrations
        .status(&owner)
        .await
        .unwrap()
        .pending
        .iter()
        .any(|name| name == step)
    {
        migrations.down(&owner, 1).await.unwrap();
    }
    db
}

/// Creates two teams, one of them large, and API keys of a member and of a former member, in the schema of version
/// 0.1.0.
async fn seed(owner: &mut PgConnection) {
    // The owner is also subject to the policies, so it disables that while it writes the rows.
    let tables = ["teams", "users", "memberships", "api_keys"];
    for table in tables {
        let lift = format!("ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY");
        owner.execute(AssertSqlSafe(lift)).await.unwrap();
    }
    for (team, members) in [(SMALL, 3), (LARGE, MEMBERS)] {
        let seed = format!(
            "INSERT INTO teams (id, name) VALUES ('{team}', 'Acme');
             WITH people AS (
                 INSERT INTO users (id, issuer, subject, display_name, email)
                 SELECT gen_random_uuid(), '{team}', n::text, 'Person ' || n, n || '@example.com'
                 FROM generate_series(1, {members}) AS n RETURNING id, subject)
             INSERT INTO memberships (team_id, user_id, role, handle) SELECT '{team}', id, 'admin', 'p' || subject FROM people;
             INSERT INTO api_keys (team_id, id, name, prefix, secret_sha256, role, created_by)
                 SELECT '{team}', gen_random_uuid(), 'key', user_id::text, sha256('secret'), 'member', user_id
                 FROM memberships WHERE team_id = '{team}';
             INSERT INTO api_keys (team_id, id, name, prefix, secret_sha256, role, created_by)
                 VALUES ('{team}', gen_random_uuid(), 'left', 'left', sha256('secret'), 'member', gen_random_uuid())"
        );
        owner.execute(AssertSqlSafe(seed)).await.unwrap();
    }
    for table in tables {
        let force = format!("ALTER TABLE {table} FORCE ROW LEVEL SECURITY");
        owner.execute(AssertSqlSafe(force)).await.unwrap();
    }
}

/// Returns the number of a team's rows that fulfil a condition.
async fn count(owner: &mut PgConnection, team: Uuid, what: &str) -> i64 {
    let mut tx = owner.begin().await.unwrap();
    sqlx::query("SELECT set_config('daybook.team_id', $1, true)")
        .bind(team.to_string())
        .execute(&mut *tx)
        .await
        .unwrap();
    let count = sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {what}")))
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    // A transaction that is dropped ends with the next use of its connection, and holds its locks until then.
    tx.rollback().await.unwrap();
    count
}

fn migrate(db: &TestDb) -> JoinHandle<daybook::Result<()>> {
    let owner = db.owner_options();
    tokio::spawn(async move { Migrations::default().up(&owner).await })
}

/// Waits until a statement with this beginning waits for a lock, and ends its connection.
async fn kill_waiting(owner: &mut PgConnection, statement: &str) {
    let pid = waiting(owner, statement).await;
    sqlx::query("SELECT pg_terminate_backend($1)")
        .bind(pid)
        .execute(owner)
        .await
        .unwrap();
}

async fn waiting(owner: &mut PgConnection, statement: &str) -> i32 {
    let mut found = None;
    eventually(statement, async || {
        found = sqlx::query_scalar(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
                AND starts_with(query, $1)",
        )
        .bind(statement)
        .fetch_optional(&mut *owner)
        .await
        .unwrap();
        found.is_some()
    })
    .await;
    found.unwrap()
}

#[tokio::test]
async fn a_database_of_the_last_release_is_upgraded() {
    let (db, fresh) = (TestDb::new().await, TestDb::new().await);
    let (owner, migrations) = (db.owner_options(), Migrations::default());
    migrations.down(&owner, u32::MAX).await.unwrap();
    let pool = db.owner_pool().await;
    let connection = SqlxPostgresConnector::from_sqlx_postgres_pool(pool.clone());
    Migrator::up(&connection, Some(STEPS_OF_0_1_0)).await.unwrap();
    pool.close().await;
    let applied = migrations.status(&owner).await.unwrap().applied;
    assert_eq!(applied.last().map(String::as_str), Some("m0012_runs"));
    let mut sql = db.owner().await;
    seed(&mut sql).await;

    migrations.up(&owner).await.unwrap();
    assert_eq!(catalogue(&db).await, catalogue(&fresh).await);
    // The self-check compares the schema, too.
    db.database().await;
    for (team, members) in [(SMALL, 3), (LARGE, i64::from(MEMBERS))] {
        for (what, expected) in [
            (
                "memberships WHERE display_name LIKE 'Person %' AND email LIKE '%@example.com'",
                members,
            ),
            ("api_keys WHERE owned_by = created_by", members),
            ("api_keys WHERE owned_by IS NULL AND name = 'left'", 1),
        ] {
            assert_eq!(count(&mut sql, team, what).await, expected, "{what}");
        }
    }
}

#[tokio::test]
async fn a_killed_backfill_keeps_its_batches_and_continues() {
    let db = database_before("m0019_existing_rows").await;
    let mut owner = db.owner().await;
    seed(&mut owner).await;
    // A long transaction changes the last row of the large team.
    let mut slow = db.owner().await;
    let mut slow = slow.begin().await.unwrap();
    let lock = format!(
        "SELECT set_config('daybook.team_id', '{LARGE}', true);
         SELECT FROM memberships WHERE team_id = '{LARGE}' ORDER BY user_id DESC LIMIT 1 FOR UPDATE"
    );
    slow.execute(AssertSqlSafe(lock)).await.unwrap();

    let running = migrate(&db);
    kill_waiting(&mut owner, "UPDATE memberships").await;
    running.await.unwrap().unwrap_err();
    let unnamed = "memberships WHERE display_name IS NULL";
    assert_eq!(
        count(&mut owner, SMALL, unnamed).await,
        0,
        "the teams before it are done"
    );
    assert!(count(&mut owner, LARGE, unnamed).await > 0);
    slow.rollback().await.unwrap();

    migrate(&db).await.unwrap().unwrap();
    assert_eq!(count(&mut owner, LARGE, unnamed).await, 0);
    db.database().await;
}

#[tokio::test]
async fn an_index_is_built_with_concurrent_writers_and_again_after_a_kill() {
    let (db, fresh) = (database_before("m0020_indexes").await, TestDb::new().await);
    let mut owner = db.owner().await;
    let team = db.team("Acme").await;
    let insert = "INSERT INTO threads (team_id, id, object_type, object_id, object_label, last_seq)
        VALUES ($1, gen_random_uuid(), 'widget', $2, 'w', 1)";
    // A transaction with a write is open, so that the index build waits for it.
    let mut open = team.connection().await;
    let mut open = open.begin().await.unwrap();
    sqlx::query(insert)
        .bind(team.id)
        .bind("1")
        .execute(&mut *open)
        .await
        .unwrap();

    let build = "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS threads_object_key_next";
    let running = migrate(&db);
    waiting(&mut owner, build).await;
    // Other transactions write in the meantime.
    let mut writer = team.connection().await;
    writer.execute("SET lock_timeout = '10s'").await.unwrap();
    sqlx::query(insert)
        .bind(team.id)
        .bind("2")
        .execute(&mut writer)
        .await
        .unwrap();
    kill_waiting(&mut owner, build).await;
    running.await.unwrap().unwrap_err();
    let left = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('threads_object_key_next')";
    let valid: Option<bool> = sqlx::query_scalar(left).fetch_optional(&mut owner).await.unwrap();
    assert_eq!(valid, Some(false), "the kill left an invalid index");
    // The constraint was always enforced.
    let twice = sqlx::query(insert).bind(team.id).bind("2").execute(&mut writer).await;
    assert!(twice.is_err());
    open.commit().await.unwrap();

    migrate(&db).await.unwrap().unwrap();
    assert_eq!(catalogue(&db).await, catalogue(&fresh).await);
    let twice = sqlx::query(insert).bind(team.id).bind("1").execute(&mut writer).await;
    assert!(twice.is_err());
}

/// A step after Daybook's that keeps the `lock_timeout` of both connections of its pool, outside a transaction.
struct SeesLockTimeout;

struct LaterSteps;

impl MigratorTrait for LaterSteps {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(SeesLockTimeout)]
    }

    fn migration_table_name() -> DynIden {
        "later_migrations".into_iden()
    }
}

impl MigrationName for SeesLockTimeout {
    fn name(&self) -> &'static str {
        "m0001_later"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for SeesLockTimeout {
    fn use_transaction(&self) -> Option<bool> {
        Some(false)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        connection
            .execute_unprepared("CREATE TABLE seen_lock_timeout (value text)")
            .await?;
        // Two statements at once need both connections.
        let see = "INSERT INTO seen_lock_timeout SELECT current_setting('lock_timeout') FROM pg_sleep(0.3)";
        tokio::try_join!(connection.execute_unprepared(see), connection.execute_unprepared(see)).map(drop)
    }
}

/// A database that ends each wait for a lock after 100 ms, and whose next pending step is `m0014_row_origins`, the first
/// that sets a timeout of its own.
async fn database_with_lock_timeout() -> TestDb {
    let db = database_before("m0014_row_origins").await;
    db.owner()
        .await
        .execute("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET lock_timeout = 100', current_database()); END $$")
        .await
        .unwrap();
    db
}

async fn seen_lock_timeouts(db: &TestDb) -> Vec<String> {
    sqlx::query_scalar("SELECT value FROM seen_lock_timeout")
        .fetch_all(&mut db.owner().await)
        .await
        .unwrap()
}

/// Whether a statement that begins so waits for a lock, and has done so for longer than this.
async fn has_waited(owner: &mut PgConnection, statement: &str, seconds: f64) -> bool {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
            AND starts_with(query, $1) AND clock_timestamp() - query_start > make_interval(secs => $2))",
    )
    .bind(statement)
    .bind(seconds)
    .fetch_one(owner)
    .await
    .unwrap()
}

/// A step limits its waits to 5 s until it has the locks that requests need, too. Neither that limit nor the server's
/// ends a wait that comes later.
#[tokio::test]
async fn a_servers_lock_timeout_ends_no_step_that_waits_for_writers() {
    let db = database_with_lock_timeout().await;
    let (mut owner, mut first, mut second) = (db.owner().await, db.owner().await, db.owner().await);
    // This one has locked a team's row: `m0016_people` waits for it after it has lifted its own limit.
    let mut of_a_team = first.begin().await.unwrap();
    of_a_team.execute("LOCK TABLE teams IN ROW SHARE MODE").await.unwrap();
    // This one writes to a table that no step changes. An index that is built concurrently waits for its snapshot.
    let mut of_a_key = second.begin().await.unwrap();
    of_a_key
        .execute(
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
             LOCK TABLE idempotency_keys IN ROW EXCLUSIVE MODE;
             SELECT count(*) FROM idempotency_keys",
        )
        .await
        .unwrap();

    let options = db.owner_options();
    let mut migrations = Migrations::default();
    migrations.add::<LaterSteps>();
    let mut migration = tokio::spawn(async move { migrations.up(&options).await });
    for (statement, seconds, writer) in [
        ("CREATE POLICY own_invitations", 6.0, of_a_team),
        ("CREATE INDEX CONCURRENTLY", 1.0, of_a_key),
    ] {
        eventually(statement, async || {
            migration.is_finished() || has_waited(&mut owner, statement, seconds).await
        })
        .await;
        if migration.is_finished() {
            panic!("{statement} did not wait: {:?}", (&mut migration).await);
        }
        writer.rollback().await.unwrap();
    }
    migration.await.unwrap().unwrap();
    assert_eq!(
        seen_lock_timeouts(&db).await,
        ["0", "0"],
        "a later step waits as long as it must"
    );
}

/// A program may apply Daybook's steps itself, with a pool and timeouts of its own.
#[tokio::test]
async fn steps_leave_a_connections_lock_timeout_as_it_was() {
    let db = database_with_lock_timeout().await;
    let pool = db.owner_pool().await;
    let connection = SqlxPostgresConnector::from_sqlx_postgres_pool(pool.clone());
    Migrator::up(&connection, None).await.unwrap();
    LaterSteps::up(&connection, None).await.unwrap();
    pool.close().await;
    assert_eq!(seen_lock_timeouts(&db).await, ["100ms", "100ms"]);
}

/// Other transactions wait behind the exchange, so it gives up after a while and is tried again.
#[tokio::test]
async fn the_exchange_of_an_index_waits_for_a_reader_no_longer_than_its_limit() {
    let (db, fresh) = (database_before("m0020_indexes").await, TestDb::new().await);
    let mut owner = db.owner().await;
    let mut reader = db.owner().await;
    let mut reader = reader.begin().await.unwrap();
    reader.execute("LOCK TABLE threads IN ACCESS SHARE MODE").await.unwrap();
    let exchange = "ALTER TABLE public.threads DROP CONSTRAINT";
    let running = migrate(&db);
    waiting(&mut owner, exchange).await;
    eventually("the end of the wait", async || {
        !has_waited(&mut owner, exchange, 0.0).await
    })
    .await;
    reader.rollback().await.unwrap();
    running.await.unwrap().unwrap();
    assert_eq!(catalogue(&db).await, catalogue(&fresh).await);
}
