//! Restores a dump into a new cluster, whose transaction ids start again.

use std::path::Path;
use std::process::{Command, Stdio};

use daybook::events::Consumers;
use daybook::jobs::WorkerOptions;
use daybook::postgres::PrivatePostgres;
use daybook::prelude::*;
use daybook::tenancy::{DatabaseOptions, WorkerDatabase};
use daybook_tests::jobs::{JobRunner, program, test_worker_options};
use daybook_tests::{eventually, widget};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Executor as _};

use super::durable::mirror;

fn pipe(from: &PgConnectOptions, to: (&Path, u16)) {
    let connection = |host: &Path, port: u16| {
        [
            format!("--host={}", host.display()),
            format!("--port={port}"),
            "--username=postgres".to_owned(),
        ]
    };
    let mut dump = Command::new("pg_dump")
        .args(connection(from.get_socket().unwrap(), from.get_port()))
        .arg(from.get_database().unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let restored = Command::new("psql")
        .args(connection(to.0, to.1))
        .args(["--dbname=daybook", "--quiet", "--set=ON_ERROR_STOP=1"])
        .stdin(dump.stdout.take().unwrap())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(dump.wait().unwrap().success() && restored.success());
}

#[event_consumer(EventType::Created, object_type = "widget", mode = durable, name = "latecomer")]
async fn latecomer(ctx: &ConsumerContext, event: &Event) -> ConsumerResult {
    let tx = ctx.begin().await?;
    let query = sqlx::query("INSERT INTO jottings (team_id, body) VALUES ($1, $2)");
    tx.execute_sql(query.bind(tx.team_id()).bind(format!("late: {}", event.object_label)))
        .await?;
    tx.commit().await?;
    Ok(())
}

/// Consumes transaction ids.
async fn consume_transaction_ids(connection: &mut PgConnection) {
    connection.execute("SET synchronous_commit = off").await.unwrap();
    connection
        .execute("DO $$ BEGIN FOR i IN 1..20000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$")
        .await
        .unwrap();
}

#[tokio::test]
async fn after_a_restore_into_a_new_cluster_no_event_is_skipped_or_delivered_twice() {
    let consumers = || Consumers::of([mirror::CONSUMER]).unwrap();
    let mut runner = JobRunner::with_consumers(consumers()).await;
    let Some(superuser) = runner.fixture.db.superuser_options() else {
        daybook_tests::skip_without("a superuser of the server that DAYBOOK_TEST_DATABASE_URL names");
        return;
    };
    runner.wait_for_consumer("mirror").await;
    // Makes the old cluster's transaction ids higher than the new one's.
    consume_transaction_ids(&mut runner.fixture.db.owner().await).await;
    for name in ["1 done", "2 done"] {
        runner.fixture.widget(name).await;
    }
    runner.wait_until_idle().await;
    runner.stop_workers().await;
    for name in ["3 left", "4 left"] {
        runner.fixture.widget(name).await;
    }

    let folder = tempfile::tempdir().unwrap();
    let cluster = PrivatePostgres::start(folder.path()).await.unwrap();
    pipe(&superuser, (cluster.socket_dir(), cluster.port()));
    let owner = cluster.owner_options().disable_statement_logging();
    let mut new = owner.connect().await.unwrap();
    let database = Database::connect(DatabaseOptions::new(owner.clone())).await.unwrap();
    let database = program(consumers()).equip(database).unwrap();
    let record = async |name: &str| {
        let tx = database.begin(&runner.fixture.ada.context).await.unwrap();
        create_model_with_event(&tx, widget::named(name), Track::All)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    };
    // No worker has detected the restore yet.
    record("5 here").await;
    let workers = WorkerDatabase::connect(owner.clone(), WorkerOptions::CONNECTIONS)
        .await
        .unwrap();
    let lag = async |consumer: &str| {
        let queue_state = daybook::jobs::queue_state(&workers).await.unwrap();
        let lag = queue_state.lags.into_iter().find(|lag| lag.consumer == consumer);
        lag.map(|lag| (lag.events, lag.since.is_some()))
    };
    assert_eq!(
        lag("mirror").await,
        Some((3, true)),
        "before any worker has detected the restore"
    );
    let working = daybook::jobs::Workers::start(&database, &workers, &test_worker_options())
        .await
        .unwrap();
    let jotted = async || -> Vec<String> {
        let tx = database.begin(&runner.fixture.ada.context).await.unwrap();
        let rows = tx
            .fetch_all(sqlx::query("SELECT body FROM jottings ORDER BY body"))
            .await
            .unwrap();
        rows.iter().map(|row| sqlx::Row::get(row, "body")).collect()
    };
    let mut all = vec!["1 done", "2 done", "3 left", "4 left", "5 here"];
    eventually("the pending events and the new one", async || jotted().await == all).await;
    record("6 here").await;
    all.push("6 here");
    eventually("an event after the restore", async || jotted().await == all).await;
    let attempts: i64 = {
        let tx = database.begin(&runner.fixture.ada.context).await.unwrap();
        let rows = tx
            .fetch_all(sqlx::query("SELECT count(*) AS n FROM job_sessions"))
            .await
            .unwrap();
        sqlx::Row::get(&rows[0], "n")
    };
    assert_eq!(attempts, 6, "one delivery for each event, before and after");
    eventually("no lag", async || lag("mirror").await == Some((0, false))).await;

    // A consumer that begins here starts with the events recorded from now on, even after this cluster reaches the old
    // transaction ids.
    let workers_of_both = WorkerDatabase::connect(owner.clone(), WorkerOptions::CONNECTIONS)
        .await
        .unwrap();
    working.stop().await;
    let both = Consumers::of([mirror::CONSUMER, latecomer::CONSUMER]).unwrap();
    let with_both = program(both).equip(Database::connect(DatabaseOptions::new(owner.clone())).await.unwrap());
    let database_of_both = with_both.unwrap();
    let working = daybook::jobs::Workers::start(&database_of_both, &workers_of_both, &test_worker_options())
        .await
        .unwrap();
    let lag = async |consumer: &str| {
        let queue_state = daybook::jobs::queue_state(&workers_of_both).await.unwrap();
        let lag = queue_state.lags.into_iter().find(|lag| lag.consumer == consumer);
        lag.map(|lag| (lag.events, lag.since.is_some()))
    };
    assert_eq!(lag("latecomer").await, Some((0, false)));
    consume_transaction_ids(&mut new).await;
    consume_transaction_ids(&mut new).await;
    record("7 here").await;
    all.extend(["7 here", "late: 7 here"]);
    eventually("a later event, for both consumers", async || jotted().await == all).await;
    for consumer in ["mirror", "latecomer"] {
        eventually("no lag", async || lag(consumer).await == Some((0, false))).await;
    }
    assert_eq!(jotted().await, all, "no earlier event was delivered");
    working.stop().await;
    database_of_both.close().await;
    database.close().await;
    cluster.stop().await.unwrap();
}
