//! Tests of when a session whose worker is silent counts as lost.

use std::time::Duration;

use daybook::events::Consumers;
use daybook::prelude::*;
use daybook_tests::eventually;
use daybook_tests::jobs::{JobRunner, program, test_worker_options};
use serde_json::json;
use sqlx::AssertSqlSafe;

/// Starts a session that never ends. Its last heartbeat was this number of seconds ago.
async fn start_silent_session(runner: &JobRunner, name: &'static str, seconds: f64) {
    let database = runner.fixture.database.clone();
    let spec = SessionSpec::new(name).context(runner.fixture.ada.context.clone());
    let (begun, begins) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        with_job_session(&database, spec, |session| async move {
            let _ = begun.send(session.id());
            std::future::pending::<JobResult>().await
        })
        .await
    });
    let update = format!(
        "UPDATE job_sessions SET heartbeat_at = clock_timestamp() - {seconds} * interval '1 second' WHERE id = '{}'",
        begins.await.unwrap()
    );
    let mut connection = runner.fixture.team.connection().await;
    let updated = sqlx::query(AssertSqlSafe(update)).execute(&mut connection);
    assert_eq!(updated.await.unwrap().rows_affected(), 1);
}

#[tokio::test]
async fn a_session_is_lost_after_the_limit_and_not_before() {
    let runner = JobRunner::without_workers(program(Consumers::none())).await;
    start_silent_session(&runner, "beyond", 60.5).await;
    // Leaves five seconds for a slow machine.
    start_silent_session(&runner, "within", 55.0).await;
    let workers = runner
        .start_other_workers(&test_worker_options().lost_after(Duration::from_secs(60)))
        .await;
    let mut connection = runner.fixture.team.connection().await;
    let mut statuses = async || -> Vec<(String, String)> {
        sqlx::query_as("SELECT job_name, status FROM job_sessions WHERE job_name IN ('beyond', 'within') ORDER BY 1")
            .fetch_all(&mut connection)
            .await
            .unwrap()
    };
    let wanted = [("beyond", "lost"), ("within", "running")].map(|(name, status)| (name.to_owned(), status.to_owned()));
    eventually("the lost session", async || statuses().await == wanted).await;
    workers.stop().await;
}

#[tokio::test]
async fn a_session_marked_as_lost_stays_lost_when_its_work_ends() {
    let fixture = daybook_tests::TeamFixture::new().await;
    let spec = SessionSpec::new("sync").context(fixture.ada.context.clone());
    let mut connection = fixture.team.connection().await;
    with_job_session(&fixture.database, spec, async |session| {
        sqlx::query("UPDATE job_sessions SET status = 'lost', finished_at = now() WHERE id = $1")
            .bind(session.id())
            .execute(&mut fixture.team.connection().await)
            .await?;
        Ok(())
    })
    .await
    .unwrap();
    let status: String = sqlx::query_scalar("SELECT status FROM job_sessions")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(status, "lost");
}

#[tokio::test]
async fn an_attempt_that_was_only_fetched_runs_again() {
    let mut runner = JobRunner::without_workers(program(Consumers::none())).await;
    let id = Uuid::now_v7();
    let context = serde_json::to_value(&runner.fixture.ada.context).unwrap();
    let payload = json!({"job_id": id, "input": {"text": "x"}, "context": context});
    let mut owner = runner.fixture.db.owner().await;
    sqlx::query("SELECT FROM graphile_worker.add_job('note', $1::json, max_attempts => 5)")
        .bind(payload)
        .execute(&mut owner)
        .await
        .unwrap();
    sqlx::query(
        "UPDATE graphile_worker._private_jobs SET locked_by = 'worker_that_died', attempts = 2,
            locked_at = now() - interval '1 hour'",
    )
    .execute(&mut owner)
    .await
    .unwrap();
    sqlx::query(
        "INSERT INTO job_sessions (team_id, id, job_name, job_id, queue_job_id, attempt, max_attempts, status, sentence,
            input, context, correlation_id, finished_at)
         VALUES ($1, $2, 'note', $3, 1, 1, 5, 'lost', 'Started', '{}', $4, $1, now())",
    )
    .bind(runner.fixture.team.id)
    .bind(Uuid::now_v7())
    .bind(id)
    .bind(&context)
    .execute(&mut runner.fixture.team.connection().await)
    .await
    .unwrap();
    runner.start_workers().await;
    runner.wait_for_attempts(id, &["1 lost", "2 succeeded"]).await;
}
