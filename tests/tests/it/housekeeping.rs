//! Tests of the service's own jobs, in the system team.

use daybook::events::Consumers;
use daybook_entity::SYSTEM_TEAM;
use daybook_tests::eventually;
use daybook_tests::jobs::{JobRunner, Note};
use serde_json::Value;
use sqlx::Executor as _;

/// Puts a scheduled job into the queue as its schedule does.
async fn trigger_schedule(runner: &JobRunner, job: &str) {
    let mut owner = runner.fixture.db.owner().await;
    sqlx::query("SELECT FROM graphile_worker.add_job($1, '{\"input\": {}, \"_cron\": {\"ts\": \"now\"}}')")
        .bind(job)
        .execute(&mut owner)
        .await
        .unwrap();
}

/// Returns the sentences of the actions of a job's only session, after it has succeeded.
async fn action_sentences(runner: &JobRunner, job: &str) -> Vec<String> {
    let mut connection = runner.fixture.db.app_connection().await;
    let enter = format!("SELECT set_config('daybook.team_id', '{SYSTEM_TEAM}', false)");
    connection.execute(sqlx::AssertSqlSafe(enter)).await.unwrap();
    let mut actions = Value::Null;
    eventually(job, async || {
        let found: Option<Value> = sqlx::query_scalar(
            "SELECT actions FROM job_session_timelines WHERE job_name = $1 AND status = 'succeeded'",
        )
        .bind(job)
        .fetch_optional(&mut connection)
        .await
        .unwrap();
        actions = found.unwrap_or_default();
        !actions.is_null()
    })
    .await;
    let actions = actions.as_array().unwrap();
    actions
        .iter()
        .map(|action| action["sentence"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn old_rows_are_deleted_and_newer_ones_are_kept() {
    let runner = JobRunner::with_consumers(Consumers::none()).await;
    let (old, new) = (
        runner.enqueue(Note { text: "old".into() }).await,
        runner.enqueue(Note { text: "new".into() }).await,
    );
    runner.wait_for_attempts(old, &["1 succeeded"]).await;
    runner.wait_for_attempts(new, &["1 succeeded"]).await;
    let mut connection = runner.fixture.team.connection().await;
    connection
        .execute(
            "UPDATE job_sessions SET finished_at = now() - interval '91 days' WHERE input ->> 'text' = 'old';
             INSERT INTO idempotency_keys (team_id, actor, key, request_sha256, correlation_id, created_at)
                SELECT id, 'a', 'old', ''::bytea, id, now() - interval '25 hours' FROM teams
                UNION ALL SELECT id, 'a', 'new', ''::bytea, id, now() - interval '23 hours' FROM teams;
             INSERT INTO consumer_effects (team_id, consumer, event_id, created_at)
                SELECT id, 'crm', id, now() - interval '91 days' FROM teams;",
        )
        .await
        .unwrap();
    trigger_schedule(&runner, "purge_idempotency_keys").await;
    assert_eq!(
        action_sentences(&runner, "purge_idempotency_keys").await,
        ["Deleted 1 idempotency keys"]
    );
    trigger_schedule(&runner, "retain_sessions").await;
    assert_eq!(
        action_sentences(&runner, "retain_sessions").await,
        [
            "Deleted 1 job sessions with their actions",
            "Deleted 0 jobs that were given up",
            "Deleted 1 records of consumers' effects"
        ]
    );
    assert_eq!(runner.attempts(old).await, [""; 0]);
    assert_eq!(runner.attempts(new).await, ["1 succeeded"]);
    assert_eq!(runner.fixture.count("job_actions").await, 1);
    assert_eq!(runner.fixture.count("idempotency_keys").await, 1);
}

#[tokio::test]
async fn several_batches_are_deleted_and_running_or_recent_rows_are_kept() {
    let runner = JobRunner::with_consumers(Consumers::none()).await;
    let mut owner = runner.fixture.db.owner().await;
    owner
        .execute(
            "SELECT FROM graphile_worker.add_job('nobodys_waiting', '{}', run_at => now() + interval '1 year');
             SELECT FROM graphile_worker.add_job('nobodys_given_up', '{}', run_at => now() + interval '1 year');
             UPDATE graphile_worker._private_jobs SET updated_at = now() - interval '91 days';
             UPDATE graphile_worker._private_jobs SET attempts = max_attempts FROM graphile_worker._private_tasks t
                WHERE t.id = task_id AND t.identifier = 'nobodys_given_up'",
        )
        .await
        .unwrap();
    let mut connection = runner.fixture.team.connection().await;
    connection
        .execute(
            "INSERT INTO job_sessions (team_id, id, job_name, job_id, attempt, max_attempts, status, sentence, input,
                    context, correlation_id, started_at)
                SELECT id, id, 'long', id, 1, 1, 'running', 'Started', '{}', '{}', id, now() - interval '91 days' FROM teams;
             INSERT INTO idempotency_keys (team_id, actor, key, request_sha256, correlation_id, created_at)
                SELECT id, 'a', 'old ' || n, ''::bytea, id, now() - interval '25 hours' FROM teams, generate_series(1, 10001) n;
             INSERT INTO consumer_effects (team_id, consumer, event_id, created_at)
                SELECT id, 'crm', id, now() - interval '89 days' FROM teams;",
        )
        .await
        .unwrap();
    trigger_schedule(&runner, "purge_idempotency_keys").await;
    assert_eq!(
        action_sentences(&runner, "purge_idempotency_keys").await,
        ["Deleted 10001 idempotency keys"]
    );
    trigger_schedule(&runner, "retain_sessions").await;
    assert_eq!(
        action_sentences(&runner, "retain_sessions").await,
        [
            "Deleted 0 job sessions with their actions",
            "Deleted 1 jobs that were given up",
            "Deleted 0 records of consumers' effects"
        ]
    );
    let left: Vec<String> = sqlx::query_scalar(
        "SELECT t.identifier FROM graphile_worker._private_jobs j
         JOIN graphile_worker._private_tasks t ON t.id = j.task_id WHERE t.identifier LIKE 'nobodys%'",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    assert_eq!(left, ["nobodys_waiting"]);
}

#[tokio::test]
async fn partitions_are_created_in_advance() {
    let runner = JobRunner::with_consumers(Consumers::none()).await;
    trigger_schedule(&runner, "make_partitions").await;
    assert_eq!(
        action_sentences(&runner, "make_partitions").await,
        ["The partitions of this month and the next three exist"]
    );
}
