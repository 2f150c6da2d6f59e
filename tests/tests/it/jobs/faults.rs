//! Tests of invalid rows, of workers that die at a bad time, and of errors that must not reveal details.

use std::time::Duration;

use daybook::events::Consumers;
use daybook::prelude::*;
use daybook_entity::SYSTEM_TEAM;
use daybook_tests::jobs::{Endless, JobRunner, Note, program, short_lost_timeout};
use daybook_tests::{eventually, refusal};
use serde_json::{Value, json};

fn note(text: &str) -> Note {
    Note { text: text.to_owned() }
}

/// Inserts a request with SQL, as the run-time role may do.
async fn insert_request(
    runner: &JobRunner,
    queue_name: Option<&str>,
    context: Value,
    input: Value,
) -> sqlx::Result<Uuid> {
    let id = Uuid::now_v7();
    sqlx::query(
        "INSERT INTO job_requests (team_id, id, job_name, job_id, input, context, queue_name, run_at, priority, max_attempts)
         VALUES ($1, $2, 'note', $2, $3, $4, $5, now(), 0, 1)",
    )
    .bind(runner.fixture.team.id)
    .bind(id)
    .bind(input)
    .bind(context)
    .bind(queue_name)
    .execute(&mut runner.fixture.team.connection().await)
    .await?;
    Ok(id)
}

#[tokio::test]
async fn a_request_that_the_queue_refuses_is_marked_and_delays_no_other() {
    let mut runner = JobRunner::without_workers(program(Consumers::none())).await;
    let context = serde_json::to_value(&runner.fixture.ada.context).unwrap();
    let long = "x".repeat(120);
    let bad = insert_request(&runner, Some(&long), context, json!({"text": "bad"}))
        .await
        .unwrap();
    let good = runner.enqueue(note("good")).await;
    runner.start_workers().await;
    runner.wait_for_attempts(good, &["1 succeeded"]).await;
    let why: Vec<(Uuid, Option<String>)> = sqlx::query_as("SELECT id, refused FROM job_requests")
        .fetch_all(&mut runner.fixture.team.connection().await)
        .await
        .unwrap();
    assert_eq!(why.len(), 1);
    assert!(why[0].0 == bad && why[0].1.is_some(), "{why:?}");
}

#[tokio::test]
async fn a_request_with_another_teams_context_is_refused_by_the_table() {
    let runner = JobRunner::without_workers(program(Consumers::none())).await;
    let elsewhere = serde_json::to_value(Context::system(SYSTEM_TEAM, "somebody")).unwrap();
    let written = insert_request(&runner, None, elsewhere, json!({"text": "there"})).await;
    let refused = written.unwrap_err().into_database_error().unwrap();
    assert_eq!(refused.constraint(), Some("job_requests_of_their_team"));
}

#[tokio::test]
async fn a_job_cancelled_before_its_worker_died_does_not_run_again() {
    let mut runner = JobRunner::without_workers(program(Consumers::none())).await;
    let id = runner.enqueue(Endless).await;
    let dying = runner.killable_workers().await;
    runner.wait_for_attempts(id, &["1 running"]).await;
    dying.shutdown_background();
    sqlx::query("UPDATE job_sessions SET cancel_requested_at = now() WHERE job_id = $1")
        .bind(id)
        .execute(&mut runner.fixture.team.connection().await)
        .await
        .unwrap();
    runner.start_workers_with(&short_lost_timeout()).await;
    eventually("the end of the session", async || {
        let attempts = runner.attempts(id).await;
        attempts == ["1 cancelled"] || attempts == ["1 lost"]
    })
    .await;
    let mut owner = runner.fixture.db.owner().await;
    eventually("no job that could run again", async || {
        let left = "SELECT count(*) FROM graphile_worker._private_jobs WHERE attempts < max_attempts";
        sqlx::query_scalar::<_, i64>(left).fetch_one(&mut owner).await.unwrap() == 0
    })
    .await;
    assert_eq!(runner.attempts(id).await.len(), 1);
}

#[derive(Debug, thiserror::Error)]
#[error("the roster's host refused")]
struct HostRefused;

#[tokio::test]
async fn a_stored_error_contains_its_type_and_no_message_of_the_database() {
    let fixture = daybook_tests::TeamFixture::new().await;
    let spec = || SessionSpec::new("sync").context(fixture.ada.context.clone());
    let failed = with_job_session(&fixture.database, spec(), async |_| -> JobResult {
        Err(HostRefused.into())
    });
    failed.await.unwrap_err();
    let failed = with_job_session(&fixture.database, spec(), async |session| -> JobResult {
        let tx = session.begin().await?;
        tx.execute_unprepared("SELECT secret_column FROM no_such_table").await?;
        Ok(())
    });
    failed.await.unwrap_err();
    let failed = with_job_session(&fixture.database, spec(), async |_| -> JobResult {
        Err("a NUL: \0, and much more".repeat(1_000).into())
    });
    failed.await.unwrap_err();
    let errors: Vec<Value> = sqlx::query_scalar("SELECT error FROM job_sessions ORDER BY id")
        .fetch_all(&mut fixture.team.connection().await)
        .await
        .unwrap();
    assert_eq!(
        errors[0],
        json!({"type": "HostRefused", "message": "the roster's host refused", "causes": []})
    );
    let details = errors[1].to_string();
    assert!(
        !details.contains("no_such_table") && !details.contains("secret_column"),
        "{details}"
    );
    assert!(details.contains("the database refused a statement"), "{details}");
    let message = errors[2]["message"].as_str().unwrap();
    assert!(message.starts_with("a NUL: , and") && message.chars().count() == 4_001);
}

#[tokio::test]
async fn an_action_whose_future_is_dropped_leaves_no_gap_and_blocks_no_later_action() {
    let fixture = daybook_tests::TeamFixture::new().await;
    let spec = SessionSpec::new("sync").context(fixture.ada.context.clone());
    with_job_session(&fixture.database, spec, async |session| {
        let action = super::RosterAction::Fetched { players: 1 };
        for wait_us in [0, 50, 200, 500, 1_000, 2_000] {
            let adding = session.add_action(&action);
            // The action may or may not have been written.
            let _ = tokio::time::timeout(Duration::from_micros(wait_us), adding).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            session.add_action(&action).await?;
        }
        Ok(())
    })
    .await
    .unwrap();
    let seqs: Vec<i64> = sqlx::query_scalar("SELECT seq FROM job_actions ORDER BY seq")
        .fetch_all(&mut fixture.team.connection().await)
        .await
        .unwrap();
    assert!(seqs.len() >= 6);
    assert_eq!(seqs, (1..=i64::try_from(seqs.len()).unwrap()).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_run_time_role_cannot_change_sessions_and_actions() {
    let runner = JobRunner::start().await;
    let id = runner.enqueue(note("x")).await;
    runner.wait_for_attempts(id, &["1 succeeded"]).await;
    let mut connection = runner.fixture.team.connection().await;
    for statement in [
        "DELETE FROM job_actions",
        "UPDATE job_actions SET sentence = 'Did nothing'",
        "DELETE FROM job_sessions",
        "UPDATE job_sessions SET sentence = 'Did nothing'",
        "UPDATE job_sessions SET input = '{}'",
    ] {
        assert_eq!(
            refusal(&mut connection, statement).await.unwrap().0,
            "42501",
            "{statement}"
        );
    }
    let refused = runner.fixture.begin().await.enqueue(note("\0")).await.unwrap_err();
    assert!(matches!(refused, Error::Invalid(_)), "{refused}");
}
