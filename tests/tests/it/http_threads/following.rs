//! Who follows a thread, and who does not follow it.

use daybook::campaigns::campaign;
use daybook::events::{EventType, RawEventData, emit_event};
use daybook::tenancy::{Actor, Context, Role};
use daybook_tests::http::TestApp;
use sea_orm::EntityTrait;
use serde_json::json;
use uuid::Uuid;

#[tokio::test]
async fn a_person_who_unfollowed_does_not_follow_again_by_commenting_or_creating() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    let (spring, thread) = ada.campaign_with_thread("Spring").await;
    let follow = format!("{thread}/follow");
    grace.comment(&thread, "hm").await;
    grace.put(&format!("{thread}/read")).json(json!({"seq": 2})).await.ok();
    grace.delete(&follow).await.ok();
    grace.comment(&thread, "one more thing").await;
    let hers = grace.get(&thread).await.ok();
    assert_eq!((&hers["following"], &hers["read_seq"]), (&json!(false), &json!(3)));

    // The creator has unfollowed; another event that names them as the creator does not change this. Nor does it notify
    // a person who watches for new objects and has muted this one.
    ada.delete(&follow).await.ok();
    grace.put("/watches/campaign").await.ok();
    grace.put(&format!("{thread}/mute")).await.ok();
    let name = "Ada".to_owned();
    let as_ada = Context {
        actor: Actor::User { id: ada.id(), name },
        ..app.team.system()
    };
    let tx = app.database.begin(&as_ada).await.unwrap();
    let id: Uuid = spring.id.parse().unwrap();
    let model = campaign::Entity::find_by_id(id).one(&tx).await.unwrap().unwrap();
    let created = RawEventData::new(EventType::Created, json!({"initial_values": {}}));
    emit_event(&tx, &model, created).await.unwrap();
    tx.commit().await.unwrap();
    let theirs = ada.get(&thread).await.ok();
    assert_eq!((&theirs["following"], &theirs["last_seq"]), (&json!(false), &json!(4)));
    assert!(grace.unread().await.is_empty());
}

#[tokio::test]
async fn following_again_keeps_the_reason_for_which_a_person_follows() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    let (_, thread) = ada.campaign_with_thread("Spring").await;
    ada.put(&format!("{thread}/follow")).await.ok();
    grace.comment(&thread, "hm").await;
    assert_eq!(ada.inbox().await["items"][0]["why"]["followed"], "creator");
}

#[tokio::test]
async fn muting_a_thread_does_not_make_a_person_follow_it() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    let (_, thread) = ada.campaign_with_thread("Spring").await;
    let mute = format!("{thread}/mute");
    for request in [grace.put(&mute), grace.delete(&mute)] {
        assert_eq!(request.await.ok()["following"], false);
    }
    ada.comment(&thread, "for all followers").await;
    assert!(grace.unread().await.is_empty());
}
