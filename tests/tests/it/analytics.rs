//! Tests of the counts of events: each event is counted once in several deliveries, and a rebuild has the same result.

use daybook::analytics::{count_events, rebuild};
use daybook::events::Consumers;
use daybook::jobs::{replay, replayable};
use daybook::prelude::*;
use daybook_tests::jobs::JobRunner;
use daybook_tests::{eventually, widget};
use serde_json::Value;
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _};

/// Creates widgets in one transaction, so that their events are on one day.
async fn make(runner: &JobRunner, widgets: usize) {
    let tx = runner.fixture.begin().await;
    let widgets = (0..widgets)
        .map(|_| widget::named(&Uuid::now_v7().to_string()))
        .collect();
    create_models_with_events(&tx, widgets, Track::All).await.unwrap();
    tx.commit().await.unwrap();
}

/// Returns the team's counts, summed over all days, because a day may end during the test.
async fn counts(runner: &JobRunner) -> Vec<Value> {
    sqlx::query_scalar(
        "SELECT jsonb_build_object('object_type', object_type, 'event_type', event_type, 'actor_kind', actor_kind,
             'actor_id', actor_id, 'events', sum(events))
         FROM event_counts GROUP BY object_type, event_type, actor_kind, actor_id
         ORDER BY object_type, event_type, actor_kind, actor_id",
    )
    .fetch_all(&mut runner.fixture.team.connection().await)
    .await
    .unwrap()
}

async fn total(runner: &JobRunner) -> i64 {
    sqlx::query_scalar("SELECT coalesce(sum(events), 0)::bigint FROM event_counts")
        .fetch_one(&mut runner.fixture.team.connection().await)
        .await
        .unwrap()
}

#[tokio::test]
async fn events_are_counted_once_in_several_deliveries_and_a_rebuild_gives_the_same_counts() {
    let mut runner = JobRunner::without_workers(daybook_tests::jobs::program(
        Consumers::of([count_events::CONSUMER]).unwrap(),
    ))
    .await;
    // An event before the consumer exists.
    runner.fixture.widget("early").await;
    runner.start_workers().await;
    runner.wait_for_consumer("analytics").await;
    let tx = runner.fixture.begin().await;
    let widgets = (0..300).map(|n| widget::named(&n.to_string())).collect();
    let made = create_models_with_events(&tx, widgets, Track::All).await.unwrap();
    let rename = widget::ActiveModel {
        name: Set("renamed".to_owned()),
        ..Default::default()
    };
    update_model_with_event(&tx, &made[0], rename, Track::All)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let system = Context::system(runner.fixture.team.id, "test");
    let tx = runner.fixture.database.begin(&system).await.unwrap();
    create_model_with_event(&tx, widget::named("by the system"), Track::All)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    // The early event is counted, too, if an older transaction of another database was open when the consumer began.
    eventually("302 counted events, including the system's", async || {
        total(&runner).await >= 302 && counts(&runner).await.len() == 3
    })
    .await;
    let counted = counts(&runner).await;
    assert_eq!(counted[0]["actor_kind"], "system");
    assert_eq!(counted[0]["actor_id"], Uuid::nil().to_string());

    // Delivers all events again, and the early one for the first time.
    let tx = runner.fixture.begin().await;
    let consumer = count_events::CONSUMER;
    let events = replayable(&tx, consumer, Utc::now() - TimeDelta::hours(1))
        .await
        .unwrap();
    assert_eq!(events.len(), 303);
    replay(&tx, consumer, &events, false).await.unwrap();
    replay(&tx, consumer, &events, false).await.unwrap();
    tx.commit().await.unwrap();
    eventually("303 counted events", async || total(&runner).await == 303).await;
    runner.wait_until_idle().await;
    assert_eq!(total(&runner).await, 303);
    let counted = counts(&runner).await;

    let tx = runner.fixture.begin().await;
    assert_eq!(rebuild(&tx).await.unwrap(), 303);
    tx.commit().await.unwrap();
    assert_eq!(counts(&runner).await, counted);
}

#[tokio::test]
async fn a_rebuild_during_deliveries_counts_no_event_twice() {
    let runner = JobRunner::with_consumers(Consumers::of([count_events::CONSUMER]).unwrap()).await;
    runner.wait_for_consumer("analytics").await;
    for round in 0..10 {
        let tx = runner.fixture.begin().await;
        let widgets = (0..20).map(|n| widget::named(&format!("{round} {n}"))).collect();
        create_models_with_events(&tx, widgets, Track::All).await.unwrap();
        tx.commit().await.unwrap();
        let tx = runner.fixture.begin().await;
        rebuild(&tx).await.unwrap();
        tx.commit().await.unwrap();
    }
    runner.wait_until_idle().await;
    assert_eq!(total(&runner).await, 200);
}

#[tokio::test]
async fn later_counts_are_added_to_existing_counts() {
    let runner = JobRunner::with_consumers(Consumers::of([count_events::CONSUMER]).unwrap()).await;
    runner.wait_for_consumer("analytics").await;
    for (made, in_all) in [(3, 3), (2, 5), (4, 9)] {
        make(&runner, made).await;
        eventually("the counts", async || total(&runner).await == in_all).await;
        runner.wait_until_idle().await;
        assert_eq!(total(&runner).await, in_all);
    }
    assert_eq!(counts(&runner).await.len(), 1);
}

/// Returns the number of sessions that wait for a lock.
async fn waiting(owner: &mut PgConnection) -> i64 {
    sqlx::query_scalar(
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid IN (
             SELECT pid FROM pg_stat_activity WHERE datname = current_database())",
    )
    .fetch_one(owner)
    .await
    .unwrap()
}

/// Otherwise the first count of a day conflicts with a rebuild of the same count, which does not see it.
#[tokio::test]
async fn rebuilding_counts_waits_for_a_slice_that_is_being_counted() {
    let runner = JobRunner::with_consumers(Consumers::of([count_events::CONSUMER]).unwrap()).await;
    runner.wait_for_consumer("analytics").await;
    let mut owner = runner.fixture.db.owner().await;
    // Blocks transactions that have counted, before they commit. It is a session lock, so the relay is not blocked.
    owner
        .execute(
            "CREATE FUNCTION wait_for_the_test() RETURNS trigger LANGUAGE plpgsql
                 AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END $$;
             CREATE TRIGGER wait_for_the_test AFTER INSERT ON event_counts EXECUTE FUNCTION wait_for_the_test()",
        )
        .await
        .unwrap();
    let mut lock_holder = runner.fixture.team.connection().await;
    lock_holder.execute("SELECT pg_advisory_lock(1)").await.unwrap();
    make(&runner, 3).await;
    eventually("the slice to wait", async || waiting(&mut owner).await == 1).await;

    let (database, context) = (runner.fixture.database.clone(), runner.fixture.ada.context.clone());
    let rebuilding = tokio::spawn(async move {
        let tx = database.begin(&context).await?;
        let counted = rebuild(&tx).await?;
        tx.commit().await?;
        Ok::<_, Error>(counted)
    });
    eventually("both to wait", async || waiting(&mut owner).await == 2).await;
    lock_holder.close().await.unwrap();
    assert_eq!(rebuilding.await.unwrap().unwrap(), 3);
    runner.wait_until_idle().await;
    assert_eq!(total(&runner).await, 3);
}
