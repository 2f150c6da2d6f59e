//! Tests that jobs whose input can't be read don't block other jobs.

use daybook::events::Consumers;
use daybook::jobs::{JobFigures, watch};
use daybook::prelude::*;
use daybook::tenancy::WorkerDatabase;
use daybook_tests::eventually;
use daybook_tests::jobs::{Note, Shop, program};
use serde_json::{Value, json};

use super::nested_text;

/// Inputs of a job that PostgreSQL accepts and serde_json refuses.
fn unreadable() -> [String; 3] {
    [
        format!(r#"{{"text":"deep","more":{}}}"#, nested_text(140)),
        format!(r#"{{"text":"deep","more":{}}}"#, nested_text(126)),
        r#"{"text":"large","more":1e999}"#.to_owned(),
    ]
}

fn context(shop: &Shop) -> Value {
    serde_json::to_value(&shop.stage.ada.context).unwrap()
}

/// Puts jobs into the queue with one statement, as an older version could.
async fn into_the_queue(shop: &Shop, inputs: &[String]) {
    let context = context(shop);
    let payloads: Vec<_> = inputs
        .iter()
        .map(|input| {
            format!(
                r#"{{"job_id":"{}","input":{input},"context":{context}}}"#,
                Uuid::now_v7()
            )
        })
        .collect();
    sqlx::query(
        "SELECT FROM graphile_worker.add_jobs(ARRAY(
            SELECT ROW('note', p::json, NULL, now(), 2::smallint, NULL, 0, NULL)::graphile_worker.job_spec
            FROM unnest($1::text[]) WITH ORDINALITY AS given (p, place) ORDER BY place))",
    )
    .bind(payloads)
    .execute(&mut shop.stage.db.owner().await)
    .await
    .unwrap();
}

/// A few unreadable jobs among many readable ones.
fn mixed() -> Vec<String> {
    let mut inputs: Vec<_> = (0..37)
        .map(|n| json!({"text": format!("good {n}")}).to_string())
        .collect();
    for (at, bad) in unreadable().into_iter().enumerate() {
        inputs.insert(at * 9 + 3, bad);
    }
    inputs
}

async fn look(shop: &Shop) -> JobFigures {
    let workers = WorkerDatabase::connect(shop.stage.db.owner_options(), 1).await.unwrap();
    watch(&workers).await.unwrap().jobs
}

/// Waits until the readable jobs are done, and checks the others.
async fn the_good_ones_are_done(shop: &Shop) {
    eventually("37 notes", async || shop.stage.count("widgets").await == 37).await;
    eventually("an end of the others", async || {
        let jobs = look(shop).await;
        (jobs.unfinished(), jobs.quarantined) == (0, 3)
    })
    .await;
    let sessions: Vec<(Value, Value, Option<i64>)> =
        sqlx::query_as("SELECT input, error, queue_job_id FROM job_sessions WHERE status = 'failed'")
            .fetch_all(&mut shop.stage.team.connection().await)
            .await
            .unwrap();
    assert_eq!(sessions.len(), 3);
    for (input, error, queue_job_id) in sessions {
        assert!(input["unreadable"]["reason"].is_string(), "{input}");
        assert!(error["message"].as_str().unwrap().contains("can't be read"), "{error}");
        // So that the queue doesn't retry it.
        assert_eq!(queue_job_id, None);
    }
    let failed_good: i64 = sqlx::query_scalar("SELECT count(*) FROM job_sessions WHERE attempt > 1")
        .fetch_one(&mut shop.stage.team.connection().await)
        .await
        .unwrap();
    assert_eq!(failed_good, 0, "a job that was only fetched has no failed attempt");
}

#[tokio::test]
async fn unreadable_jobs_are_quarantined_before_the_first_fetch() {
    let mut shop = Shop::closed(program(Consumers::none())).await;
    into_the_queue(&shop, &mixed()).await;
    shop.work().await;
    the_good_ones_are_done(&shop).await;
}

#[tokio::test]
async fn jobs_fetched_with_unreadable_ones_are_released_by_the_worker() {
    let shop = Shop::open().await;
    into_the_queue(&shop, &mixed()).await;
    the_good_ones_are_done(&shop).await;
}

#[tokio::test]
async fn recovery_of_a_dead_workers_jobs_survives_unreadable_jobs() {
    let mut shop = Shop::closed(program(Consumers::none())).await;
    into_the_queue(&shop, &mixed()).await;
    let mut owner = shop.stage.db.owner().await;
    sqlx::query(
        "UPDATE graphile_worker._private_jobs SET locked_by = 'worker_that_died', attempts = 1,
            locked_at = now() - interval '1 hour'",
    )
    .execute(&mut owner)
    .await
    .unwrap();
    assert_eq!(look(&shop).await.locked_by_dead_worker, 40);
    shop.work().await;
    the_good_ones_are_done(&shop).await;
}

#[tokio::test]
async fn the_relay_does_not_hand_over_unreadable_jobs_or_stall() {
    let mut shop = Shop::closed(program(Consumers::none())).await;
    for input in unreadable() {
        sqlx::query(
            "INSERT INTO job_requests (team_id, id, job_name, job_id, input, context, run_at, priority, max_attempts)
             VALUES ($1, $2, 'note', $2, $3::text::jsonb, $4, now(), 0, 1)",
        )
        .bind(shop.stage.team.id)
        .bind(Uuid::now_v7())
        .bind(input)
        .bind(context(&shop))
        .execute(&mut shop.stage.team.connection().await)
        .await
        .unwrap();
    }
    let good = shop
        .ask(Note {
            text: "good".to_owned(),
        })
        .await;
    shop.work().await;
    shop.until(good, &["1 succeeded"]).await;
    let refused: Vec<Option<String>> = sqlx::query_scalar("SELECT refused FROM job_requests")
        .fetch_all(&mut shop.stage.team.connection().await)
        .await
        .unwrap();
    assert_eq!(refused.len(), 3);
    assert!(
        refused
            .iter()
            .all(|why| why.as_ref().is_some_and(|why| why.contains("can't be read"))),
        "{refused:?}"
    );
    assert_eq!(look(&shop).await.refused, 3);
    let queued: i64 = sqlx::query_scalar("SELECT count(*) FROM graphile_worker._private_jobs")
        .fetch_one(&mut shop.stage.db.owner().await)
        .await
        .unwrap();
    assert_eq!(queued, 0);
}

#[tokio::test]
async fn an_input_that_an_older_version_accepted_is_reported_as_failed() {
    let shop = Shop::open().await;
    // The queue can decode it, but no entry point accepts it any more.
    into_the_queue(&shop, &[format!(r#"{{"text":"old","more":{}}}"#, nested_text(110))]).await;
    let mut team = shop.stage.team.connection().await;
    eventually("a failed attempt", async || {
        let sessions: Vec<(Value, Value)> =
            sqlx::query_as("SELECT input, error FROM job_sessions WHERE status = 'failed'")
                .fetch_all(&mut team)
                .await
                .unwrap();
        sessions.first().is_some_and(|(input, error)| {
            input["unreadable"].is_object() && error["message"].as_str().unwrap().contains("100 levels")
        })
    })
    .await;
}

#[tokio::test]
async fn a_queues_jobs_continue_after_one_was_quarantined() {
    let shop = Shop::open().await;
    let context = context(&shop);
    let [bad, ..] = unreadable();
    let payloads: Vec<_> = [r#"{"text":"before"}"#, bad.as_str(), r#"{"text":"after"}"#]
        .map(|input| {
            format!(
                r#"{{"job_id":"{}","input":{input},"context":{context}}}"#,
                Uuid::now_v7()
            )
        })
        .into();
    sqlx::query(
        "SELECT FROM graphile_worker.add_jobs(ARRAY(
            SELECT ROW('note', p::json, 'one', now(), 2::smallint, NULL, 0, NULL)::graphile_worker.job_spec
            FROM unnest($1::text[]) WITH ORDINALITY AS given (p, place) ORDER BY place))",
    )
    .bind(payloads)
    .execute(&mut shop.stage.db.owner().await)
    .await
    .unwrap();
    eventually("two notes", async || shop.stage.count("widgets").await == 2).await;
    eventually("the other's end", async || look(&shop).await.quarantined == 1).await;
}

/// Any session of the database can hold the advisory locks that the queue's `add_jobs` takes, even one without other
/// rights.
#[tokio::test]
async fn a_held_lock_of_a_jobs_key_blocks_no_other_job() {
    let shop = Shop::of(program(Consumers::none())).await;
    let mut stranger = shop.stage.db.app_connection().await;
    let key = format!("{}:note:daily", shop.stage.team.id);
    sqlx::query("SELECT pg_advisory_lock(hashtext($1))")
        .bind(key)
        .execute(&mut stranger)
        .await
        .unwrap();
    let note = |text: &str| Note { text: text.to_owned() };
    let held = shop.ask_with(note("held"), JobOptions::new().unique("daily")).await;
    for text in ["one", "two"] {
        let free = shop.ask(note(text)).await;
        shop.until(free, &["1 succeeded"]).await;
    }
    assert!(shop.attempts(held).await.is_empty());
    sqlx::query("SELECT pg_advisory_unlock_all()")
        .execute(&mut stranger)
        .await
        .unwrap();
    shop.until(held, &["1 succeeded"]).await;
}
