//! Tests of the hand-over of requests and events to the queue: its time, its team, and the lag.

use std::time::Duration;

use daybook::events::Consumers;
use daybook::jobs::queue_state_with;
use daybook::prelude::*;
use daybook::tenancy::{Role, WorkerDatabase};
use daybook_tests::jobs::{JobRunner, Note, program, test_worker_options};
use daybook_tests::{count, eventually, widget};
use sqlx::Executor as _;

fn note(text: &str) -> Note {
    Note { text: text.to_owned() }
}

/// Inserts a row for each event, at every delivery.
#[event_consumer(EventType::Created, mode = durable, name = "tally")]
async fn tally(ctx: &ConsumerContext, events: &[Event]) -> ConsumerResult {
    let tx = ctx.begin().await?;
    for event in events {
        let query = sqlx::query("INSERT INTO jottings (team_id, body) VALUES ($1, $2)");
        tx.execute_sql(query.bind(tx.team_id()).bind(&event.object_label))
            .await?;
    }
    tx.commit().await?;
    Ok(())
}

async fn runner() -> JobRunner {
    let runner = JobRunner::with_consumers(Consumers::of([tally::CONSUMER]).unwrap()).await;
    runner.wait_for_consumer("tally").await;
    runner
}

#[tokio::test]
async fn of_jobs_with_one_key_the_newest_runs_at_the_time_of_the_first() {
    let mut runner = JobRunner::without_workers(program(Consumers::none())).await;
    let key = || JobOptions::new().unique("u");
    runner.enqueue_with(note("now"), key()).await;
    let newest = runner
        .enqueue_with(note("newest"), key().after(Duration::from_secs(3_600)))
        .await;
    runner.start_workers().await;
    runner.wait_for_attempts(newest, &["1 succeeded"]).await;
}

#[tokio::test]
async fn a_team_cannot_cancel_another_teams_job_by_its_queue_id() {
    let mut runner = JobRunner::without_workers(program(Consumers::none())).await;
    runner
        .enqueue_with(note("mine"), JobOptions::new().after(Duration::from_secs(3_600)))
        .await;
    runner.start_workers().await;
    let mut owner = runner.fixture.db.owner().await;
    let mut number = None;
    eventually("the job in the queue", async || {
        number = sqlx::query_scalar::<_, i64>("SELECT id FROM graphile_worker._private_jobs")
            .fetch_optional(&mut owner)
            .await
            .unwrap();
        number.is_some()
    })
    .await;
    let rival = runner.fixture.db.team("Rival").await;
    let eve = rival.member("eve", Role::Owner).await;
    let mut theirs = rival.connection().await;
    sqlx::query(
        "INSERT INTO job_requests (team_id, id, action, job_name, job_id, queue_job_id, input, context, run_at, priority,
            max_attempts)
         VALUES ($1, $2, 'cancel', 'note', $2, $3, '{}', $4, now(), 0, 1)",
    )
    .bind(rival.id)
    .bind(Uuid::now_v7())
    .bind(number)
    .bind(serde_json::to_value(&eve.context).unwrap())
    .execute(&mut theirs)
    .await
    .unwrap();
    eventually("the request is processed", async || {
        count(&mut theirs, "job_requests").await == 0
    })
    .await;
    assert_eq!(count(&mut owner, "graphile_worker._private_jobs").await, 1);
}

#[tokio::test]
async fn a_lag_is_as_old_as_its_oldest_event() {
    let mut runner = runner().await;
    runner.stop_workers().await;
    runner.fixture.widget("first").await;
    runner.fixture.widget("second").await;
    let workers = WorkerDatabase::connect(runner.fixture.db.owner_options(), 1)
        .await
        .unwrap();
    let lag = queue_state_with(&workers, test_worker_options().lost_after)
        .await
        .unwrap()
        .lags
        .remove(0);
    let recorded = runner.fixture.team.events().await;
    let oldest = recorded.iter().map(|event| event.created_at).min();
    assert_eq!((lag.events, lag.since), (2, oldest));
}

/// The relay reads 1,000 events at once.
#[tokio::test]
async fn of_a_transaction_with_more_events_than_a_batch_none_is_left_out() {
    let runner = runner().await;
    // So that a batch begins with the transaction before it, and ends inside of it.
    runner.fixture.widget("before").await;
    let tx = runner.fixture.begin().await;
    let widgets: Vec<_> = (0..2_100).map(|n| widget::named(&format!("{n:04}"))).collect();
    create_models_with_events(&tx, widgets, Track::All).await.unwrap();
    tx.commit().await.unwrap();
    runner.fixture.widget("next").await;
    let mut connection = runner.fixture.team.connection().await;
    eventually("2,102 jottings", async || {
        count(&mut connection, "jottings").await == 2_102
    })
    .await;
    let distinct: i64 = sqlx::query_scalar("SELECT count(DISTINCT body) FROM jottings")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(distinct, 2_102);
}

/// The function of the queue that the relay calls can't be called for a while, which isn't the requests' fault.
#[tokio::test]
async fn requests_wait_while_the_relay_has_no_right_to_hand_them_over() {
    let runner = JobRunner::start_program(program(Consumers::none())).await;
    let mut owner = runner.fixture.db.owner().await;
    // The stand-in counts its calls in a sequence, which a rollback leaves as it is.
    owner
        .execute(
            "CREATE SEQUENCE calls;
             GRANT USAGE ON SEQUENCE calls TO daybook_worker;
             ALTER FUNCTION graphile_worker.add_jobs(graphile_worker.job_spec[], boolean) RENAME TO add_jobs_later;
             CREATE FUNCTION graphile_worker.add_jobs(specs graphile_worker.job_spec[], preserve boolean DEFAULT false)
                RETURNS SETOF integer LANGUAGE plpgsql AS $$
             BEGIN
                PERFORM nextval('public.calls');
                RAISE insufficient_privilege;
             END $$",
        )
        .await
        .unwrap();
    let ids = [runner.enqueue(note("a")).await, runner.enqueue(note("b")).await];
    eventually("several attempts", async || {
        let calls = sqlx::query_scalar::<_, i64>("SELECT last_value FROM calls");
        calls.fetch_one(&mut owner).await.unwrap() > 6
    })
    .await;
    assert_eq!(runner.fixture.count("job_requests WHERE refused IS NULL").await, 2);
    owner
        .execute(
            "DROP FUNCTION graphile_worker.add_jobs(graphile_worker.job_spec[], boolean);
             ALTER FUNCTION graphile_worker.add_jobs_later(graphile_worker.job_spec[], boolean) RENAME TO add_jobs",
        )
        .await
        .unwrap();
    for id in ids {
        runner.wait_for_attempts(id, &["1 succeeded"]).await;
    }
}
