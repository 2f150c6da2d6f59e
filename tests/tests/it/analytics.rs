//! Counts of events: once each, however often they are delivered, and the same when made anew.

use daybook::analytics::{count_events, rebuild};
use daybook::events::Consumers;
use daybook::jobs::{replay, replayable};
use daybook::prelude::*;
use daybook_tests::jobs::Shop;
use daybook_tests::{eventually, widget};
use serde_json::Value;

/// The team's counts, of all days together: one may end meanwhile.
async fn counts(shop: &Shop) -> Vec<Value> {
    sqlx::query_scalar(
        "SELECT jsonb_build_object('object_type', object_type, 'event_type', event_type, 'actor_kind', actor_kind,
             'actor_id', actor_id, 'events', sum(events))
         FROM event_counts GROUP BY object_type, event_type, actor_kind, actor_id
         ORDER BY object_type, event_type, actor_kind, actor_id",
    )
    .fetch_all(&mut shop.stage.team.connection().await)
    .await
    .unwrap()
}

async fn total(shop: &Shop) -> i64 {
    sqlx::query_scalar("SELECT coalesce(sum(events), 0)::bigint FROM event_counts")
        .fetch_one(&mut shop.stage.team.connection().await)
        .await
        .unwrap()
}

#[tokio::test]
async fn events_are_counted_once_however_often_they_are_delivered_and_anew_they_are_the_same() {
    let mut shop = Shop::closed(daybook_tests::jobs::program(
        Consumers::of([count_events::CONSUMER]).unwrap(),
    ))
    .await;
    // Before anybody counted.
    shop.stage.widget("early").await;
    shop.work().await;
    shop.began("analytics").await;
    let tx = shop.stage.begin().await;
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
    let system = Context::system(shop.stage.team.id, "test");
    let tx = shop.stage.database.begin(&system).await.unwrap();
    create_model_with_event(&tx, widget::named("by the system"), Track::All)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    // The early one, too, if a transaction of another database was older and under way when the counting began.
    eventually("302 counted, the system's among them", async || {
        total(&shop).await >= 302 && counts(&shop).await.len() == 3
    })
    .await;
    let counted = counts(&shop).await;
    assert_eq!(counted[0]["actor_kind"], "system");
    assert_eq!(counted[0]["actor_id"], Uuid::nil().to_string());

    // Delivered again, and those from before for the first time.
    let tx = shop.stage.begin().await;
    let consumer = count_events::CONSUMER;
    let events = replayable(&tx, consumer, Utc::now() - TimeDelta::hours(1))
        .await
        .unwrap();
    assert_eq!(events.len(), 303);
    replay(&tx, consumer, &events, false).await.unwrap();
    replay(&tx, consumer, &events, false).await.unwrap();
    tx.commit().await.unwrap();
    eventually("303 counted", async || total(&shop).await == 303).await;
    shop.idle().await;
    assert_eq!(total(&shop).await, 303);
    let counted = counts(&shop).await;

    let tx = shop.stage.begin().await;
    assert_eq!(rebuild(&tx).await.unwrap(), 303);
    tx.commit().await.unwrap();
    assert_eq!(counts(&shop).await, counted);
}

#[tokio::test]
async fn counting_anew_while_events_are_on_their_way_counts_none_twice() {
    let shop = Shop::with(Consumers::of([count_events::CONSUMER]).unwrap()).await;
    shop.began("analytics").await;
    for round in 0..10 {
        let tx = shop.stage.begin().await;
        let widgets = (0..20).map(|n| widget::named(&format!("{round} {n}"))).collect();
        create_models_with_events(&tx, widgets, Track::All).await.unwrap();
        tx.commit().await.unwrap();
        let tx = shop.stage.begin().await;
        rebuild(&tx).await.unwrap();
        tx.commit().await.unwrap();
    }
    shop.idle().await;
    assert_eq!(total(&shop).await, 200);
}
