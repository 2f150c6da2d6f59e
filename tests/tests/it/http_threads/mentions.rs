//! Tests mentions: who is mentioned, once, also by an edit; and the notification of a deleted comment.

use axum::http::StatusCode;
use daybook::tenancy::Role;
use daybook_tests::eventually;
use daybook_tests::http::{Client, TestApp};
use daybook_tests::live::LiveClient;
use serde_json::json;

/// Returns Ada, Grace and Linus, and a thread of Ada's.
async fn app_with_thread() -> (TestApp, Client, Client, Client, String) {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    let linus = app.member("linus", Role::Member).await;
    let (_, thread) = ada.campaign_with_thread("Spring").await;
    (app, ada, grace, linus, thread)
}

async fn edit(author: &Client, thread: &str, seq: i64, body: &str) {
    let path = format!("{thread}/messages/{seq}");
    author.patch(&path, json!({"body": body})).await.ok();
}

async fn delete(author: &Client, thread: &str, seq: i64) {
    let path = format!("{thread}/messages/{seq}");
    author.delete(&path).await.is(StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn an_edit_notifies_each_added_person_once() {
    let (_app, ada, grace, linus, thread) = app_with_thread().await;
    ada.comment(&thread, "Look, @grace").await;
    edit(&ada, &thread, 2, "Look, @grace and @linus").await;
    assert_eq!(
        linus.unread().await,
        ["1 × Ada commented on campaign “Spring” (mentioned)"]
    );
    assert_eq!(linus.inbox().await["items"][0]["why"]["seq"], 2);
    assert_eq!(
        grace.unread().await,
        ["1 × Ada commented on campaign “Spring” (mentioned)"],
        "a person who was mentioned before is not notified again"
    );
    // The mention is removed and added again: the comment has already mentioned him.
    linus.put("/notifications/read").await.ok();
    edit(&ada, &thread, 2, "Look").await;
    edit(&ada, &thread, 2, "Look, @linus, @grace").await;
    assert!(linus.unread().await.is_empty());
    assert_eq!(grace.unread().await.len(), 1);
    // Since then he follows, as after a mention in a new comment.
    ada.comment(&thread, "and all").await;
    assert_eq!(
        linus.unread().await,
        ["1 × Ada commented on campaign “Spring” (follower)"]
    );
    // An author doesn't notify themselves.
    edit(&ada, &thread, 3, "and all, @ada").await;
    assert!(ada.unread().await.is_empty());
}

#[tokio::test]
async fn a_person_who_mentions_themselves_follows_like_any_author() {
    let (_app, _, _, linus, thread) = app_with_thread().await;
    linus.comment(&thread, "@linus will do it").await;
    assert!(linus.unread().await.is_empty());
    assert_eq!(linus.get(&thread).await.ok()["following"], true);
}

#[tokio::test]
async fn a_mention_added_by_an_edit_respects_mutes_and_preferences() {
    let (_app, ada, grace, linus, thread) = app_with_thread().await;
    ada.comment(&thread, "Look").await;
    grace.put(&format!("{thread}/mute")).await.ok();
    linus
        .put("/notification-preferences/MENTION/*")
        .json(json!({"in_app": false}))
        .await
        .ok();
    edit(&ada, &thread, 2, "Look, @grace and @linus").await;
    assert!(grace.unread().await.is_empty());
    assert!(linus.unread().await.is_empty());
    assert_eq!(linus.get(&thread).await.ok()["following"], false);
}

#[tokio::test]
async fn a_follower_mentioned_by_an_edit_counts_the_comment_once() {
    let (app, ada, grace, _, thread) = app_with_thread().await;
    grace.put(&format!("{thread}/follow")).await.ok();
    ada.comment(&thread, "Look").await;
    ada.comment(&thread, "More").await;
    edit(&ada, &thread, 2, "Look, @grace").await;
    assert_eq!(
        grace.unread().await,
        ["2 × Ada commented on campaign “Spring” (mentioned)"]
    );
    let item = grace.inbox().await["items"][0].clone();
    assert_eq!((&item["seq"], &item["why"]["seq"]), (&json!(3), &json!(2)));
    // After it was read, only the mention is new.
    grace.put("/notifications/read").await.ok();
    edit(&ada, &thread, 3, "More, @grace").await;
    let item = grace.inbox().await["items"][0].clone();
    assert_eq!((&item["unread_count"], &item["seq"]), (&json!(1), &json!(3)));

    // A comment from before its mentions were stored: its old text shows whom it has mentioned.
    grace.put("/notifications/read").await.ok();
    sqlx::query("UPDATE thread_messages SET mentioned = NULL")
        .execute(&mut app.team.connection().await)
        .await
        .unwrap();
    edit(&ada, &thread, 3, "More, @grace, @linus").await;
    assert!(grace.unread().await.is_empty());
}

#[tokio::test]
async fn letters_of_other_scripts_end_a_handle_but_accents_do_not() {
    let (_app, ada, _, linus, thread) = app_with_thread().await;
    let mut expected = 0;
    for (text, mentioned) in [
        ("@linusさん", true),
        ("你好@linus你好", true),
        ("@linusя", true),
        ("@linus\u{301}", false),
        ("@linusé", false),
        ("@linuse\u{301}", false),
        ("linus@linus.example", false),
    ] {
        linus.delete(&format!("{thread}/follow")).await.ok();
        ada.comment(&thread, text).await;
        expected += i64::from(mentioned);
        assert_eq!(
            linus.inbox().await["items"][0]["unread_count"].as_i64().unwrap_or(0),
            expected,
            "{text:?}"
        );
    }
}

#[tokio::test]
async fn a_deleted_comment_is_no_longer_counted() {
    let (_app, ada, grace, linus, thread) = app_with_thread().await;
    grace.put(&format!("{thread}/follow")).await.ok();
    ada.comment(&thread, "one, @linus").await;
    ada.comment(&thread, "two").await;
    ada.comment(&thread, "three").await;
    assert_eq!(
        grace.unread().await,
        ["3 × Ada commented on campaign “Spring” (follower)"]
    );
    let before = grace.inbox().await["items"][0]["version"].as_i64().unwrap();
    delete(&ada, &thread, 4).await;
    let item = grace.inbox().await["items"][0].clone();
    assert_eq!((&item["unread_count"], &item["seq"]), (&json!(2), &json!(3)));
    assert!(item["version"].as_i64().unwrap() > before);
    delete(&ada, &thread, 2).await;
    assert_eq!(
        grace.unread().await,
        ["1 × Ada commented on campaign “Spring” (follower)"]
    );
    assert_eq!(grace.inbox().await["items"][0]["seq"], 3);
    delete(&ada, &thread, 3).await;
    for person in [&grace, &linus] {
        assert!(person.unread().await.is_empty());
        let item = person.inbox().await["items"][0].clone();
        assert!(item["read_at"].is_string(), "{item}");
        assert_eq!(item["text"], "Ada deleted a comment on campaign “Spring”");
    }
    // A message that a person has read does not count again, and the next message counts as usual.
    ada.comment(&thread, "four").await;
    ada.comment(&thread, "five").await;
    grace.put(&format!("{thread}/read")).json(json!({"seq": 5})).await.ok();
    delete(&ada, &thread, 5).await;
    assert_eq!(grace.unread().await.len(), 1);
    grace.put("/notifications/read").await.ok();
    delete(&ada, &thread, 6).await;
    assert!(grace.unread().await.is_empty());
}

#[tokio::test]
async fn a_deleted_comment_leaves_a_long_count_from_any_position() {
    let (_app, ada, grace, _, thread) = app_with_thread().await;
    grace.put(&format!("{thread}/follow")).await.ok();
    for n in 0..12 {
        ada.comment(&thread, &n.to_string()).await;
    }
    for (seq, left) in [(2, 11), (7, 10), (13, 9)] {
        delete(&ada, &thread, seq).await;
        assert_eq!(grace.inbox().await["items"][0]["unread_count"], left);
    }
}

/// The list of counted messages must not grow without a limit in a thread that nobody reads.
#[tokio::test]
async fn only_the_newest_hundred_comments_can_leave_a_count() {
    let (_app, ada, grace, _, thread) = app_with_thread().await;
    grace.put(&format!("{thread}/follow")).await.ok();
    for n in 0..102 {
        ada.comment(&thread, &n.to_string()).await;
    }
    // The comments have the positions from 2 to 103; the newest hundred begin at 4.
    for (seq, left) in [(2, 102), (3, 102), (4, 101), (103, 100)] {
        delete(&ada, &thread, seq).await;
        assert_eq!(grace.inbox().await["items"][0]["unread_count"], left, "{seq}");
    }
}

/// Comments and events together; events stay.
#[tokio::test]
async fn after_a_deleted_comment_the_event_before_it_is_shown() {
    let (_app, ada, grace, _, thread) = app_with_thread().await;
    grace.put(&format!("{thread}/follow")).await.ok();
    let threads = ada.get(&thread).await.ok();
    let campaign = format!("/campaigns/{}", threads["object_id"].as_str().unwrap());
    ada.patch(&campaign, json!({"budget": "7"})).await.ok();
    ada.comment(&thread, "seven").await;
    delete(&ada, &thread, 3).await;
    assert_eq!(
        grace.unread().await,
        ["1 × Ada changed budget of campaign “Spring” from 100 to 7 (follower)"]
    );
    // Marked as unread by hand, it counts its newest message.
    let comment = ada.comment(&thread, "eight").await;
    assert_eq!(comment["seq"], 4);
    let id = grace.inbox().await["items"][0]["id"].as_str().unwrap().to_owned();
    grace.put(&format!("/notifications/{id}/read")).await.ok();
    grace.delete(&format!("/notifications/{id}/read")).await.ok();
    delete(&ada, &thread, 4).await;
    assert!(grace.unread().await.is_empty());
}

#[tokio::test]
async fn a_retracted_notification_reaches_open_pages() {
    let (app, ada, grace, _, thread) = app_with_thread().await;
    grace.put(&format!("{thread}/follow")).await.ok();
    let address = app.serve(|router| router).await;
    let mut live = LiveClient::connect(address, &grace).await;
    live.follow(json!({"type": "subscribe", "topic": "notifications"}))
        .await;
    let mut unread = None;
    ada.comment(&thread, "one").await;
    while unread != Some(1) {
        unread = live.next().await["unread"].as_i64();
    }
    delete(&ada, &thread, 2).await;
    while unread != Some(0) {
        unread = live.next().await["unread"].as_i64();
    }
    eventually("an inbox without unread ones", async || grace.unread().await.is_empty()).await;
}
