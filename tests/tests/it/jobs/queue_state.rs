//! Tests of the state of the queue as `daybook consumers` and `/metrics` report it.

use std::time::Duration;

use axum::http::Method;
use daybook::events::Consumers;
use daybook::jobs::{JobCounts, JobsParts, QueueState, WorkerOptions, queue_state_with};
use daybook::prelude::*;
use daybook::tenancy::WorkerDatabase;
use daybook_tests::eventually;
use daybook_tests::http::TestApp;
use daybook_tests::jobs::{
    Endless, JobRunner, Note, Poisoned, program, short_lost_timeout, start_workers, test_worker_options,
};

#[event_consumer(EventType::Created, object_type = "widget", mode = durable, name = "hopeless")]
async fn hopeless(_: &ConsumerContext, _: &Event) -> ConsumerResult {
    Err("this consumer always fails".into())
}

async fn read_queue_state(runner: &JobRunner) -> QueueState {
    queue_state_with_options(runner, &test_worker_options()).await
}

/// Reads the state of the queue with the options of these workers.
async fn queue_state_with_options(runner: &JobRunner, options: &WorkerOptions) -> QueueState {
    let workers = WorkerDatabase::connect(runner.fixture.db.owner_options(), 1)
        .await
        .unwrap();
    let read_queue_state = queue_state_with(&workers, options.lost_after).await.unwrap();
    workers.close().await;
    read_queue_state
}

async fn wait_for_counts(runner: &JobRunner, wanted: JobCounts) {
    eventually(&format!("{wanted:?}"), async || {
        read_queue_state(runner).await.jobs == wanted
    })
    .await;
}

fn no_jobs() -> JobCounts {
    JobCounts::default()
}

#[tokio::test]
async fn a_requested_job_is_due_or_scheduled_before_and_after_the_hand_over() {
    let mut runner = JobRunner::without_workers(program(Consumers::none())).await;
    runner.enqueue(Endless).await;
    let later = JobOptions::new().after(Duration::from_secs(3_600));
    runner.enqueue_with(Note { text: "later".into() }, later).await;
    let (due, scheduled) = (1, 1);
    wait_for_counts(
        &runner,
        JobCounts {
            due,
            scheduled,
            ..no_jobs()
        },
    )
    .await;
    runner.start_workers().await;
    let running = 1;
    wait_for_counts(
        &runner,
        JobCounts {
            running,
            scheduled,
            ..no_jobs()
        },
    )
    .await;
    runner.stop_workers().await;
    wait_for_counts(
        &runner,
        JobCounts {
            due,
            scheduled,
            ..no_jobs()
        },
    )
    .await;
}

#[tokio::test]
async fn jobs_that_wait_for_a_retry_and_jobs_that_were_given_up_are_counted_separately() {
    let runner = JobRunner::start().await;
    let poisoned = runner.enqueue(Poisoned).await;
    let retrying = 1;
    wait_for_counts(&runner, JobCounts { retrying, ..no_jobs() }).await;
    runner.wait_for_attempts(poisoned, &["1 failed", "2 failed"]).await;
    let given_up = 1;
    wait_for_counts(&runner, JobCounts { given_up, ..no_jobs() }).await;
}

#[tokio::test]
async fn a_dead_workers_job_is_not_counted_as_running() {
    let runner = JobRunner::without_workers(program(Consumers::none())).await;
    let id = runner.enqueue(Endless).await;
    let dying = runner.killable_workers().await;
    runner.wait_for_attempts(id, &["1 running"]).await;
    let running = 1;
    wait_for_counts(&runner, JobCounts { running, ..no_jobs() }).await;
    dying.shutdown_background();
    let dead = JobCounts {
        locked_by_dead_worker: 1,
        ..no_jobs()
    };
    eventually("the job of the dead worker", async || {
        queue_state_with_options(&runner, &short_lost_timeout()).await.jobs == dead
    })
    .await;
}

#[tokio::test]
async fn refused_requests_are_counted_separately() {
    let mut runner = JobRunner::without_workers(program(Consumers::none())).await;
    runner.enqueue(Note { text: "refused".into() }).await;
    sqlx::query("UPDATE job_requests SET refused = 'for this test'")
        .execute(&mut worker_connection(&runner).await)
        .await
        .unwrap();
    runner.start_workers().await;
    let refused = 1;
    wait_for_counts(&runner, JobCounts { refused, ..no_jobs() }).await;
}

async fn worker_connection(runner: &JobRunner) -> sqlx::postgres::PgConnection {
    use sqlx::ConnectOptions as _;
    let options = runner.fixture.db.owner_options().options([("role", "daybook_worker")]);
    options.connect().await.unwrap()
}

#[tokio::test]
async fn a_waiting_job_of_a_consumer_without_lag_is_counted() {
    let runner = JobRunner::with_consumers(Consumers::of([hopeless::CONSUMER]).unwrap()).await;
    runner.wait_for_consumer("hopeless").await;
    runner.fixture.widget("one").await;
    eventually("its retry", async || {
        let read_queue_state = read_queue_state(&runner).await;
        let lag = read_queue_state
            .lags
            .iter()
            .find(|lag| lag.consumer == "hopeless")
            .unwrap();
        lag.events == 0 && lag.since.is_none() && lag.jobs.retrying == 1 && lag.jobs.unfinished() == 1
    })
    .await;
    // A replay consists of jobs, too.
    let tx = runner.fixture.begin().await;
    let events = runner.fixture.team.events().await;
    daybook::jobs::replay(&tx, hopeless::CONSUMER, &[events[0].id], true)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    eventually("two retries and no lag", async || {
        let lag = read_queue_state(&runner).await.lags.remove(0);
        lag.events == 0 && lag.jobs.unfinished() == 2
    })
    .await;
}

#[tokio::test]
async fn metrics_contain_each_number() {
    let app = TestApp::start().await;
    let context = daybook::tenancy::Context::system(app.team.id, "test");
    let with_jobs = program(Consumers::of([hopeless::CONSUMER]).unwrap());
    let database = with_jobs.equip(app.database.clone()).unwrap();
    let tx = database.begin(&context).await.unwrap();
    let later = JobOptions::new().after(Duration::from_secs(3_600));
    tx.enqueue_with(Note { text: "later".into() }, later).await.unwrap();
    tx.commit().await.unwrap();
    let seen = JobsParts::of(&app.database).unwrap().last_queue_state.clone();
    let database = JobsParts::update(database, |parts| parts.last_queue_state = seen).unwrap();
    let workers = start_workers(&app.db, &database, &test_worker_options()).await;
    let anonymous = app.anonymous();
    let metrics = async || anonymous.request(Method::GET, "/metrics").await.text();
    eventually("the metrics", async || {
        metrics().await.contains("daybook_jobs{state=\"scheduled\"} 1")
    })
    .await;
    let text = metrics().await;
    for line in [
        "daybook_jobs{state=\"due\"} 0",
        "daybook_jobs{state=\"retrying\"} 0",
        "daybook_jobs{state=\"running\"} 0",
        "daybook_jobs{state=\"locked_by_dead_worker\"} 0",
        "daybook_jobs{state=\"given_up\"} 0",
        "daybook_consumer_lag_events{consumer=\"hopeless\"} 0",
        "daybook_consumer_jobs{consumer=\"hopeless\",state=\"retrying\"} 0",
    ] {
        assert!(text.contains(line), "{line} is not in: {text}");
    }
    workers.stop().await;
}

#[tokio::test]
async fn a_long_job_is_counted_as_running_while_its_worker_is_alive() {
    let runner = JobRunner::start().await;
    let id = runner.enqueue(Endless).await;
    runner.wait_for_attempts(id, &["1 running"]).await;
    sqlx::query("UPDATE graphile_worker._private_jobs SET locked_at = now() - interval '1 hour'")
        .execute(&mut runner.fixture.db.owner().await)
        .await
        .unwrap();
    let running = 1;
    assert_eq!(read_queue_state(&runner).await.jobs, JobCounts { running, ..no_jobs() });
}
