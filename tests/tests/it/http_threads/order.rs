//! The order of a thread: the order of the events within one call, and of the commits across transactions.

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use daybook::campaigns::campaign;
use daybook::events::{EventType, FieldChange, FieldChanges, RawEventData, UpdatedEventData, emit_events};
use daybook::tenancy::Role;
use daybook_tests::http::{Campaign, TestApp};
use daybook_tests::wait_for_blocked_session;
use sea_orm::EntityTrait;
use serde_json::{Value, json};
use uuid::Uuid;

async fn model(tx: &daybook::tenancy::TeamTx, campaign: &Campaign) -> campaign::Model {
    let id = Uuid::try_parse(&campaign.id).unwrap();
    campaign::Entity::find_by_id(id).one(tx).await.unwrap().unwrap()
}

#[tokio::test]
async fn events_of_one_call_are_posted_in_order_to_each_thread() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let (spring, spring_thread) = ada.campaign_with_thread("Spring").await;
    let (summer, summer_thread) = ada.campaign_with_thread("Summer").await;
    let tx = app.database.begin(&app.team.system()).await.unwrap();
    let (spring, summer) = (model(&tx, &spring).await, model(&tx, &summer).await);
    // The types are in neither the order of their names nor the reverse, and alternate between two objects.
    let types = [
        EventType::Updated,
        EventType::Custom,
        EventType::StateChanged,
        EventType::Custom,
        EventType::Updated,
    ];
    let calls = types.iter().enumerate().flat_map(|(n, event_type)| {
        let raw = |of: &str| RawEventData::new(*event_type, json!({"name": format!("{of}{n}"), "changes": {}}));
        [(&spring, raw("spring")), (&summer, raw("summer"))]
    });
    let events = emit_events(&tx, calls).await.unwrap();
    tx.commit().await.unwrap();
    for (object, thread) in [(&spring, spring_thread), (&summer, summer_thread)] {
        let recorded: Vec<Value> = events
            .iter()
            .filter(|event| event.object_id == object.id.to_string())
            .map(|event| json!(event.id))
            .collect();
        let page = ada.get(&format!("{thread}/messages?limit=200")).await.ok();
        let posted: Vec<Value> = page["items"].as_array().unwrap()[1..]
            .iter()
            .map(|message| message["event_id"].clone())
            .collect();
        assert_eq!(posted, recorded, "{}", object.name);
    }
}

#[tokio::test]
async fn message_times_follow_their_positions_when_transactions_overlap() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let (spring, thread) = ada.campaign_with_thread("Spring").await;
    let custom = |name: &str| RawEventData::new(EventType::Custom, json!({"name": name}));
    // One event, several events and a comment are posted by different statements.
    let mut object = None;
    for several in [1, 2] {
        // Both begin before either writes; the first to begin writes last.
        let early = app.database.begin(&app.team.system()).await.unwrap();
        let object = object.insert(model(&early, &spring).await);
        let events = |name: &str| vec![(&*object, custom(name)); several];
        let late = app.database.begin(&app.team.system()).await.unwrap();
        emit_events(&late, events("late")).await.unwrap();
        late.commit().await.unwrap();
        emit_events(&early, events("early")).await.unwrap();
        early.commit().await.unwrap();
    }
    let object = object.unwrap();
    let holder = app.database.begin(&app.team.system()).await.unwrap();
    emit_events(&holder, [(&object, custom("first"))]).await.unwrap();
    let comment = ada.post(&format!("{thread}/messages"), json!({"body": "seen"}));
    let comment = tokio::spawn(comment.into_future());
    wait_for_blocked_session(&app.db).await;
    emit_events(&holder, [(&object, custom("second"))]).await.unwrap();
    holder.commit().await.unwrap();
    comment.await.unwrap().is(StatusCode::CREATED);
    let page = ada.get(&format!("{thread}/messages?limit=200")).await.ok();
    let timestamps: Vec<DateTime<Utc>> = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["created_at"].as_str().unwrap().parse().unwrap())
        .collect();
    assert_eq!(timestamps.len(), 10);
    assert!(timestamps.is_sorted(), "{timestamps:?}");
}

/// If a field becomes tracked later, a group must not show a value that an earlier edit redacted.
#[tokio::test]
async fn a_field_that_one_edit_redacts_is_redacted_in_the_group() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let (spring, thread) = ada.campaign_with_thread("Spring").await;
    let open = |old: &str, new: &str| FieldChange {
        old: json!(old),
        new: json!(new),
    };
    let redacted = FieldChange::redacted;
    let grace = app.team.member("grace", Role::Member).await;
    for order in [
        [open("a@x", "b@x"), redacted()],
        [redacted(), open("c@x", "d@x")],
        [open("d@x", "e@x"), redacted()],
    ] {
        let tx = app.database.begin(&grace.context).await.unwrap();
        let object = model(&tx, &spring).await;
        let updated = order.map(|change| UpdatedEventData {
            changes: FieldChanges::from([("client_email".to_owned(), change)]),
        });
        emit_events(&tx, updated.map(|data| (&object, data))).await.unwrap();
        tx.commit().await.unwrap();
        ada.comment(&thread, "between").await;
        let page = ada.get(&format!("{thread}/messages?group=true&limit=200")).await.ok();
        let items = page["items"].as_array().unwrap();
        let group = items.iter().rev().find(|item| item["kind"] == "group");
        let group = group.unwrap_or_else(|| panic!("{page}"));
        assert_eq!(group["changes"][0]["redacted"], json!(true), "{group}");
        assert!(!group["text"].as_str().unwrap().contains("@x"), "{group}");
        assert!(!group["changes"].to_string().contains("@x"), "{group}");
    }
}
