//! Tests who is notified of what, and how often a notification counts.

use axum::http::StatusCode;
use daybook::campaigns::campaign;
use daybook::events::{EventType, RawEventData, emit_events};
use daybook::tenancy::Role;
use daybook_tests::http::{Campaign, Client, TestApp, TestRequest, TestResponse, impersonation};
use sea_orm::EntityTrait;
use serde_json::json;
use sqlx::{AssertSqlSafe, Executor};
use uuid::Uuid;

async fn emit(app: &TestApp, campaign: &Campaign, times: usize) {
    let tx = app.database.begin(&app.team.system()).await.unwrap();
    let id = Uuid::try_parse(&campaign.id).unwrap();
    let model = campaign::Entity::find_by_id(id).one(&tx).await.unwrap().unwrap();
    let custom = || (&model, RawEventData::new(EventType::Custom, json!({"name": "seen"})));
    emit_events(&tx, (0..times).map(|_| custom())).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn neither_the_one_who_acts_nor_the_one_they_act_for_is_notified() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    let linus = app.member("linus", Role::Member).await;
    let (spring, thread) = ada.campaign_with_thread("Spring").await;
    for person in [&ada, &grace, &linus] {
        person.put(&format!("{thread}/follow")).await.ok();
    }
    let ada_for_grace = app.bearer(impersonation("ada", "grace"));
    ada_for_grace.patch(&spring.path, json!({"budget": "200"})).await.ok();
    assert_eq!(linus.unread().await.len(), 1);
    assert!(ada.unread().await.is_empty(), "she did it");
    assert!(grace.unread().await.is_empty(), "it was done in her name");
    linus.put("/notifications/read").await.ok();
    ada_for_grace
        .comment(&thread, "for the record, @ada @grace @linus")
        .await;
    assert_eq!(linus.unread().await.len(), 1);
    assert!(ada.unread().await.is_empty() && grace.unread().await.is_empty());
}

#[tokio::test]
async fn an_unread_notification_counts_each_event_of_a_call() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let (spring, thread) = ada.campaign_with_thread("Spring").await;
    let count = async || ada.inbox().await["items"][0]["unread_count"].as_i64().unwrap();
    emit(&app, &spring, 2).await;
    assert_eq!(count().await, 2);
    emit(&app, &spring, 3).await;
    assert_eq!(count().await, 5);
    emit(&app, &spring, 1).await;
    assert_eq!(count().await, 6);
    ada.put(&format!("{thread}/read")).json(json!({"seq": 3})).await.ok();
    assert_eq!(count().await, 4, "seven messages, three of them read");
    ada.put("/notifications/read").await.ok();
    emit(&app, &spring, 2).await;
    assert_eq!(count().await, 2, "what was read doesn't count again");
}

/// A notification is marked as read late, after its reader has read on in the thread itself.
#[tokio::test]
async fn no_way_of_reading_moves_a_read_mark_back() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    let (_, thread) = ada.campaign_with_thread("Spring").await;
    let read_seq = async || ada.get(&thread).await.ok()["read_seq"].as_i64().unwrap();
    grace.comment(&thread, "two").await;
    let id = ada.inbox().await["items"][0]["id"].as_str().unwrap().to_owned();
    // She mutes it, so that her notification stays at the second message, and reads on.
    ada.put(&format!("{thread}/mute")).await.ok();
    grace.comment(&thread, "three").await;
    ada.put(&format!("{thread}/read")).json(json!({"seq": 3})).await.ok();
    for unread_first in [true, false] {
        if unread_first {
            ada.delete(&format!("/notifications/{id}/read")).await.ok();
        }
        ada.put(&format!("/notifications/{id}/read")).await.ok();
        assert_eq!(read_seq().await, 3);
    }
    ada.delete(&format!("/notifications/{id}/read")).await.ok();
    ada.put("/notifications/read").await.ok();
    assert_eq!(read_seq().await, 3);
    ada.put(&format!("{thread}/read")).json(json!({"seq": 1})).await.ok();
    assert_eq!(read_seq().await, 3);
}

/// Sends a request, and commits a member's removal while it is under way. Returns the response.
async fn while_removed(app: &TestApp, member: &Client, request: TestRequest) -> TestResponse {
    let mut removing = app.team.connection().await;
    removing.execute("BEGIN").await.unwrap();
    let remove = format!("DELETE FROM memberships WHERE user_id = '{}'", member.id());
    removing.execute(AssertSqlSafe(remove)).await.unwrap();
    let answer = tokio::spawn(request.into_future());
    daybook_tests::wait_for_blocked_session(&app.db).await;
    removing.execute("COMMIT").await.unwrap();
    answer.await.unwrap()
}

#[tokio::test]
async fn a_member_who_is_removed_during_a_delivery_doesn_t_fail_the_change() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let (spring, thread) = ada.campaign_with_thread("Spring").await;
    let (grace, linus) = (
        app.member("grace", Role::Member).await,
        app.member("linus", Role::Member).await,
    );
    for follower in [&grace, &linus] {
        follower.put(&format!("{thread}/follow")).await.ok();
    }
    let messages = format!("{thread}/messages");
    let change = ada.patch(&spring.path, json!({"budget": "200"}));
    assert_eq!(while_removed(&app, &grace, change).await.ok()["budget"], "200");
    let comment = ada.post(&messages, json!({"body": "anybody there? @grace"}));
    let comment = while_removed(&app, &linus, comment).await;
    assert_eq!(comment.is(StatusCode::CREATED).json()["seq"], 3);
    // A member who doesn't follow is mentioned, by a comment and by its edit.
    let (hedy, alan) = (
        app.member("hedy", Role::Member).await,
        app.member("alan", Role::Member).await,
    );
    let comment = while_removed(&app, &hedy, ada.post(&messages, json!({"body": "@hedy?"}))).await;
    assert_eq!(comment.is(StatusCode::CREATED).json()["seq"], 4);
    let edit = ada.patch(&format!("{messages}/4"), json!({"body": "@alan?"}));
    while_removed(&app, &alan, edit).await.is(StatusCode::OK);
}
