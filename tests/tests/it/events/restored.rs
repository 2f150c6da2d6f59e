//! Soft deletion and restoration.

use daybook::assert_events;
use daybook::error::Error;
use daybook::events::Consumers;
use daybook::events::{
    EventData, EventType, Sentences, Track, create_model_with_event, create_models_with_events,
    delete_model_with_event, restore_model_with_event, transition_model_with_event, update_model_with_event,
    update_models_with_events,
};
use daybook::testing::RECORDER;
use daybook_tests::{TeamFixture, campaign, widget};
use sea_orm::ActiveValue::Set;
use sea_orm::EntityTrait;
use serde_json::json;

fn noted(note: &str) -> widget::ActiveModel {
    widget::ActiveModel {
        note: Set(Some(note.to_owned())),
        ..Default::default()
    }
}

async fn deleted(fixture: &TeamFixture) -> widget::Model {
    let widget = fixture.widget("w").await;
    let tx = fixture.begin().await;
    delete_model_with_event(&tx, widget.clone(), Some("broken"))
        .await
        .unwrap();
    let widget = widget::Entity::find_by_id(widget.id).one(&tx).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    widget
}

#[tokio::test]
async fn a_restoration_is_an_event_with_the_restored_values() {
    let fixture = TeamFixture::with_consumers(Consumers::of([RECORDER]).unwrap()).await;
    let widget = deleted(&fixture).await;
    let tx = fixture.begin().await;
    let back = restore_model_with_event(&tx, widget.clone(), Some("mended"))
        .await
        .unwrap();
    assert_eq!(back.deleted_at, None);
    // It is not deleted, so there is no event.
    restore_model_with_event(&tx, widget.clone(), None).await.unwrap();
    update_model_with_event(&tx, &widget, noted("again"), Track::All)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_events!(
        fixture.team,
        [
            "CREATED widget “w”",
            "DELETED widget “w” (broken)",
            "RESTORED widget “w” (mended)",
            "UPDATED widget “w”: note null → again",
        ]
    );
    let events = fixture.team.events().await;
    let EventData::Restored(data) = events[2].data().unwrap() else {
        panic!("{:?}", events[2])
    };
    assert_eq!(events[2].event_type, EventType::Restored);
    assert_eq!(data.restored_values["name"], json!("w"));
    assert_eq!(data.reason.as_deref(), Some("mended"));
    let sentence = Sentences::default().render(&events[2]).to_string();
    assert_eq!(sentence, "Ada restored widget “w”: mended");
    let seen = daybook::testing::Recording::of(&fixture.database).calls();
    assert_eq!(seen.len(), 4, "consumers of all types receive it");
}

/// The thread shows a sentence for it. A database from before this event type accepts the event and a preference for
/// it.
#[tokio::test]
async fn a_restoration_is_posted_to_the_thread_and_can_have_a_preference() {
    let consumers = [
        daybook::threads::post_to_thread::CONSUMER,
        daybook::notifications::send_notifications::CONSUMER,
    ];
    let fixture = TeamFixture::with_consumers(Consumers::of(consumers).unwrap()).await;
    let widget = deleted(&fixture).await;
    let tx = fixture.begin().await;
    restore_model_with_event(&tx, widget, Some("mended")).await.unwrap();
    let prefer = sqlx::query(
        "INSERT INTO notification_preferences (team_id, user_id, event_type, object_type, in_app)
         VALUES ($1, $2, 'RESTORED', '*', false)",
    );
    let user = tx.context().actor.user_id();
    tx.execute_sql(prefer.bind(tx.team_id()).bind(user)).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(fixture.count("thread_messages").await, 3);
    let rule = daybook::notifications::Rule {
        event_type: Some(daybook::notifications::Occasion::Event(EventType::Restored)),
        object_type: None,
    };
    let shown = serde_json::to_value(rule).unwrap();
    assert_eq!(shown["event_type"], "RESTORED");
}

#[tokio::test]
async fn a_deleted_row_cannot_be_changed() {
    let fixture = TeamFixture::new().await;
    let widget = deleted(&fixture).await;
    let tx = fixture.begin().await;
    let state = widget::Column::State;
    let outcomes = [
        update_model_with_event(&tx, &widget, noted("x"), Track::All)
            .await
            .map(drop),
        transition_model_with_event(&tx, &widget, state, "done", None)
            .await
            .map(drop),
        delete_model_with_event(&tx, widget.clone(), None).await,
    ];
    for outcome in outcomes {
        let error = outcome.unwrap_err();
        assert_eq!((error.status().as_u16(), error.code()), (409, "deleted"));
        assert_eq!(error.to_string(), "the widget is deleted; restore it first");
    }
    tx.commit().await.unwrap();
    assert_events!(fixture.team, ["CREATED widget “w”", "DELETED widget “w” (broken)"]);
}

/// Like rows of another team, they are not selected.
#[tokio::test]
async fn an_update_of_many_skips_deleted_rows() {
    let fixture = TeamFixture::new().await;
    let widget = deleted(&fixture).await;
    let tx = fixture.begin().await;
    create_models_with_events(&tx, vec![widget::named("there")], Track::All)
        .await
        .unwrap();
    let updated = update_models_with_events(&tx, widget::Entity::find(), noted("x"), Track::All)
        .await
        .unwrap();
    assert_eq!(
        updated.iter().map(|widget| widget.name.as_str()).collect::<Vec<_>>(),
        ["there"]
    );
    let kept = widget::Entity::find_by_id(widget.id).one(&tx).await.unwrap().unwrap();
    assert_eq!(kept, widget);
}

#[tokio::test]
async fn an_update_that_deletes_or_restores_is_refused_with_the_right_helper() {
    let fixture = TeamFixture::new().await;
    let widget = deleted(&fixture).await;
    let there = fixture.widget("there").await;
    let tx = fixture.begin().await;
    let at = |deleted_at| widget::ActiveModel {
        deleted_at: Set(deleted_at),
        ..Default::default()
    };
    let now = Some(chrono::Utc::now());
    let all = widget::Entity::find;
    for refused in [
        update_model_with_event(&tx, &widget, at(None), Track::All)
            .await
            .map(drop),
        update_model_with_event(&tx, &there, at(now), Track::All)
            .await
            .map(drop),
        update_models_with_events(&tx, all(), at(None), Track::All)
            .await
            .map(drop),
        update_models_with_events(&tx, all(), at(now), Track::All)
            .await
            .map(drop),
    ] {
        let Err(Error::Invalid(fields)) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(fields[0].field, "deleted_at");
        assert!(fields[0].detail.contains("restore_model_with_event"), "{fields:?}");
    }
    // Setting the value that it already has is not a change.
    update_model_with_event(&tx, &there, at(None), Track::All)
        .await
        .unwrap();
    // A model that is deleted permanently can't be restored.
    let spring = campaign::ActiveModel {
        name: Set("Spring".into()),
        ..Default::default()
    };
    let spring = create_model_with_event(&tx, spring, Track::All).await.unwrap();
    let refused = restore_model_with_event(&tx, spring, None).await;
    assert!(matches!(refused, Err(Error::Internal(_))), "{refused:?}");
}
