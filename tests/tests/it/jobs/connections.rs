//! Tests that work with a connection never waits for a second one, even with the smallest pools.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use daybook::events::Consumers;
use daybook::jobs::{WorkerOptions, Workers};
use daybook::prelude::*;
use daybook::runs::{self, NewRun, RunOutcome};
use daybook::tenancy::{DatabaseOptions, WorkerDatabase};
use daybook::testing::TestDb;
use daybook_tests::http::{TestApp, sample_program};
use daybook_tests::jobs::{
    Endless, JobRunner, Note, NoteAction, Poisoned, program, scribe, short_lost_timeout, test_worker_options,
};
use daybook_tests::live::LiveClient;
use daybook_tests::{WAIT_LIMIT, eventually};
use serde_json::json;
use sqlx::Row;

/// Longer than any test runs: work that waits for a connection forever makes the test fail.
const HANG_TIMEOUT: Duration = Duration::from_secs(600);

/// Adds an action while its transaction is open.
#[event_consumer(EventType::Created, object_type = "widget", mode = durable, name = "talker")]
async fn talker(ctx: &ConsumerContext, event: &Event) -> ConsumerResult {
    let tx = ctx.begin().await?;
    if ctx.once(&tx).await? {
        let text = event.object_label.clone();
        ctx.add_action(&NoteAction::Noted { text }).await?;
        let query = sqlx::query("INSERT INTO jottings (team_id, body) VALUES ($1, $2)");
        tx.execute_sql(query.bind(tx.team_id()).bind(&event.object_label))
            .await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Adds an action in a transaction that is dropped. The action is kept.
#[event_consumer(EventType::Created, object_type = "widget", mode = durable, name = "fickle")]
async fn fickle(ctx: &ConsumerContext, event: &Event) -> ConsumerResult {
    let tx = ctx.begin().await?;
    let text = event.object_label.clone();
    ctx.add_action(&NoteAction::Noted { text }).await?;
    drop(tx);
    Ok(())
}

/// Writes a run's log while a transaction is open.
#[derive(Debug, Serialize, Deserialize)]
struct Chronicle;

#[async_trait]
impl Job for Chronicle {
    const NAME: &'static str = "chronicle";

    async fn run(self, session: &JobSession) -> JobResult {
        let run = runs::start(session, NewRun::new("chronicle")).await?;
        let tx = session.begin().await?;
        run.console("info", "in a transaction").await?;
        let refused = runs::start(session, NewRun::new("another")).await.unwrap_err();
        assert_eq!(refused.code(), "transaction-open");
        tx.commit().await?;
        run.end(RunOutcome::succeeded()).await?;
        Ok(())
    }
}

async fn small_pool(db: &TestDb, connections: u32) -> DatabaseOptions {
    db.options().max_connections(connections).acquire_timeout(HANG_TIMEOUT)
}

/// Creates a runner whose consumers have begun, with a pool of this size and without workers.
async fn runner_with(connections: u32, consumers: &'static [&'static daybook::events::ConsumerDef]) -> JobRunner {
    let all = || Consumers::of(consumers.iter().copied()).unwrap();
    let mut runner = JobRunner::without_workers(program(all()).job::<Chronicle>()).await;
    runner.start_workers().await;
    runner.stop_workers().await;
    let options = small_pool(&runner.fixture.db, connections).await;
    runner.fixture.database = runner.fixture.database.open_second_pool(options).await.unwrap();
    runner
}

/// Starts the workers of a process with this number of concurrent jobs and of connections for the queue.
async fn start_workers(runner: &JobRunner, concurrency: usize, connections: u32) -> Workers {
    let workers = WorkerDatabase::connect(runner.fixture.db.owner_options(), connections)
        .await
        .unwrap();
    let options = test_worker_options()
        .concurrency(concurrency)
        // No worker counts as dead because the machine is slow.
        .lost_after(Duration::from_secs(300));
    Workers::start(&runner.fixture.database, &workers, &options)
        .await
        .unwrap()
}

/// Returns sessions as `count × name attempt status: actions`.
async fn sessions(runner: &JobRunner) -> Vec<String> {
    let query = "SELECT job_name || ' ' || attempt || ' ' || status || ': ' || jsonb_array_length(actions) AS told,
            count(*) AS n
         FROM job_session_timelines GROUP BY 1 ORDER BY 1";
    let rows = sqlx::query(query)
        .fetch_all(&mut runner.fixture.team.connection().await)
        .await
        .unwrap();
    let render = |row| {
        format!(
            "{} × {}",
            Row::get::<i64, _>(row, "n"),
            Row::get::<&str, _>(row, "told")
        )
    };
    rows.iter().map(render).collect()
}

async fn wait_for_sessions(runner: &JobRunner, wanted: &[&str]) {
    let began = std::time::Instant::now();
    loop {
        let current = sessions(runner).await;
        if current == wanted {
            return;
        }
        assert!(began.elapsed() < WAIT_LIMIT, "{current:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_concurrent_consumers_add_actions_in_transactions_on_five_connections() {
    let runner = runner_with(5, &[talker::CONSUMER]).await;
    for n in 0..83 {
        runner.fixture.widget(&format!("{n:02}")).await;
    }
    let workers = start_workers(&runner, 10, WorkerOptions::CONNECTIONS).await;
    wait_for_sessions(&runner, &["83 × talker 1 succeeded: 1"]).await;
    workers.stop().await;
    assert_eq!(runner.fixture.count("jottings").await, 83);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_jobs_do_works_with_one_connection() {
    let runner = runner_with(1, &[talker::CONSUMER, fickle::CONSUMER, scribe::CONSUMER]).await;
    runner.fixture.widget("one").await;
    runner.fixture.widget("two").await;
    let mut runner = runner;
    let storage = tempfile::tempdir().unwrap();
    let options = runs::RunsOptions::new(storage.path(), "http://localhost");
    let logs = runs::Runs::new(options, runner.fixture.database.clock().clone());
    runner.fixture.database = logs.attach(runner.fixture.database.clone());
    let cancelled = runner.enqueue(Endless).await;
    // The queue needs a second connection, on which it listens.
    let workers = start_workers(&runner, 1, 2).await;
    runner.wait_for_attempts(cancelled, &["1 running"]).await;
    let by_hand = daybook::jobs::SessionSpec::new("by_hand").context(runner.fixture.ada.context.clone());
    let by_hand = daybook::jobs::with_job_session(&runner.fixture.database, by_hand, async |session| {
        session
            .add_action(&NoteAction::Noted { text: "by hand".into() })
            .await?;
        let tx = session.begin().await?;
        session.add_action(&NoteAction::Noted { text: "in it".into() }).await?;
        tx.commit().await?;
        Ok(())
    });
    tokio::time::timeout(WAIT_LIMIT, by_hand)
        .await
        .expect("it doesn't wait for a connection")
        .unwrap();
    let mut connection = runner.fixture.team.connection().await;
    sqlx::query("UPDATE job_sessions SET cancel_requested_at = now() WHERE status = 'running'")
        .execute(&mut connection)
        .await
        .unwrap();
    daybook::jobs::JobsParts::of(&runner.fixture.database)
        .unwrap()
        .notifier
        .cancel(session_of(&mut connection, cancelled).await);
    runner.wait_for_attempts(cancelled, &["1 cancelled"]).await;
    runner.enqueue(Note { text: "noted".into() }).await;
    runner.enqueue(Chronicle).await;
    let poisoned = runner.enqueue(Poisoned).await;
    wait_for_sessions(
        &runner,
        &[
            "1 × by_hand 1 succeeded: 2",
            "1 × chronicle 1 succeeded: 0",
            "1 × endless 1 cancelled: 0",
            "3 × fickle 1 succeeded: 1",
            "1 × note 1 succeeded: 1",
            "1 × poisoned 1 failed: 0",
            "1 × poisoned 2 failed: 0",
            "3 × scribe 1 succeeded: 1",
            "3 × talker 1 succeeded: 1",
        ],
    )
    .await;
    runner.wait_for_attempts(poisoned, &["1 failed", "2 failed"]).await;
    workers.stop().await;
}

async fn session_of(connection: &mut sqlx::postgres::PgConnection, job_id: Uuid) -> Uuid {
    sqlx::query_scalar("SELECT id FROM job_sessions WHERE job_id = $1")
        .bind(job_id)
        .fetch_one(connection)
        .await
        .unwrap()
}

/// The queue's recovery holds a connection while it decides about the job of a dead worker.
#[tokio::test]
async fn a_dead_workers_job_is_recovered_on_two_connections_of_the_queue() {
    let runner = JobRunner::without_workers(program(Consumers::none())).await;
    let id = runner.enqueue(Endless).await;
    let dying = runner.killable_workers().await;
    runner.wait_for_attempts(id, &["1 running"]).await;
    dying.shutdown_background();
    let workers = WorkerDatabase::connect(runner.fixture.db.owner_options(), 2)
        .await
        .unwrap();
    let workers = Workers::start(&runner.fixture.database, &workers, &short_lost_timeout())
        .await
        .unwrap();
    runner.wait_for_attempts(id, &["1 lost", "2 running"]).await;
    workers.stop().await;
}

/// A request holds at most one connection, so requests never wait for each other even if there are as many as
/// connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_and_sockets_are_served_with_one_connection() {
    let db = TestDb::with_migrations(sample_program().migrations().clone()).await;
    let options = small_pool(&db, 1).await;
    let app = TestApp::start_with(db.clone(), options).await;
    let serving = async {
        let ada = app.member("ada", Role::Owner).await;
        let grace = app.member("grace", Role::Member).await;
        let other = db.team("Other").await.id;
        grace.put("/watches/campaign").await.ok();
        let address = app.serve(|router| router).await;
        let mut live = LiveClient::connect(address, &ada).await;
        live.follow(json!({"type": "subscribe", "topic": "threads"})).await;
        let working = (0..4).map(|n| tokio::spawn(crate::poolers::work(ada.clone(), other, "one".to_owned(), n)));
        for one in working.collect::<Vec<_>>() {
            one.await.unwrap();
        }
        let _ = live.next().await;

        let run = ada
            .post("/runs", json!({"name": "import"}))
            .await
            .is(StatusCode::CREATED)
            .json();
        let path = format!("/runs/{}", run["id"].as_str().unwrap());
        let line = json!({"type": "console.line", "payload": {"message": "hello"}});
        ada.post(&format!("{path}/events"), line)
            .idempotency_key("a-line")
            .await
            .ok();
        ada.get(&format!("{path}/events")).await.ok();
        ada.post(&format!("{path}/tickets"), json!({}))
            .await
            .is(StatusCode::CREATED);
        ada.post(&format!("{path}/complete"), json!({"status": "succeeded"}))
            .await
            .ok();
        ada.get(&format!("{path}/summary")).await.ok();
        ada.get(&format!("/stories/{}", run["correlation_id"].as_str().unwrap()))
            .await
            .ok();

        ada.post("/live/tickets", json!({})).await.is(StatusCode::CREATED);
        let (key, _) = ada.make_key("a key", "member").await;
        key.get("/campaigns").await.ok();
        for path in [
            "/threads",
            "/notifications",
            "/members",
            "/api-keys",
            "/job-sessions",
            "/runs",
        ] {
            grace.get(path).await;
        }
        for path in ["/v1/me", "/readyz", "/metrics"] {
            ada.request(Method::GET, path).await.is(StatusCode::OK);
        }
    };
    tokio::time::timeout(WAIT_LIMIT, serving)
        .await
        .expect("no request waits forever");
    eventually("the connection is returned to the pool", async || {
        app.database.connections().1 <= 1
    })
    .await;
}
