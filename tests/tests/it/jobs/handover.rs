//! Tests of the hand-over of requests and events to the queue: its time, its team, and the lag.

use std::time::Duration;

use daybook::events::Consumers;
use daybook::jobs::watch_with;
use daybook::prelude::*;
use daybook::tenancy::{Role, WorkerDatabase};
use daybook_tests::jobs::{Note, Shop, program, quick};
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

async fn shop() -> Shop {
    let shop = Shop::with(Consumers::of([tally::CONSUMER]).unwrap()).await;
    shop.began("tally").await;
    shop
}

#[tokio::test]
async fn of_jobs_with_one_key_the_newest_runs_at_the_time_of_the_first() {
    let mut shop = Shop::closed(program(Consumers::none())).await;
    let key = || JobOptions::new().unique("u");
    shop.ask_with(note("now"), key()).await;
    let newest = shop
        .ask_with(note("newest"), key().after(Duration::from_secs(3_600)))
        .await;
    shop.work().await;
    shop.until(newest, &["1 succeeded"]).await;
}

#[tokio::test]
async fn a_team_cannot_cancel_another_teams_job_by_its_queue_id() {
    let mut shop = Shop::closed(program(Consumers::none())).await;
    shop.ask_with(note("mine"), JobOptions::new().after(Duration::from_secs(3_600)))
        .await;
    shop.work().await;
    let mut owner = shop.stage.db.owner().await;
    let mut number = None;
    eventually("the job in the queue", async || {
        number = sqlx::query_scalar::<_, i64>("SELECT id FROM graphile_worker._private_jobs")
            .fetch_optional(&mut owner)
            .await
            .unwrap();
        number.is_some()
    })
    .await;
    let rival = shop.stage.db.team("Rival").await;
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
    let mut shop = shop().await;
    shop.rest().await;
    shop.stage.widget("first").await;
    shop.stage.widget("second").await;
    let workers = WorkerDatabase::connect(shop.stage.db.owner_options(), 1).await.unwrap();
    let lag = watch_with(&workers, quick().lost_after).await.unwrap().lags.remove(0);
    let recorded = shop.stage.team.events().await;
    let oldest = recorded.iter().map(|event| event.created_at).min();
    assert_eq!((lag.events, lag.since), (2, oldest));
}

/// The relay reads 1,000 events at once.
#[tokio::test]
async fn of_a_transaction_with_more_events_than_a_batch_none_is_left_out() {
    let shop = shop().await;
    // So that a batch begins with the transaction before it, and ends inside of it.
    shop.stage.widget("before").await;
    let tx = shop.stage.begin().await;
    let widgets: Vec<_> = (0..2_100).map(|n| widget::named(&format!("{n:04}"))).collect();
    create_models_with_events(&tx, widgets, Track::All).await.unwrap();
    tx.commit().await.unwrap();
    shop.stage.widget("next").await;
    let mut connection = shop.stage.team.connection().await;
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
    let shop = Shop::of(program(Consumers::none())).await;
    let mut owner = shop.stage.db.owner().await;
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
    let ids = [shop.ask(note("a")).await, shop.ask(note("b")).await];
    eventually("several attempts", async || {
        let calls = sqlx::query_scalar::<_, i64>("SELECT last_value FROM calls");
        calls.fetch_one(&mut owner).await.unwrap() > 6
    })
    .await;
    assert_eq!(shop.stage.count("job_requests WHERE refused IS NULL").await, 2);
    owner
        .execute(
            "DROP FUNCTION graphile_worker.add_jobs(graphile_worker.job_spec[], boolean);
             ALTER FUNCTION graphile_worker.add_jobs_later(graphile_worker.job_spec[], boolean) RENAME TO add_jobs",
        )
        .await
        .unwrap();
    for id in ids {
        shop.until(id, &["1 succeeded"]).await;
    }
}
