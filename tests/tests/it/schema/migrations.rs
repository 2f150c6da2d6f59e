//! Tests migrations as they run in production: with an owner that is subject to row-level security.

use daybook::tenancy::Migrations;
use daybook::testing::TestDb;
use daybook_migration::for_each_team;
use daybook_tests::{TeamFixture, migrations};
use sea_orm::{ConnectionTrait, SqlxPostgresConnector, TransactionTrait as _};
use sea_orm_migration::SchemaManager;

/// Returns everything in a database's schema that a migration can create, as text, without the migrations' own tables.
pub(super) async fn catalogue(db: &TestDb) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT * FROM (
             SELECT format('%s %s %s %s %s %s %s', relkind, relname, relrowsecurity, relforcerowsecurity, relacl, reloptions,
                        pg_get_partkeydef(oid)) AS line
                 FROM pg_class WHERE relnamespace = 'public'::regnamespace
             UNION ALL
             SELECT format('column %s.%s %s %s %s %s', attrelid::regclass, attname, format_type(atttypid, atttypmod),
                        attnotnull, attacl, pg_get_expr(adbin, adrelid))
                 FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
                 LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
                 WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND attnum > 0
                   AND NOT attisdropped
             UNION ALL
             SELECT format('constraint %s %s', conrelid::regclass, pg_get_constraintdef(oid))
                 FROM pg_constraint WHERE connamespace = 'public'::regnamespace
             UNION ALL SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public'
             UNION ALL SELECT format('policy %s', p) FROM pg_policies p
             UNION ALL SELECT format('trigger %s %s %s', tgrelid::regclass, tgname, tgenabled)
                 FROM pg_trigger WHERE tgname !~ '^RI_'
             UNION ALL SELECT format('function %s %s %s', oid::regprocedure, proacl, prosrc)
                 FROM pg_proc WHERE pronamespace = 'public'::regnamespace
             UNION ALL SELECT format('type %s', typname) FROM pg_type
                 WHERE typnamespace = 'public'::regnamespace AND typtype <> 'c' AND typcategory <> 'A'
         ) all_of_it WHERE line !~ '_migrations' ORDER BY 1",
    )
    .fetch_all(&mut db.owner().await)
    .await
    .unwrap()
}

#[tokio::test]
async fn up_and_down_to_nothing_and_up_again() {
    let fixture = TeamFixture::new().await;
    fixture.widget("w").await;
    let (owner, migrations) = (fixture.db.owner_options(), migrations());
    let first = catalogue(&fixture.db).await;
    assert!(first.len() > 200, "{first:#?}");
    let applied = migrations.status(&owner).await.unwrap().applied;

    // With rows in the tables, and with open connections of the service.
    migrations.down(&owner, u32::MAX).await.unwrap();
    assert_eq!(catalogue(&fixture.db).await, Vec::<String>::new(), "left behind");
    let status = migrations.status(&owner).await.unwrap();
    assert_eq!((status.applied, status.pending), (vec![], applied.clone()));

    migrations.up(&owner).await.unwrap();
    assert_eq!(catalogue(&fixture.db).await, first);
    assert_eq!(migrations.status(&owner).await.unwrap().applied, applied);
    fixture.db.database().await;
}

#[tokio::test]
async fn down_takes_the_users_steps_before_daybooks() {
    let db = daybook_tests::test_db().await;
    let (owner, migrations) = (db.owner_options(), migrations());
    migrations.down(&owner, 2).await.unwrap();
    let status = migrations.status(&owner).await.unwrap();
    assert_eq!(status.pending, ["m0001_campaigns", "m0001_widgets"]);
    migrations.up(&owner).await.unwrap();
    assert!(migrations.status(&owner).await.unwrap().pending.is_empty());
}

/// Processes that start together take turns.
#[tokio::test]
async fn migrations_that_run_at_once_wait_for_each_other() {
    let db = TestDb::new().await;
    let (owner, all) = (db.owner_options(), migrations());
    let runs = (0..4).map(|_| {
        let (owner, all) = (owner.clone(), all.clone());
        tokio::spawn(async move { all.up(&owner).await })
    });
    for run in runs.collect::<Vec<_>>() {
        run.await.unwrap().unwrap();
    }
    assert!(all.status(&owner).await.unwrap().pending.is_empty());
}

/// A server that ends idle transactions does not end the migrations' lock.
#[tokio::test]
async fn a_server_s_timeouts_do_not_end_the_lock_while_migrations_run() {
    let db = TestDb::new().await;
    let (owner, all) = (db.owner_options(), migrations());
    for setting in ["idle_in_transaction_session_timeout", "lock_timeout"] {
        let sql =
            format!("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET {setting} = 100', current_database()); END $$");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&mut db.owner().await)
            .await
            .unwrap();
    }
    all.down(&owner, u32::MAX).await.unwrap();
    let runs = (0..4).map(|_| {
        let (owner, all) = (owner.clone(), all.clone());
        tokio::spawn(async move { all.up(&owner).await })
    });
    for run in runs.collect::<Vec<_>>() {
        run.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_template_is_made_for_each_set_of_migrations() {
    let (plain, full) = (TestDb::new().await, daybook_tests::test_db().await);
    let mut sample = Migrations::default();
    sample.add::<daybook::campaigns::Migrator>();
    let mut harness = Migrations::default();
    harness.add::<daybook_tests::HarnessMigrator>();
    let (sample, harness) = (
        TestDb::with_migrations(sample).await,
        TestDb::with_migrations(harness).await,
    );
    let has = async |db: &TestDb, table: &str| -> bool {
        sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
            .bind(table)
            .fetch_one(&mut db.owner().await)
            .await
            .unwrap()
    };
    for (db, campaigns, widgets) in [
        (&plain, false, false),
        (&sample, true, false),
        (&harness, false, true),
        (&full, true, true),
    ] {
        assert_eq!(
            (has(db, "campaigns").await, has(db, "widgets").await),
            (campaigns, widgets),
            "{db:?}"
        );
    }
}

/// Under forced row-level security an owner's plain UPDATE changes no row and returns no error.
#[tokio::test]
async fn for_each_team_reaches_the_rows_that_a_plain_update_does_not() {
    let fixture = TeamFixture::new().await;
    let rival = fixture.db.team("Rival").await;
    fixture.widget("ours").await;
    let mut theirs = rival.connection().await;
    sqlx::query("INSERT INTO widgets (team_id, id, name) VALUES ($1, $1, 'theirs')")
        .bind(rival.id)
        .execute(&mut theirs)
        .await
        .unwrap();

    let pool = fixture.db.owner_pool().await;
    let db = SqlxPostgresConnector::from_sqlx_postgres_pool(pool.clone());
    let manager = SchemaManager::new(&db);
    let backfill = "UPDATE widgets SET note = 'filled'";
    let plain = db.execute_unprepared(backfill).await.unwrap().rows_affected();
    assert_eq!(
        plain, 0,
        "row-level security doesn't apply to this owner: the test would prove nothing"
    );

    let mut touched = Vec::new();
    for_each_team(&manager, async |tx, team_id| {
        let rows = tx.execute_unprepared(backfill).await?.rows_affected();
        touched.push((team_id, rows));
        Ok(())
    })
    .await
    .unwrap();
    let mut expected = vec![(daybook::tenancy::SYSTEM_TEAM, 0), (fixture.team.id, 1), (rival.id, 1)];
    expected.sort();
    assert_eq!(touched, expected, "all teams, including the system team");
    assert_eq!(fixture.count("widgets WHERE note = 'filled'").await, 1);
    let left = db.execute_unprepared(backfill).await.unwrap().rows_affected();
    assert_eq!(left, 0, "a team was left on the connection");

    // A step may call it in a transaction of its own.
    let step = db.begin().await.unwrap();
    for_each_team(&SchemaManager::new(&step), async |_, _| Ok(()))
        .await
        .unwrap();
    let left = step.execute_unprepared(backfill).await.unwrap().rows_affected();
    assert_eq!(left, 0, "a team was left in the transaction");
    step.rollback().await.unwrap();
    pool.close().await;
}

/// A migration may end between the queue's own steps and the grants that follow them.
#[tokio::test]
async fn a_queue_without_the_workers_rights_is_migrated_again() {
    let db = TestDb::new().await;
    let (options, migrations) = (db.owner_options(), Migrations::default());
    let complete = migrations.status(&options).await.unwrap();
    let mut owner = db.owner().await;
    sqlx::raw_sql(
        "REVOKE USAGE ON SCHEMA graphile_worker FROM daybook_worker;
         REVOKE INSERT ON graphile_worker._private_jobs FROM daybook_worker",
    )
    .execute(&mut owner)
    .await
    .unwrap();
    let status = migrations.status(&options).await.unwrap();
    assert!(
        matches!(status.pending.as_slice(), [queue] if queue.starts_with("graphile_worker_")),
        "{:?}",
        status.pending
    );
    migrations.up(&options).await.unwrap();
    let status = migrations.status(&options).await.unwrap();
    assert_eq!((status.applied, status.pending), (complete.applied, vec![]));
    let may: bool =
        sqlx::query_scalar("SELECT has_table_privilege('daybook_worker', 'graphile_worker._private_jobs', 'INSERT')")
            .fetch_one(&mut owner)
            .await
            .unwrap();
    assert!(may);
}

/// A program from before m0006 doesn't know readers, and would consider them people who don't want to follow.
#[tokio::test]
async fn readers_are_removed_with_the_step_that_added_them() {
    let fixture = TeamFixture::new().await;
    let mut inside = fixture.team.connection().await;
    let insert = "WITH thread AS (
            INSERT INTO threads (team_id, id, object_type, object_id, object_label, last_seq)
            VALUES ($1, $3, 'widget', $3::text, 'w', 1) RETURNING id)
        INSERT INTO thread_followers (team_id, thread_id, user_id, following, reason) SELECT $1, id, $2, false, $4 FROM thread";
    for (thread, reason) in [(1, "reader"), (2, "manual")] {
        sqlx::query(insert)
            .bind(fixture.team.id)
            .bind(fixture.ada.user_id)
            .bind(uuid::Uuid::from_u128(thread))
            .bind(reason)
            .execute(&mut inside)
            .await
            .unwrap();
    }
    drop(inside);
    let (owner, migrations) = (fixture.db.owner_options(), migrations());
    loop {
        migrations.down(&owner, 1).await.unwrap();
        let status = migrations.status(&owner).await.unwrap();
        if status.pending.iter().any(|step| step == "m0006_preferences") {
            break;
        }
    }
    let left: Vec<String> = sqlx::query_scalar("SELECT reason FROM thread_followers")
        .fetch_all(&mut fixture.team.connection().await)
        .await
        .unwrap();
    assert_eq!(left, ["manual"]);
    migrations.up(&owner).await.unwrap();
}
