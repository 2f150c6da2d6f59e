//! PostgreSQL keeps microseconds, so a smaller difference is not a change.

use chrono::{DateTime, TimeDelta, Utc};
use daybook::assert_events;
use daybook::events::{Track, update_model_with_event, update_models_with_events};
use daybook_tests::{TeamFixture, widget};
use sea_orm::ActiveValue::Set;
use sea_orm::EntityTrait;

fn due(at: DateTime<Utc>) -> widget::ActiveModel {
    widget::ActiveModel {
        due_at: Set(Some(at.fixed_offset())),
        ..Default::default()
    }
}

#[tokio::test]
async fn an_instant_changes_by_a_microsecond_and_not_by_less() {
    let fixture = TeamFixture::new().await;
    let widget = fixture.widget("w").await;
    let noon: DateTime<Utc> = "2026-03-01T12:00:00Z".parse().unwrap();
    let change = async |widget: &widget::Model, at| {
        fixture
            .write(async |tx| update_model_with_event(tx, widget, due(at), Track::All).await)
            .await
            .unwrap()
    };
    let first = change(&widget, noon).await;
    let nanoseconds = change(&first, noon + TimeDelta::nanoseconds(999)).await;
    assert_eq!(nanoseconds, first, "nothing has changed, not even updated_at");
    let in_bulk = async |at| {
        let select = widget::Entity::find();
        fixture
            .write(async |tx| update_models_with_events(tx, select.clone(), due(at), Track::All).await)
            .await
            .unwrap()
    };
    assert_eq!(
        in_bulk(noon + TimeDelta::nanoseconds(1)).await,
        std::slice::from_ref(&first)
    );
    assert_eq!(fixture.team.events().await.len(), 2);

    let microsecond = change(&first, noon + TimeDelta::microseconds(1)).await;
    assert_ne!(microsecond.updated_at, first.updated_at);
    assert_ne!(in_bulk(noon + TimeDelta::microseconds(2)).await, [microsecond]);
    assert_events!(
        fixture.team,
        [
            "CREATED widget “w”",
            "UPDATED widget “w”: due_at null → 2026-03-01T12:00:00.000000Z",
            "UPDATED widget “w”: due_at 2026-03-01T12:00:00.000000Z → 2026-03-01T12:00:00.000001Z",
            "UPDATED widget “w”: due_at 2026-03-01T12:00:00.000001Z → 2026-03-01T12:00:00.000002Z",
        ]
    );
}
