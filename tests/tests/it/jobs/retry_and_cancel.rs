//! Tests of retrying and cancelling jobs over HTTP.

use std::time::Duration;

use axum::http::StatusCode;
use daybook::jobs::WorkerOptions;
use daybook::prelude::*;
use daybook::testing::TestDb;
use daybook_tests::http::{Client, TestApp, sample_program};
use daybook_tests::jobs::{Endless, Note, Poisoned, short_lost_timeout, start_workers, test_worker_options};
use daybook_tests::{eventually, migrations, widget};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

async fn app() -> TestApp {
    let program = sample_program().job::<Note>().job::<Poisoned>().job::<Endless>();
    let db = TestDb::with_migrations(migrations()).await;
    let options = db.options();
    TestApp::start_program(program, db, options).await
}

async fn enqueue(app: &TestApp, ada: &Client, job: impl Job) -> Uuid {
    enqueue_with(app, ada, job, JobOptions::new()).await
}

async fn enqueue_with(app: &TestApp, _: &Client, job: impl Job, options: JobOptions) -> Uuid {
    let context = Context::system(app.team.id, "test");
    let tx = app.database.begin(&context).await.unwrap();
    let id = tx.enqueue_with(job, options).await.unwrap();
    tx.commit().await.unwrap();
    id
}

/// Returns a job's sessions, the newest first.
async fn attempts(ada: &Client, job_id: Uuid) -> Vec<Value> {
    let page = ada.get(&format!("/job-sessions?job_id={job_id}")).await.ok();
    page["items"].as_array().unwrap().clone()
}

/// Waits until the newest session of a job has this number and status, and returns its path.
async fn wait_for_session(ada: &Client, job_id: Uuid, number: usize, status: &str) -> String {
    eventually(&format!("attempt {number} {status}"), async || {
        let attempts = attempts(ada, job_id).await;
        attempts.len() == number && attempts[0]["status"] == status
    })
    .await;
    let newest = attempts(ada, job_id).await.remove(0);
    format!("/job-sessions/{}", newest["id"].as_str().unwrap())
}

#[tokio::test]
async fn a_poisoned_job_is_retried_after_its_cause_is_fixed() {
    let app = app().await;
    let ada = app.member("ada", Role::Owner).await;
    let workers = start_workers(&app.db, &app.database, &test_worker_options()).await;
    let (one, other) = (enqueue(&app, &ada, Poisoned).await, enqueue(&app, &ada, Poisoned).await);
    let path = wait_for_session(&ada, one, 2, "failed").await;
    wait_for_session(&ada, other, 2, "failed").await;
    let tx = app.database.begin(&Context::system(app.team.id, "test")).await.unwrap();
    create_model_with_event(&tx, widget::named("mended"), Track::All)
        .await
        .unwrap();
    tx.commit().await.unwrap();

    let accepted = ada
        .post(&format!("{path}/retry"), Value::Null)
        .await
        .is(StatusCode::ACCEPTED);
    assert_eq!(accepted.json()["status"], "failed");
    let third = wait_for_session(&ada, one, 3, "succeeded").await;
    assert_eq!(ada.get(&third).await.ok()["attempt"], 3);
    ada.post(&format!("{path}/retry"), Value::Null)
        .await
        .problem(StatusCode::CONFLICT, "newer-attempt");
    ada.post(&format!("{third}/retry"), Value::Null)
        .await
        .problem(StatusCode::CONFLICT, "job-succeeded");
    ada.post(&format!("{third}/cancel"), Value::Null)
        .await
        .problem(StatusCode::CONFLICT, "job-over");

    // One call retries all jobs that were given up; a second call finds none.
    let all = ada.post("/job-sessions/retry", json!({"job": "poisoned"})).await;
    assert_eq!(all.is(StatusCode::ACCEPTED).json(), json!({"retried": 1}));
    wait_for_session(&ada, other, 3, "succeeded").await;
    let none = ada.post("/job-sessions/retry", json!({})).await;
    assert_eq!(none.is(StatusCode::ACCEPTED).json(), json!({"retried": 0}));
    workers.stop().await;
}

#[tokio::test]
async fn a_running_job_is_cancelled_immediately_and_a_waiting_one_leaves_the_queue() {
    let app = app().await;
    let ada = app.member("ada", Role::Owner).await;
    let patient = test_worker_options()
        // No heartbeat reports the cancellation within the test's time.
        .lost_after(Duration::from_secs(600));
    let workers = start_workers(&app.db, &app.database, &patient).await;
    let running = enqueue(&app, &ada, Endless).await;
    let path = wait_for_session(&ada, running, 1, "running").await;
    ada.post(&format!("{path}/retry"), Value::Null)
        .await
        .problem(StatusCode::CONFLICT, "job-running");
    let accepted = ada.post(&format!("{path}/cancel"), Value::Null).await;
    assert!(accepted.is(StatusCode::ACCEPTED).json()["cancel_requested_at"].is_string());
    wait_for_session(&ada, running, 1, "cancelled").await;

    let waiting = enqueue_with(&app, &ada, Poisoned, JobOptions::new().max_attempts(9)).await;
    let path = wait_for_session(&ada, waiting, 1, "failed").await;
    ada.post(&format!("{path}/cancel"), Value::Null)
        .await
        .is(StatusCode::ACCEPTED);
    eventually("an empty queue", async || {
        let insert_left_session: i64 = sqlx::query_scalar("SELECT count(*) FROM graphile_worker._private_jobs")
            .fetch_one(&mut app.db.owner().await)
            .await
            .unwrap();
        insert_left_session == 0
    })
    .await;
    assert_eq!(attempts(&ada, waiting).await.len(), 1);
    // The job is no longer in the queue, but it can be enqueued again.
    ada.post(&format!("{path}/retry"), Value::Null)
        .await
        .is(StatusCode::ACCEPTED);
    wait_for_session(&ada, waiting, 2, "failed").await;
    workers.stop().await;
}

/// Inserts a session as an attempt leaves it whose job is no longer in the queue. Returns its path.
async fn insert_left_session(app: &TestApp, job: &str, status: &str, attempt: i32, was_cancelled: bool) -> String {
    let id = Uuid::now_v7();
    sqlx::query(
        "INSERT INTO job_sessions (team_id, id, job_name, job_id, queue_job_id, attempt, max_attempts, status, sentence,
            input, context, correlation_id, finished_at, cancel_requested_at)
         VALUES ($1, $2, $3, $2, 1000000, $4, 2, $5, 'Tried', '{}', $6, $1, now(), CASE WHEN $7 THEN now() END)",
    )
    .bind(app.team.id)
    .bind(id)
    .bind(job)
    .bind(attempt)
    .bind(status)
    .bind(serde_json::to_value(Context::system(app.team.id, "test")).unwrap())
    .bind(was_cancelled)
    .execute(&mut app.team.connection().await)
    .await
    .unwrap();
    format!("/job-sessions/{id}")
}

/// Returns the sessions, as paths, whose requests wait to be handed over.
async fn pending_requests(app: &TestApp) -> Vec<String> {
    sqlx::query_scalar("SELECT '/job-sessions/' || job_id FROM job_requests ORDER BY job_id")
        .fetch_all(&mut app.team.connection().await)
        .await
        .unwrap()
}

#[tokio::test]
async fn two_requests_before_the_hand_over_are_one_retry() {
    let app = app().await;
    let ada = app.member("ada", Role::Owner).await;
    let given_up = insert_left_session(&app, "poisoned", "failed", 2, false).await;
    insert_left_session(&app, "poisoned", "failed", 1, false).await;
    let other = insert_left_session(&app, "endless", "lost", 2, false).await;
    let cancelled = insert_left_session(&app, "poisoned", "cancelled", 1, true).await;
    for retried in [1, 0] {
        let all = ada.post("/job-sessions/retry", json!({"job": "poisoned"})).await;
        assert_eq!(all.is(StatusCode::ACCEPTED).json(), json!({"retried": retried}));
    }
    assert_eq!(pending_requests(&app).await, [given_up.as_str()]);
    for _ in 0..2 {
        let again = ada.post(&format!("{other}/retry"), Value::Null).await;
        again.is(StatusCode::ACCEPTED);
    }
    assert_eq!(pending_requests(&app).await, [given_up, other]);
    ada.post(&format!("{cancelled}/cancel"), Value::Null)
        .await
        .problem(StatusCode::CONFLICT, "job-over");
    // A process that stopped has cancelled this attempt, and the job waits for the next one.
    let stopped = insert_left_session(&app, "poisoned", "cancelled", 1, false).await;
    ada.post(&format!("{stopped}/cancel"), Value::Null)
        .await
        .is(StatusCode::ACCEPTED);
    assert_eq!(pending_requests(&app).await.last(), Some(&stopped));
    enqueue_with(&app, &ada, Poisoned, JobOptions::new().max_attempts(9)).await;
    let most: i16 = sqlx::query_scalar("SELECT max(max_attempts) FROM job_requests")
        .fetch_one(&mut app.team.connection().await)
        .await
        .unwrap();
    assert_eq!(most, 9);
}

#[tokio::test]
async fn a_job_that_left_the_queue_is_enqueued_once_by_several_retries() {
    let app = app().await;
    let ada = app.member("ada", Role::Owner).await;
    let given_up = insert_left_session(&app, "poisoned", "failed", 2, false).await;
    // These workers hand the job over, but don't run it.
    let others = daybook::App::new().job::<Note>().equip(app.database.clone()).unwrap();
    let workers = start_workers(&app.db, &others, &test_worker_options()).await;
    let mut owner = app.db.owner().await;
    for _ in 0..2 {
        let again = ada.post(&format!("{given_up}/retry"), Value::Null).await;
        again.is(StatusCode::ACCEPTED);
        eventually("the hand-over", async || pending_requests(&app).await.is_empty()).await;
        let queued = daybook_tests::count(&mut owner, "graphile_worker._private_jobs").await;
        assert_eq!(queued, 1);
    }
    workers.stop().await;
}

/// A job that has failed once and that a busy worker has fetched for its second attempt, and the path of its session; the
/// path of the session that keeps the worker busy.
async fn fetched_by_a_busy_worker(app: &TestApp, ada: &Client) -> (Uuid, String, String) {
    let job = enqueue_with(app, ada, Poisoned, JobOptions::new().max_attempts(9)).await;
    let path = wait_for_session(ada, job, 1, "failed").await;
    let busy = enqueue(app, ada, Endless).await;
    let busy = wait_for_session(ada, busy, 1, "running").await;
    let mut owner = app.db.owner().await;
    sqlx::query("UPDATE graphile_worker._private_jobs SET run_at = now() WHERE locked_at IS NULL")
        .execute(&mut owner)
        .await
        .unwrap();
    eventually("two jobs that the worker holds", async || {
        let held = "SELECT count(*) FROM graphile_worker._private_jobs WHERE locked_at IS NOT NULL";
        sqlx::query_scalar::<_, i64>(held).fetch_one(&mut owner).await.unwrap() == 2
    })
    .await;
    (job, path, busy)
}

fn one_at_a_time() -> WorkerOptions {
    test_worker_options().concurrency(1)
}

/// Cancels a job, and waits until the relay has passed that on.
async fn cancel(app: &TestApp, ada: &Client, path: &str) {
    ada.post(&format!("{path}/cancel"), Value::Null)
        .await
        .is(StatusCode::ACCEPTED);
    eventually("its handing over", async || pending_requests(app).await.is_empty()).await;
}

/// Returns the jobs that a worker would eventually begin, or holds.
async fn queued_jobs(app: &TestApp) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT t.identifier FROM graphile_worker._private_jobs j JOIN graphile_worker._private_tasks t ON t.id = j.task_id
         WHERE j.locked_at IS NOT NULL OR j.attempts < j.max_attempts",
    )
    .fetch_all(&mut app.db.owner().await)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_job_that_is_cancelled_once_a_worker_has_fetched_it_is_at_its_last_attempt() {
    let app = app().await;
    let ada = app.member("ada", Role::Owner).await;
    let workers = start_workers(&app.db, &app.database, &one_at_a_time()).await;
    let (job, path, busy) = fetched_by_a_busy_worker(&app, &ada).await;
    cancel(&app, &ada, &path).await;
    cancel(&app, &ada, &busy).await;
    let path = wait_for_session(&ada, job, 2, "failed").await;
    eventually("nothing left to try", async || queued_jobs(&app).await.is_empty()).await;
    // It can still be retried.
    ada.post(&format!("{path}/retry"), Value::Null)
        .await
        .is(StatusCode::ACCEPTED);
    wait_for_session(&ada, job, 3, "failed").await;
    workers.stop().await;
}

#[tokio::test]
async fn a_job_that_is_cancelled_and_retried_once_a_worker_has_fetched_it_has_further_attempts() {
    let app = app().await;
    let ada = app.member("ada", Role::Owner).await;
    let workers = start_workers(&app.db, &app.database, &one_at_a_time()).await;
    let (job, path, busy) = fetched_by_a_busy_worker(&app, &ada).await;
    cancel(&app, &ada, &path).await;
    ada.post(&format!("{path}/retry"), Value::Null)
        .await
        .is(StatusCode::ACCEPTED);
    eventually("the hand-over of the retry", async || {
        pending_requests(&app).await.is_empty()
    })
    .await;
    cancel(&app, &ada, &busy).await;
    wait_for_session(&ada, job, 2, "failed").await;
    let mut owner = app.db.owner().await;
    let mut attempts = None;
    eventually("the end of the attempt in the queue", async || {
        let released = "SELECT j.attempts, j.max_attempts FROM graphile_worker._private_jobs j
            JOIN graphile_worker._private_tasks t ON t.id = j.task_id
            WHERE t.identifier = 'poisoned' AND j.locked_at IS NULL";
        attempts = sqlx::query_as::<_, (i16, i16)>(released)
            .fetch_optional(&mut owner)
            .await
            .unwrap();
        attempts.is_some()
    })
    .await;
    // As many as the job's MAX_ATTEMPTS from that attempt on.
    assert_eq!(attempts, Some((2, 3)));
    workers.stop().await;
}

#[tokio::test]
async fn a_job_that_is_cancelled_once_a_worker_has_fetched_it_does_not_come_back_when_the_worker_stops() {
    let app = app().await;
    let ada = app.member("ada", Role::Owner).await;
    let workers = start_workers(&app.db, &app.database, &one_at_a_time()).await;
    let (job, path, _) = fetched_by_a_busy_worker(&app, &ada).await;
    cancel(&app, &ada, &path).await;
    // The worker gives back what it has fetched and not begun, and what it had to interrupt.
    workers.stop().await;
    assert_eq!(queued_jobs(&app).await, ["endless"]);
    assert_eq!(attempts(&ada, job).await.len(), 1);
}

#[tokio::test]
async fn a_job_that_is_cancelled_once_a_worker_has_fetched_it_does_not_come_back_when_the_worker_dies() {
    let app = app().await;
    let ada = app.member("ada", Role::Owner).await;
    let dying = Runtime::new().unwrap();
    let (database, db) = (app.database.clone(), app.db.clone());
    let hiring = dying.spawn(async move {
        let own = database.open_second_pool(db.options()).await.unwrap();
        std::mem::forget(start_workers(&db, &own, &one_at_a_time()).await);
    });
    hiring.await.unwrap();
    let (job, path, busy) = fetched_by_a_busy_worker(&app, &ada).await;
    cancel(&app, &ada, &path).await;
    dying.shutdown_background();
    let workers = start_workers(&app.db, &app.database, &short_lost_timeout()).await;
    let busy: Uuid = ada.get(&busy).await.ok()["job_id"].as_str().unwrap().parse().unwrap();
    wait_for_session(&ada, busy, 2, "running").await;
    assert_eq!(queued_jobs(&app).await, ["endless"]);
    assert_eq!(attempts(&ada, job).await.len(), 1);
    workers.stop().await;
}
