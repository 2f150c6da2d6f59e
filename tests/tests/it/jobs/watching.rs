//! Tests of the state of the queue as `daybook consumers` and `/metrics` report it.

use std::time::Duration;

use axum::http::Method;
use daybook::events::Consumers;
use daybook::jobs::{JobFigures, JobsParts, Watched, WorkerOptions, watch_with};
use daybook::prelude::*;
use daybook::tenancy::WorkerDatabase;
use daybook_tests::eventually;
use daybook_tests::http::TestApp;
use daybook_tests::jobs::{Endless, Note, Poisoned, Shop, hire, program, quick, short_lost_timeout};

#[event_consumer(EventType::Created, object_type = "widget", mode = durable, name = "hopeless")]
async fn hopeless(_: &ConsumerContext, _: &Event) -> ConsumerResult {
    Err("this consumer always fails".into())
}

async fn watched(shop: &Shop) -> Watched {
    watched_by(shop, &quick()).await
}

/// Reads the state of the queue with the options of these workers.
async fn watched_by(shop: &Shop, options: &WorkerOptions) -> Watched {
    let workers = WorkerDatabase::connect(shop.stage.db.owner_options(), 1).await.unwrap();
    let watched = watch_with(&workers, options.lost_after).await.unwrap();
    workers.close().await;
    watched
}

async fn until(shop: &Shop, wanted: JobFigures) {
    eventually(&format!("{wanted:?}"), async || watched(shop).await.jobs == wanted).await;
}

fn none() -> JobFigures {
    JobFigures::default()
}

#[tokio::test]
async fn a_requested_job_is_due_or_scheduled_before_and_after_the_hand_over() {
    let mut shop = Shop::closed(program(Consumers::none())).await;
    shop.ask(Endless).await;
    let later = JobOptions::new().after(Duration::from_secs(3_600));
    shop.ask_with(Note { text: "later".into() }, later).await;
    let (due, scheduled) = (1, 1);
    until(
        &shop,
        JobFigures {
            due,
            scheduled,
            ..none()
        },
    )
    .await;
    shop.work().await;
    let running = 1;
    until(
        &shop,
        JobFigures {
            running,
            scheduled,
            ..none()
        },
    )
    .await;
    shop.rest().await;
    until(
        &shop,
        JobFigures {
            due,
            scheduled,
            ..none()
        },
    )
    .await;
}

#[tokio::test]
async fn jobs_that_wait_for_a_retry_and_jobs_that_were_given_up_are_counted_separately() {
    let shop = Shop::open().await;
    let poisoned = shop.ask(Poisoned).await;
    let retrying = 1;
    until(&shop, JobFigures { retrying, ..none() }).await;
    shop.until(poisoned, &["1 failed", "2 failed"]).await;
    let given_up = 1;
    until(&shop, JobFigures { given_up, ..none() }).await;
}

#[tokio::test]
async fn a_dead_workers_job_is_not_counted_as_running() {
    let shop = Shop::closed(program(Consumers::none())).await;
    let id = shop.ask(Endless).await;
    let dying = shop.killable_workers().await;
    shop.until(id, &["1 running"]).await;
    let running = 1;
    until(&shop, JobFigures { running, ..none() }).await;
    dying.shutdown_background();
    let dead = JobFigures {
        locked_by_dead_worker: 1,
        ..none()
    };
    eventually("the job of the dead worker", async || {
        watched_by(&shop, &short_lost_timeout()).await.jobs == dead
    })
    .await;
}

#[tokio::test]
async fn refused_requests_are_counted_separately() {
    let mut shop = Shop::closed(program(Consumers::none())).await;
    shop.ask(Note { text: "refused".into() }).await;
    sqlx::query("UPDATE job_requests SET refused = 'for this test'")
        .execute(&mut worker_connection(&shop).await)
        .await
        .unwrap();
    shop.work().await;
    let refused = 1;
    until(&shop, JobFigures { refused, ..none() }).await;
}

async fn worker_connection(shop: &Shop) -> sqlx::postgres::PgConnection {
    use sqlx::ConnectOptions as _;
    let options = shop.stage.db.owner_options().options([("role", "daybook_worker")]);
    options.connect().await.unwrap()
}

#[tokio::test]
async fn a_waiting_job_of_a_consumer_without_lag_is_counted() {
    let shop = Shop::with(Consumers::of([hopeless::CONSUMER]).unwrap()).await;
    shop.began("hopeless").await;
    shop.stage.widget("one").await;
    eventually("its retry", async || {
        let watched = watched(&shop).await;
        let lag = watched.lags.iter().find(|lag| lag.consumer == "hopeless").unwrap();
        lag.events == 0 && lag.since.is_none() && lag.jobs.retrying == 1 && lag.jobs.unfinished() == 1
    })
    .await;
    // A replay consists of jobs, too.
    let tx = shop.stage.begin().await;
    let events = shop.stage.team.events().await;
    daybook::jobs::replay(&tx, hopeless::CONSUMER, &[events[0].id], true)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    eventually("two retries and no lag", async || {
        let lag = watched(&shop).await.lags.remove(0);
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
    let seen = JobsParts::of(&app.database).unwrap().last_watched.clone();
    let database = JobsParts::update(database, |parts| parts.last_watched = seen).unwrap();
    let workers = hire(&app.db, &database, &quick()).await;
    let anonymous = app.anonymous();
    let metrics = async || anonymous.at(Method::GET, "/metrics").await.text();
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
    let shop = Shop::open().await;
    let id = shop.ask(Endless).await;
    shop.until(id, &["1 running"]).await;
    sqlx::query("UPDATE graphile_worker._private_jobs SET locked_at = now() - interval '1 hour'")
        .execute(&mut shop.stage.db.owner().await)
        .await
        .unwrap();
    let running = 1;
    assert_eq!(watched(&shop).await.jobs, JobFigures { running, ..none() });
}
