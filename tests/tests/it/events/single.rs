//! One model and its event.

use daybook::assert_events;
use daybook::error::Error;
use daybook::events::{
    EventData, Track, create_model_with_event, delete_model_with_event, transition_model_with_event,
    update_model_with_event,
};
use daybook::tenancy::Context;
use daybook_tests::{TeamFixture, campaign, wait_for_blocked_session, widget};
use sea_orm::ActiveValue::Set;
use sea_orm::EntityTrait;
use serde_json::json;
use uuid::Uuid;

async fn xmin(fixture: &TeamFixture, id: Uuid) -> String {
    sqlx::query_scalar("SELECT xmin::text FROM widgets WHERE id = $1")
        .bind(id)
        .fetch_one(&mut fixture.team.connection().await)
        .await
        .unwrap()
}

#[tokio::test]
async fn the_events_of_an_object_are_in_order() {
    let fixture = TeamFixture::new().await;
    let tx = fixture.begin().await;
    let spring = campaign::ActiveModel {
        name: Set("Spring".into()),
        budget: Set(100.into()),
        ..Default::default()
    };
    let spring = create_model_with_event(&tx, spring, Track::All).await.unwrap();
    assert_eq!((spring.team_id, spring.id.get_version_num()), (fixture.team.id, 7));
    let changes = campaign::ActiveModel {
        budget: Set(250.into()),
        client_email: Set(Some("grace@example.com".into())),
        ..Default::default()
    };
    let spring = update_model_with_event(&tx, &spring, changes, Track::All)
        .await
        .unwrap();
    let state = campaign::Column::State;
    let spring = transition_model_with_event(&tx, &spring, state, "approved", Some("looks good"))
        .await
        .unwrap();
    assert_eq!(spring.state, "approved");
    delete_model_with_event(&tx, spring, Some("over")).await.unwrap();
    let life = [
        "CREATED campaign “Spring”",
        "UPDATED campaign “Spring”: budget 100 → 250, client_email redacted",
        "STATE_CHANGED campaign “Spring”: draft → approved (looks good)",
        "DELETED campaign “Spring” (over)",
    ];
    assert_events!(tx, [life[0], life[1], life[2], life[3]]);
    assert_events!(fixture.team, []);
    tx.commit().await.unwrap();
    assert_events!(fixture.team, [life[0], life[1], life[2], life[3]]);
    assert_eq!(fixture.count("campaigns").await, 0, "deleted permanently");
}

#[tokio::test]
async fn an_event_has_its_actor_origin_and_correlation() {
    let fixture = TeamFixture::new().await;
    let widget = fixture.widget("w").await;
    let events = fixture.team.events().await;
    let event = &events[0];
    assert_eq!(event.actor, fixture.ada.context.actor);
    assert_eq!(event.correlation_id, fixture.ada.context.correlation_id);
    assert_eq!(
        (event.causation_id, event.schema_version, event.team_id),
        (None, 1, fixture.team.id)
    );
    assert_eq!(
        (event.object_type.as_str(), event.object_id.clone()),
        ("widget", widget.id.to_string())
    );
    assert!(event.transaction_id > 0 && event.threadable);
    let EventData::Created(data) = event.data().unwrap() else {
        panic!("{event:?}")
    };
    let recorded: Vec<_> = data.initial_values.keys().map(String::as_str).collect();
    // All columns except the ignored ones: id, team_id and the instants.
    assert_eq!(
        recorded,
        [
            "due_at", "extra", "name", "note", "picture", "price", "secret", "serial", "state", "tags"
        ]
    );
}

#[tokio::test]
async fn a_helper_returns_the_event_as_it_was_recorded() {
    let fixture = TeamFixture::new().await;
    let tx = fixture.begin().await;
    let widget = create_model_with_event(&tx, widget::named("w"), Track::All)
        .await
        .unwrap();
    let data = daybook::events::CustomEventData {
        name: "polished".into(),
        data: json!({ "with": "wax" }),
    };
    let event = daybook::events::emit_event(&tx, &widget, data).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(fixture.team.events().await[1], event);
    assert_events!(fixture.team, ["CREATED widget “w”", "CUSTOM polished widget “w”"]);
}

#[tokio::test]
async fn event_ids_rise_in_the_order_of_recording() {
    let fixture = TeamFixture::new().await;
    let tx = fixture.begin().await;
    for n in 0..200 {
        create_model_with_event(&tx, widget::named(&n.to_string()), Track::All)
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
    // Read by id; the labels must be in the order of creation.
    let labels: Vec<_> = fixture
        .team
        .events()
        .await
        .into_iter()
        .map(|event| event.object_label)
        .collect();
    assert_eq!(labels, (0..200).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn redacted_values_never_get_into_an_event() {
    let fixture = TeamFixture::new().await;
    let secret = |text: &str| Set(Some(text.to_owned()));
    let tx = fixture.begin().await;
    let model = widget::ActiveModel {
        secret: secret("hunter2"),
        ..widget::named("w")
    };
    let widget = create_model_with_event(&tx, model, Track::All).await.unwrap();
    let changes = widget::ActiveModel {
        secret: secret("hunter3"),
        ..Default::default()
    };
    let widget = update_model_with_event(&tx, &widget, changes, Track::only([widget::Column::Secret]))
        .await
        .unwrap();
    let widget = transition_model_with_event(&tx, &widget, widget::Column::Secret, "hunter4".to_owned(), None)
        .await
        .unwrap();
    delete_model_with_event(&tx, widget, None).await.unwrap();
    tx.commit().await.unwrap();
    let all: Vec<String> = sqlx::query_scalar("SELECT e::text FROM events e")
        .fetch_all(&mut fixture.team.connection().await)
        .await
        .unwrap();
    assert_eq!(all.len(), 4);
    assert!(all.iter().all(|event| !event.contains("hunter")), "{all:#?}");
    assert_events!(
        fixture.team,
        [
            "CREATED widget “w”",
            "UPDATED widget “w”: secret redacted",
            "STATE_CHANGED widget “w”: redacted",
            "DELETED widget “w”",
        ]
    );
}

#[tokio::test]
async fn track_only_records_the_chosen_columns_and_writes_all() {
    let fixture = TeamFixture::new().await;
    let tx = fixture.begin().await;
    let only = || Track::only([widget::Column::Name, widget::Column::CreatedAt]);
    let widget = create_model_with_event(&tx, widget::named("w"), only()).await.unwrap();
    let changes = |name: &str, note: &str| widget::ActiveModel {
        note: Set(Some(note.into())),
        ..widget::named(name)
    };
    let widget = update_model_with_event(&tx, &widget, changes("v", "a"), only())
        .await
        .unwrap();
    let widget = update_model_with_event(&tx, &widget, changes("v", "b"), only())
        .await
        .unwrap();
    assert_eq!(
        widget.note.as_deref(),
        Some("b"),
        "written, although no event records it"
    );
    tx.commit().await.unwrap();
    let events = fixture.team.events().await;
    assert_eq!(
        events[0].event_data,
        json!({ "initial_values": { "name": "w" } }),
        "an ignored column stays ignored"
    );
    assert_events!(fixture.team, ["CREATED widget “w”", "UPDATED widget “v”: name w → v"]);
}

#[tokio::test]
async fn an_update_that_changes_nothing_writes_nothing() {
    let fixture = TeamFixture::new().await;
    let widget = fixture.widget("w").await;
    let before = xmin(&fixture, widget.id).await;
    let tx = fixture.begin().await;
    let same = update_model_with_event(&tx, &widget, widget::named("w"), Track::All)
        .await
        .unwrap();
    let same = transition_model_with_event(&tx, &same, widget::Column::State, "draft", None)
        .await
        .unwrap();
    let same = update_model_with_event(&tx, &same, widget::ActiveModel::default(), Track::All)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(same, widget);
    assert_eq!(xmin(&fixture, widget.id).await, before, "the row was rewritten");
    assert_events!(fixture.team, ["CREATED widget “w”"]);
}

#[tokio::test]
async fn a_change_sets_updated_at_unless_it_is_set() {
    let fixture = TeamFixture::new().await;
    let widget = fixture.widget("w").await;
    let tx = fixture.begin().await;
    let changed = update_model_with_event(&tx, &widget, widget::named("v"), Track::All)
        .await
        .unwrap();
    assert!(changed.updated_at > widget.updated_at);
    let at = widget.created_at;
    let back = widget::ActiveModel {
        updated_at: Set(at),
        ..widget::named("u")
    };
    assert_eq!(
        update_model_with_event(&tx, &changed, back, Track::All)
            .await
            .unwrap()
            .updated_at,
        at
    );
}

/// The caller's model may be old; the event records the values that were really in the database.
#[tokio::test]
async fn a_stale_model_does_not_change_the_recorded_old_values() {
    let fixture = TeamFixture::new().await;
    let stale = fixture.widget("w").await;
    let note = |text: &str| widget::ActiveModel {
        note: Set(Some(text.into())),
        ..Default::default()
    };
    fixture
        .write(async |tx| update_model_with_event(tx, &stale, note("first"), Track::All).await)
        .await
        .unwrap();
    let new = fixture
        .write(async |tx| update_model_with_event(tx, &stale, note("second"), Track::All).await)
        .await
        .unwrap();
    assert_eq!(new.note.as_deref(), Some("second"));
    // The stale model has null there, so a comparison with it would see a change.
    fixture
        .write(async |tx| update_model_with_event(tx, &stale, note("second"), Track::All).await)
        .await
        .unwrap();
    assert_events!(
        fixture.team,
        [
            "CREATED widget “w”",
            "UPDATED widget “w”: note null → first",
            "UPDATED widget “w”: note first → second",
        ]
    );
}

#[tokio::test]
async fn two_concurrent_changes_record_the_real_values() {
    let fixture = TeamFixture::new().await;
    let widget = fixture.widget("w").await;
    let serial = |n| widget::ActiveModel {
        serial: Set(n),
        ..Default::default()
    };
    let first = fixture.begin().await;
    update_model_with_event(&first, &widget, serial(8), Track::All)
        .await
        .unwrap();
    let second = tokio::spawn({
        let (database, entry, widget) = (fixture.database.clone(), fixture.entry(), widget.clone());
        async move {
            let tx = database.enter(&entry).await?;
            update_model_with_event(&tx, &widget, serial(9), Track::All).await?;
            tx.commit().await
        }
    });
    wait_for_blocked_session(&fixture.db).await;
    first.commit().await.unwrap();
    second.await.unwrap().unwrap();
    assert_events!(
        fixture.team,
        [
            "CREATED widget “w”",
            "UPDATED widget “w”: serial 7 → 8",
            "UPDATED widget “w”: serial 8 → 9",
        ]
    );
}

#[tokio::test]
async fn soft_deletion_keeps_the_row_and_happens_once() {
    let fixture = TeamFixture::new().await;
    let widget = fixture.widget("w").await;
    let tx = fixture.begin().await;
    delete_model_with_event(&tx, widget.clone(), Some("broken"))
        .await
        .unwrap();
    let again = delete_model_with_event(&tx, widget.clone(), None).await;
    assert!(
        matches!(again, Err(Error::Conflict { code: "deleted", .. })),
        "{again:?}"
    );
    tx.commit().await.unwrap();
    let tx = fixture.begin().await;
    let kept = widget::Entity::find_by_id(widget.id).one(&tx).await.unwrap().unwrap();
    assert!(kept.deleted_at.is_some());
    let events = fixture.team.events().await;
    let EventData::Deleted(data) = events[1].data().unwrap() else {
        panic!("{:?}", events[1])
    };
    assert_eq!(
        (data.reason.as_deref(), &data.final_values["name"]),
        (Some("broken"), &json!("w"))
    );
    assert_events!(fixture.team, ["CREATED widget “w”", "DELETED widget “w” (broken)"]);
}

#[tokio::test]
async fn the_reason_of_a_change_takes_precedence_over_that_of_its_request() {
    let fixture = TeamFixture::new().await;
    let widget = fixture.widget("w").await;
    let context = Context {
        reason: Some("cleaning up".to_owned()),
        ..fixture.ada.context.clone()
    };
    let tx = fixture.database.begin(&context).await.unwrap();
    let widget = transition_model_with_event(&tx, &widget, widget::Column::State, "done", Some("sold"))
        .await
        .unwrap();
    delete_model_with_event(&tx, widget, None).await.unwrap();
    tx.commit().await.unwrap();
    let events = fixture.team.events().await;
    let reasons: Vec<_> = events.iter().map(|event| event.reason.as_deref()).collect();
    assert_eq!(reasons, [None, Some("sold"), Some("cleaning up")]);
}
