//! The number of round trips for recording, which doesn't grow with the number of rows.

use daybook::events::{
    Consumers, Track, create_model_with_event, create_models_with_events, delete_model_with_event,
    update_model_with_event, update_models_with_events,
};
use daybook::testing::{RECORDER, Recording};
use daybook_tests::{TeamFixture, widget};
use sea_orm::ActiveValue::Set;
use sea_orm::EntityTrait;

/// Returns the round trips for creating `n` rows, and for changing all of them, without entry and COMMIT.
async fn cost(fixture: &TeamFixture, n: usize) -> (u64, u64) {
    let tx = fixture.begin().await;
    let models = (0..n).map(|i| widget::named(&format!("{n}-{i}"))).collect();
    let before = tx.stats().round_trips();
    let created = create_models_with_events(&tx, models, Track::All).await.unwrap();
    let create = tx.stats().round_trips() - before;
    assert_eq!(created.len(), n);
    let before = tx.stats().round_trips();
    let done = widget::ActiveModel {
        state: Set("done".into()),
        ..Default::default()
    };
    let updated = update_models_with_events(&tx, widget::Entity::find(), done, Track::All)
        .await
        .unwrap();
    let update = tx.stats().round_trips() - before;
    assert_eq!(updated.len(), n);
    tx.rollback().await.unwrap();
    (create, update)
}

#[tokio::test]
async fn thousands_of_rows_cost_the_same_as_ten() {
    let fixture = TeamFixture::with_consumers(Consumers::of([RECORDER]).unwrap()).await;
    // Creating: the rows, the events. Changing: the locking read, the rows, the events.
    assert_eq!(cost(&fixture, 10).await, (2, 3));
    assert_eq!(cost(&fixture, 1_000).await, (2, 3));
    assert_eq!(cost(&fixture, 5_000).await, (2, 3));
    // One more statement of each kind that has rows.
    assert_eq!(cost(&fixture, 5_001).await, (4, 4));
    // A consumer of slices is called once per call, even if the call needed several statements.
    let sizes: Vec<_> = Recording::of(&fixture.database).calls().iter().map(Vec::len).collect();
    assert_eq!(sizes, [10, 10, 1_000, 1_000, 5_000, 5_000, 5_001, 5_001]);
}

/// DESIGN.md §12, event only: enter, model, event, COMMIT; an update also locks and reads.
#[tokio::test]
async fn one_change_stays_within_its_budget() {
    let fixture = TeamFixture::new().await;
    let before = fixture.database.stats().round_trips();
    let tx = fixture.begin().await;
    let widget = create_model_with_event(&tx, widget::named("w"), Track::All)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let created = fixture.database.stats().round_trips();
    assert_eq!(created - before, 4);
    let tx = fixture.begin().await;
    let widget = update_model_with_event(&tx, &widget, widget::named("v"), Track::All)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let updated = fixture.database.stats().round_trips();
    assert_eq!(updated - created, 5);
    let tx = fixture.begin().await;
    delete_model_with_event(&tx, widget, None).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(fixture.database.stats().round_trips() - updated, 5);
}
