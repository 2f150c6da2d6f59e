//! From what was asked for and recorded to the queue: in which order, when, once, and all of it.

use std::time::Duration;

use daybook::events::Consumers;
use daybook::jobs::{WorkerOptions, watch_with};
use daybook::prelude::*;
use daybook::tenancy::{Role, WorkerDatabase};
use daybook_tests::jobs::{Note, Shop, program, quick};
use daybook_tests::{count, eventually, widget};

fn note(text: &str) -> Note {
    Note { text: text.to_owned() }
}

/// Notes each event that it is given, however often.
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
async fn the_newest_of_one_key_runs_at_the_time_that_the_first_asked_for() {
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
async fn jobs_run_by_their_priority() {
    let shop = Shop::closed(program(Consumers::none())).await;
    let last = shop.ask_with(note("last"), JobOptions::new().priority(9)).await;
    let first = shop.ask_with(note("first"), JobOptions::new().priority(1)).await;
    let one_by_one = WorkerOptions {
        concurrency: 1,
        ..quick()
    };
    let workers = shop.hire(&one_by_one).await;
    for id in [first, last] {
        shop.until(id, &["1 succeeded"]).await;
    }
    let order: Vec<String> = sqlx::query_scalar("SELECT input ->> 'text' FROM job_sessions ORDER BY started_at")
        .fetch_all(&mut shop.stage.team.connection().await)
        .await
        .unwrap();
    assert_eq!(order, ["first", "last"]);
    workers.stop().await;
}

#[tokio::test]
async fn a_team_can_t_cancel_another_s_job_by_its_number_in_the_queue() {
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
    eventually("the request's end", async || {
        count(&mut theirs, "job_requests").await == 0
    })
    .await;
    assert_eq!(count(&mut owner, "graphile_worker._private_jobs").await, 1);
}

#[tokio::test]
async fn more_events_than_a_batch_has_and_those_of_two_teams_are_given_whole() {
    let mut shop = shop().await;
    shop.rest().await;
    let other = shop.stage.db.team("Other").await;
    let grace = other.member("grace", Role::Owner).await;
    let tx = shop.stage.database.begin(&grace.context).await.unwrap();
    create_model_with_event(&tx, widget::named("theirs"), Track::All)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    // In one transaction, so that only their ids tell them apart.
    let tx = shop.stage.begin().await;
    for part in 0..3 {
        let widgets = (0..400).map(|n| widget::named(&format!("{part} {n}"))).collect();
        create_models_with_events(&tx, widgets, Track::All).await.unwrap();
    }
    tx.commit().await.unwrap();
    shop.work().await;
    shop.idle().await;
    let ours: Vec<String> = sqlx::query_scalar("SELECT DISTINCT body FROM jottings")
        .fetch_all(&mut shop.stage.team.connection().await)
        .await
        .unwrap();
    assert_eq!(ours.len(), 1_200);
    assert_eq!(shop.stage.count("jottings").await, 1_200, "each once");
    assert_eq!(count(&mut other.connection().await, "jottings").await, 1);
}

#[tokio::test]
async fn two_processes_hand_each_event_over_once() {
    let shop = shop().await;
    let second = shop.hire(&quick()).await;
    for n in 0..100 {
        shop.stage.widget(&n.to_string()).await;
    }
    shop.idle().await;
    let (given, distinct): (i64, i64) = sqlx::query_as(
        "SELECT count(*), count(DISTINCT event_id)
         FROM job_sessions, jsonb_array_elements_text(input -> 'event_ids') AS event_id",
    )
    .fetch_one(&mut shop.stage.team.connection().await)
    .await
    .unwrap();
    assert_eq!((given, distinct), (100, 100));
    second.stop().await;
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
