//! What caused an event, and which story a slice of events belongs to.

use daybook::events::{Consumers, create_models_with_events, update_models_with_events};
use daybook::prelude::*;
use daybook_tests::jobs::JobRunner;
use daybook_tests::{TeamFixture, campaign, eventually, widget};
use uuid::Uuid;

/// Creates two widgets for each campaign, and changes both, in bulk.
#[event_consumer(EventType::Created, object_type = "campaign", name = "doubles")]
async fn doubles(tx: &TeamTx, event: &Event) -> ConsumerResult {
    let names = ["left", "right"].map(|side| widget::named(&format!("{side} of {}", event.object_label)));
    create_models_with_events(tx, names.to_vec(), Track::All).await?;
    let select = widget::Entity::find().filter(widget::Column::Name.ends_with(format!("of {}", event.object_label)));
    let done = widget::ActiveModel {
        state: Set("done".to_owned()),
        ..Default::default()
    };
    update_models_with_events(tx, select, done, Track::All).await?;
    Ok(())
}

#[tokio::test]
async fn events_that_a_consumer_records_in_bulk_name_the_event_it_received() {
    let fixture = TeamFixture::with_consumers(Consumers::of([doubles::CONSUMER]).unwrap()).await;
    let tx = fixture.begin().await;
    let campaigns = ["Spring", "Summer"].map(|name| campaign::ActiveModel {
        name: Set(name.to_owned()),
        ..Default::default()
    });
    create_models_with_events(&tx, campaigns.to_vec(), Track::All)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let events = fixture.team.events().await;
    let of = |object_type: &str| -> Vec<&Event> { events.iter().filter(|it| it.object_type == object_type).collect() };
    assert_eq!((of("campaign").len(), of("widget").len()), (2, 8));
    for event in of("campaign") {
        assert_eq!(event.causation_id, None, "{event:?}");
    }
    for event in of("widget") {
        let cause = of("campaign")
            .into_iter()
            .find(|it| event.object_label.ends_with(&it.object_label))
            .unwrap();
        assert_eq!(event.causation_id, Some(cause.id), "{event:?}");
    }
}

/// Creates one widget for all campaigns of a call.
#[event_consumer(EventType::Created, object_type = "campaign", name = "sums-up")]
async fn sums_up(tx: &TeamTx, events: &[Event]) -> ConsumerResult {
    let name = format!("of {} campaigns", events.len());
    create_model_with_event(tx, widget::named(&name), Track::All).await?;
    Ok(())
}

#[tokio::test]
async fn the_first_event_of_a_slice_is_the_cause_of_what_its_consumer_records() {
    let fixture = TeamFixture::with_consumers(Consumers::of([sums_up::CONSUMER]).unwrap()).await;
    let tx = fixture.begin().await;
    let campaigns = ["Spring", "Summer", "Autumn"].map(|name| campaign::ActiveModel {
        name: Set(name.to_owned()),
        ..Default::default()
    });
    create_models_with_events(&tx, campaigns.to_vec(), Track::All)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let events = fixture.team.events().await;
    let of = |label: &str| events.iter().find(|event| event.object_label == label).unwrap();
    assert_eq!(of("of 3 campaigns").causation_id, Some(of("Spring").id));
}

#[event_consumer(EventType::Created, object_type = "widget", mode = durable, name = "gathers")]
async fn gathers(_: &ConsumerContext, _: &[Event]) -> ConsumerResult {
    Ok(())
}

#[tokio::test]
async fn a_slice_with_events_of_two_stories_gets_a_new_story() {
    let mut runner = JobRunner::with_consumers(Consumers::of([gathers::CONSUMER]).unwrap()).await;
    runner.wait_for_consumer("gathers").await;
    runner.stop_workers().await;
    // No worker runs at this time, so both events are handed over together.
    for name in ["first", "second"] {
        let story = Context {
            correlation_id: Uuid::now_v7(),
            ..runner.fixture.ada.context.clone()
        };
        let tx = runner.fixture.database.begin(&story).await.unwrap();
        create_model_with_event(&tx, widget::named(name), Track::All)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }
    runner.start_workers().await;
    let mut connection = runner.fixture.team.connection().await;
    let mut sessions = async || -> Vec<(Uuid, i32)> {
        sqlx::query_as(
            "SELECT correlation_id, jsonb_array_length(input -> 'event_ids') FROM job_sessions WHERE status = 'succeeded'",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap()
    };
    eventually("the slice", async || !sessions().await.is_empty()).await;
    let sessions = sessions().await;
    let [(story, 2)] = sessions[..] else {
        panic!("{sessions:?}")
    };
    let events = runner.fixture.team.events().await;
    assert!(
        events.iter().all(|event| event.correlation_id != story),
        "{story}: {events:?}"
    );
}
