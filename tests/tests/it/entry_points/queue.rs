//! Tests that jobs that can't be read or handed over don't block other jobs.

use std::time::Duration;

use daybook::events::Consumers;
use daybook::jobs::{JobCounts, queue_state};
use daybook::prelude::*;
use daybook::tenancy::{Role, WorkerDatabase};
use daybook_tests::jobs::{JobRunner, Note, program, test_worker_options};
use daybook_tests::{eventually, wait_for_blocked_session};
use serde_json::{Value, json};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use super::nested_text;

/// Inputs of a job that PostgreSQL accepts and serde_json refuses.
fn unreadable_inputs() -> [String; 3] {
    [
        format!(r#"{{"text":"deep","more":{}}}"#, nested_text(140)),
        format!(r#"{{"text":"deep","more":{}}}"#, nested_text(126)),
        r#"{"text":"large","more":1e999}"#.to_owned(),
    ]
}

fn context(runner: &JobRunner) -> Value {
    serde_json::to_value(&runner.fixture.ada.context).unwrap()
}

/// Puts jobs into the queue with one statement, as an older version could.
async fn insert_into_queue(runner: &JobRunner, inputs: &[String]) {
    let context = context(runner);
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
    .execute(&mut runner.fixture.db.owner().await)
    .await
    .unwrap();
}

/// A few unreadable jobs among many readable ones.
fn mixed_inputs() -> Vec<String> {
    let mut inputs: Vec<_> = (0..37)
        .map(|n| json!({"text": format!("good {n}")}).to_string())
        .collect();
    for (at, bad) in unreadable_inputs().into_iter().enumerate() {
        inputs.insert(at * 9 + 3, bad);
    }
    inputs
}

async fn job_counts(runner: &JobRunner) -> JobCounts {
    let workers = WorkerDatabase::connect(runner.fixture.db.owner_options(), 1)
        .await
        .unwrap();
    queue_state(&workers).await.unwrap().jobs
}

/// Waits until the readable jobs are done, and checks the others.
async fn wait_for_readable_jobs(runner: &JobRunner) {
    eventually("37 notes", async || runner.fixture.count("widgets").await == 37).await;
    eventually("an end of the others", async || {
        let jobs = job_counts(runner).await;
        (jobs.unfinished(), jobs.quarantined) == (0, 3)
    })
    .await;
    let sessions: Vec<(Value, Value, Option<i64>)> =
        sqlx::query_as("SELECT input, error, queue_job_id FROM job_sessions WHERE status = 'failed'")
            .fetch_all(&mut runner.fixture.team.connection().await)
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
        .fetch_one(&mut runner.fixture.team.connection().await)
        .await
        .unwrap();
    assert_eq!(failed_good, 0, "a job that was only fetched has no failed attempt");
}

#[tokio::test]
async fn unreadable_jobs_are_quarantined_before_the_first_fetch() {
    let mut runner = JobRunner::without_workers(program(Consumers::none())).await;
    insert_into_queue(&runner, &mixed_inputs()).await;
    runner.start_workers().await;
    wait_for_readable_jobs(&runner).await;
}

#[tokio::test]
async fn jobs_fetched_with_unreadable_ones_are_released_by_the_worker() {
    let runner = JobRunner::start().await;
    insert_into_queue(&runner, &mixed_inputs()).await;
    wait_for_readable_jobs(&runner).await;
}

#[tokio::test]
async fn recovery_of_a_dead_workers_jobs_survives_unreadable_jobs() {
    let mut runner = JobRunner::without_workers(program(Consumers::none())).await;
    insert_into_queue(&runner, &mixed_inputs()).await;
    let mut owner = runner.fixture.db.owner().await;
    sqlx::query(
        "UPDATE graphile_worker._private_jobs SET locked_by = 'worker_that_died', attempts = 1,
            locked_at = now() - interval '1 hour'",
    )
    .execute(&mut owner)
    .await
    .unwrap();
    assert_eq!(job_counts(&runner).await.locked_by_dead_worker, 40);
    runner.start_workers().await;
    wait_for_readable_jobs(&runner).await;
}

#[tokio::test]
async fn the_relay_does_not_hand_over_unreadable_jobs_or_stall() {
    let mut runner = JobRunner::without_workers(program(Consumers::none())).await;
    for input in unreadable_inputs() {
        sqlx::query(
            "INSERT INTO job_requests (team_id, id, job_name, job_id, input, context, run_at, priority, max_attempts)
             VALUES ($1, $2, 'note', $2, $3::text::jsonb, $4, now(), 0, 1)",
        )
        .bind(runner.fixture.team.id)
        .bind(Uuid::now_v7())
        .bind(input)
        .bind(context(&runner))
        .execute(&mut runner.fixture.team.connection().await)
        .await
        .unwrap();
    }
    let good = runner
        .enqueue(Note {
            text: "good".to_owned(),
        })
        .await;
    runner.start_workers().await;
    runner.wait_for_attempts(good, &["1 succeeded"]).await;
    let refused: Vec<Option<String>> = sqlx::query_scalar("SELECT refused FROM job_requests")
        .fetch_all(&mut runner.fixture.team.connection().await)
        .await
        .unwrap();
    assert_eq!(refused.len(), 3);
    assert!(
        refused
            .iter()
            .all(|why| why.as_ref().is_some_and(|why| why.contains("can't be read"))),
        "{refused:?}"
    );
    assert_eq!(job_counts(&runner).await.refused, 3);
    let queued: i64 = sqlx::query_scalar("SELECT count(*) FROM graphile_worker._private_jobs")
        .fetch_one(&mut runner.fixture.db.owner().await)
        .await
        .unwrap();
    assert_eq!(queued, 0);
}

#[tokio::test]
async fn an_input_that_an_older_version_accepted_is_reported_as_failed() {
    let runner = JobRunner::start().await;
    // The queue can decode it, but no entry point accepts it any more.
    insert_into_queue(&runner, &[format!(r#"{{"text":"old","more":{}}}"#, nested_text(110))]).await;
    let mut team = runner.fixture.team.connection().await;
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
    let runner = JobRunner::start().await;
    let context = context(&runner);
    let [bad, ..] = unreadable_inputs();
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
    .execute(&mut runner.fixture.db.owner().await)
    .await
    .unwrap();
    eventually("two notes", async || runner.fixture.count("widgets").await == 2).await;
    eventually("the other's end", async || job_counts(&runner).await.quarantined == 1).await;
}

/// The quarantine reads which jobs are cancelled only after it has locked the rows of all jobs of a fetch.
#[tokio::test]
async fn a_job_that_is_cancelled_while_the_quarantine_waits_for_it_gets_no_attempt_back() {
    let mut runner = JobRunner::without_workers(program(Consumers::none())).await;
    let [bad, ..] = unreadable_inputs();
    insert_into_queue(&runner, &[bad, r#"{"text":"cancelled"}"#.to_owned()]).await;
    let mut owner = runner.fixture.db.owner().await;
    for sql in [
        "UPDATE graphile_worker._private_jobs SET locked_by = 'worker_that_died', attempts = 1, locked_at = now()",
        // As the relay cancels a job that a worker has fetched.
        "BEGIN",
        "WITH cancelled AS (
            UPDATE graphile_worker._private_jobs SET max_attempts = attempts
            WHERE payload #>> '{input,text}' = 'cancelled' RETURNING id
        )
        INSERT INTO graphile_worker._private_job_retirements (id) SELECT id FROM cancelled",
    ] {
        sqlx::query(sql).execute(&mut owner).await.unwrap();
    }
    let db = runner.fixture.db.clone();
    let cancel = async {
        wait_for_blocked_session(&db).await;
        sqlx::query("COMMIT").execute(&mut owner).await.unwrap();
    };
    tokio::join!(runner.start_workers(), cancel);
    eventually("an end of both", async || job_counts(&runner).await.unfinished() == 0).await;
    runner.stop_workers().await;
    let attempts: Vec<(i16, i16)> = sqlx::query_as(
        "SELECT attempts, max_attempts FROM graphile_worker._private_jobs
         WHERE payload #>> '{input,text}' = 'cancelled'",
    )
    .fetch_all(&mut runner.fixture.db.owner().await)
    .await
    .unwrap();
    assert_eq!(attempts, [(1, 1)]);
    assert_eq!(runner.fixture.count("widgets").await, 0);
}

/// Holds the advisory lock of the key that Ada's notes have in the queue with `unique`, as any session of the database can,
/// also one that may do nothing else. Closing the connection releases it.
async fn lock_key(runner: &JobRunner, unique: &str) -> PgConnection {
    let mut lock_holder = runner.fixture.db.app_connection().await;
    sqlx::query("SELECT pg_advisory_lock(hashtext($1))")
        .bind(format!("{}:note:{unique}", runner.fixture.team.id))
        .execute(&mut lock_holder)
        .await
        .unwrap();
    lock_holder
}

fn note(text: &str) -> Note {
    Note { text: text.to_owned() }
}

#[tokio::test]
async fn a_lock_of_a_job_s_key_that_somebody_holds_keeps_no_other_job_waiting() {
    let runner = JobRunner::start_program(program(Consumers::none())).await;
    let lock_holder = lock_key(&runner, "daily").await;
    let held = runner
        .enqueue_with(note("held"), JobOptions::new().unique("daily"))
        .await;
    for text in ["one", "two"] {
        let free = runner.enqueue(note(text)).await;
        runner.wait_for_attempts(free, &["1 succeeded"]).await;
    }
    assert!(runner.attempts(held).await.is_empty());
    lock_holder.close().await.unwrap();
    runner.wait_for_attempts(held, &["1 succeeded"]).await;
}

/// Enqueues the given number of notes with one unique key. Returns the newest one's id.
async fn many_of_one_key(runner: &JobRunner, unique: &str, notes: usize) -> Uuid {
    let jobs = (0..notes).map(|_| note(&Uuid::now_v7().to_string())).collect();
    let tx = runner.fixture.begin().await;
    let ids = tx.enqueue_all(jobs, JobOptions::new().unique(unique)).await.unwrap();
    tx.commit().await.unwrap();
    ids[notes - 1]
}

#[tokio::test]
async fn more_requests_than_a_batch_that_wait_for_a_held_key_keep_no_other_job_waiting() {
    let runner = JobRunner::start_program(program(Consumers::none())).await;
    let (daily, weekly) = (lock_key(&runner, "daily").await, lock_key(&runner, "weekly").await);
    many_of_one_key(&runner, "daily", 1_200).await;
    let between = runner.enqueue(note("between")).await;
    let newest_weekly = many_of_one_key(&runner, "weekly", 1_200).await;
    let newest_daily = many_of_one_key(&runner, "daily", 1).await;
    let after = runner.enqueue(note("after")).await;
    for free in [between, after] {
        runner.wait_for_attempts(free, &["1 succeeded"]).await;
    }
    let other = runner.fixture.db.team("Globex").await;
    let bob = other.member("bob", Role::Owner).await;
    let tx = runner.fixture.database.begin(&bob.context).await.unwrap();
    tx.enqueue_with(note("of Globex"), JobOptions::new().unique("daily"))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let mut theirs = other.connection().await;
    eventually("the other team's note", async || {
        daybook_tests::count(&mut theirs, "widgets").await == 1
    })
    .await;
    assert_eq!(runner.fixture.count("widgets").await, 2);

    daily.close().await.unwrap();
    runner.wait_for_attempts(newest_daily, &["1 succeeded"]).await;
    assert!(runner.attempts(newest_weekly).await.is_empty());
    weekly.close().await.unwrap();
    runner.wait_for_attempts(newest_weekly, &["1 succeeded"]).await;
    assert_eq!(runner.fixture.count("job_requests").await, 0);
}

/// Makes requests for jobs that are due in an hour. Their inputs take some milliseconds each to be checked, so that a batch
/// with them takes its time.
async fn slow_requests(runner: &JobRunner, requests: usize) {
    let ids: Vec<_> = (0..requests).map(|_| Uuid::now_v7()).collect();
    sqlx::query(
        "INSERT INTO job_requests (team_id, id, job_name, job_id, input, context, run_at, priority, max_attempts)
         SELECT $1, id, 'note', id, input, $3, now() + interval '1 hour', 0, 1 FROM unnest($2::uuid[]) AS slow (id), (
             SELECT jsonb_build_object('text', 'slow', 'more', jsonb_agg(jsonb_build_array(n))) AS input
             FROM generate_series(1, 10000) n
         ) AS large",
    )
    .bind(runner.fixture.team.id)
    .bind(ids)
    .bind(context(runner))
    .execute(&mut runner.fixture.team.connection().await)
    .await
    .unwrap();
}

/// Waits until nothing is left to hand over, and nothing that is due to run.
async fn wait_until_done(runner: &JobRunner) {
    let mut owner = runner.fixture.db.owner().await;
    eventually("nothing to do", async || {
        let due = "SELECT count(*) FROM graphile_worker._private_jobs WHERE run_at <= now()";
        runner.fixture.count("job_requests").await == 0
            && sqlx::query_scalar::<_, i64>(due).fetch_one(&mut owner).await.unwrap() == 0
    })
    .await;
}

#[tokio::test]
async fn a_key_that_is_released_during_a_batch_frees_all_of_its_requests_or_none() {
    let mut runner = JobRunner::without_workers(program(Consumers::none())).await;
    let lock_holder = lock_key(&runner, "daily").await;
    let daily = || JobOptions::new().unique("daily");
    let old = runner.enqueue_with(note("old"), daily()).await;
    slow_requests(&runner, 100).await;
    let new = runner.enqueue_with(note("new"), daily()).await;
    let mut owner = runner.fixture.db.owner().await;
    let release = async {
        eventually("a batch under way", async || {
            let under_way =
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active'
                AND application_name = 'daybook worker'
                AND clock_timestamp() - query_start > interval '100 ms'";
            sqlx::query_scalar::<_, i64>(under_way)
                .fetch_one(&mut owner)
                .await
                .unwrap()
                > 0
        })
        .await;
        lock_holder.close().await.unwrap();
    };
    tokio::join!(runner.start_workers(), release);
    runner.wait_for_attempts(new, &["1 succeeded"]).await;
    wait_until_done(&runner).await;
    // The newest job replaces the others, and no other job replaces it.
    assert_eq!(runner.attempts(old).await, [""; 0]);
}

#[tokio::test]
async fn a_key_that_is_released_between_batches_frees_none_of_its_requests_before_the_oldest() {
    let runner = JobRunner::without_workers(program(Consumers::none())).await;
    let (daily, weekly) = (lock_key(&runner, "daily").await, lock_key(&runner, "weekly").await);
    let old = runner
        .enqueue_with(note("old"), JobOptions::new().unique("daily"))
        .await;
    many_of_one_key(&runner, "weekly", 600).await;
    let later = (0..399).map(|n| note(&n.to_string())).collect();
    let tx = runner.fixture.begin().await;
    tx.enqueue_all(later, JobOptions::new().after(Duration::from_secs(3_600)))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    // The first batch ends here.
    slow_requests(&runner, 100).await;
    let new = runner
        .enqueue_with(note("new"), JobOptions::new().unique("daily"))
        .await;
    let release = async {
        eventually("the first batch", async || {
            runner.fixture.count("job_requests").await < 1_101
        })
        .await;
        daily.close().await.unwrap();
    };
    let options = test_worker_options();
    let (workers, ()) = tokio::join!(runner.start_other_workers(&options), release);
    runner.wait_for_attempts(new, &["1 succeeded"]).await;
    assert_eq!(runner.attempts(old).await, [""; 0]);
    weekly.close().await.unwrap();
    wait_until_done(&runner).await;
    assert_eq!(runner.attempts(old).await, [""; 0]);
    workers.stop().await;
}

#[tokio::test]
async fn a_request_that_fails_is_refused_and_none_before_it_though_a_key_is_held() {
    let mut runner = JobRunner::without_workers(program(Consumers::none())).await;
    let lock_holder = lock_key(&runner, "daily").await;
    let held = runner
        .enqueue_with(note("held"), JobOptions::new().unique("daily"))
        .await;
    let first = runner.enqueue(note("first")).await;
    let bad = Uuid::now_v7();
    sqlx::query(
        "INSERT INTO job_requests (team_id, id, job_name, job_id, input, context, queue_name, run_at, priority, max_attempts)
         VALUES ($1, $2, 'note', $2, '{\"text\": \"bad\"}', $3, $4, now(), 0, 1)",
    )
    .bind(runner.fixture.team.id)
    .bind(bad)
    .bind(context(&runner))
    // The queue's names have 128 bytes at most.
    .bind("x".repeat(120))
    .execute(&mut runner.fixture.team.connection().await)
    .await
    .unwrap();
    let last = runner.enqueue(note("last")).await;
    runner.start_workers().await;
    for good in [first, last] {
        runner.wait_for_attempts(good, &["1 succeeded"]).await;
    }
    let left: Vec<(Uuid, bool)> = sqlx::query_as("SELECT id, refused IS NOT NULL FROM job_requests ORDER BY id")
        .fetch_all(&mut runner.fixture.team.connection().await)
        .await
        .unwrap();
    assert_eq!(left, [(held, false), (bad, true)]);
    lock_holder.close().await.unwrap();
    runner.wait_for_attempts(held, &["1 succeeded"]).await;
}
