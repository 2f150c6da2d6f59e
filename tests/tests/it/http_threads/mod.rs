//! Threads, comments and the inbox over HTTP.

mod following;
mod grouping;
mod mentions;
mod order;
mod read_marks;
mod reading;

use axum::http::StatusCode;
use daybook::tenancy::Role;
use daybook_tests::http::TestApp;
use serde_json::{Value, json};

use crate::http_campaigns::lost_updates::{assert_one_succeeded, send_concurrently};

#[tokio::test]
async fn a_comment_notifies_followers_and_mentioned_people() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    let linus = app.member("linus", Role::Viewer).await;
    let (_, thread) = ada.campaign_with_thread("Spring").await;

    let comment = grace.comment(&thread, "Look, @linus. @nobody, x@ada.com too").await;
    assert_eq!(comment["seq"], 2);
    assert_eq!(
        comment["author"],
        json!({"kind": "user", "id": grace.id(), "name": "Grace"})
    );
    assert_eq!(
        linus.thread_texts(&thread).await,
        [
            "Ada created campaign “Spring”",
            "Grace: Look, @linus. @nobody, x@ada.com too"
        ]
    );
    assert_eq!(
        ada.unread().await,
        ["1 × Grace commented on campaign “Spring” (follower)"]
    );
    assert_eq!(
        linus.unread().await,
        ["1 × Grace commented on campaign “Spring” (mentioned)"]
    );
    assert!(grace.unread().await.is_empty());

    // Both follow from then on: Grace because she commented, Linus because he was mentioned.
    ada.comment(&thread, "Thanks").await;
    assert_eq!(
        grace.unread().await,
        ["1 × Ada commented on campaign “Spring” (follower)"]
    );
    assert_eq!(
        linus.unread().await,
        ["2 × Ada commented on campaign “Spring” (mentioned)"]
    );

    for (body, field) in [
        (json!({"body": " \n"}), "body"),
        (json!({"body": "x".repeat(20_001)}), "body"),
        (json!({"body": "a\u{0}"}), "body"),
        (json!({"text": "x"}), "text"),
    ] {
        assert_eq!(
            ada.post(&format!("{thread}/messages"), body).await.wrong_fields(),
            [field]
        );
    }
    let longest = json!({"body": "é".repeat(20_000)});
    ada.post(&format!("{thread}/messages"), longest)
        .await
        .is(StatusCode::CREATED);
    assert_eq!(
        ada.get(&thread).await.ok()["last_seq"],
        4,
        "the refused comments took no position"
    );
}

#[tokio::test]
async fn only_the_author_edits_and_deletes_a_comment() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    let (_, thread) = ada.campaign_with_thread("Spring").await;
    let comment = grace.comment(&thread, "furst").await;
    let path = format!("{thread}/messages/2");
    let first = comment["etag"].as_str().unwrap();

    let others = [ada.patch(&path, json!({"body": "mine"})), ada.delete(&path)];
    for request in others {
        request.await.problem(StatusCode::FORBIDDEN, "forbidden");
    }
    let event = ada
        .patch(&format!("{thread}/messages/1"), json!({"body": "history"}))
        .await;
    event.problem(StatusCode::CONFLICT, "not-a-comment");
    ada.delete(&format!("{thread}/messages/9"))
        .await
        .problem(StatusCode::NOT_FOUND, "not-found");

    let blind = grace
        .patch(&path, json!({"body": "first"}))
        .without_header("if-match")
        .await;
    blind.problem(StatusCode::PRECONDITION_REQUIRED, "precondition-required");
    let edited = grace.patch(&path, json!({"body": "first"})).if_match(first).await;
    let second = edited.etag();
    let edited = edited.ok();
    assert_eq!((&edited["body"], &edited["seq"]), (&json!("first"), &json!(2)));
    assert!(edited["edited_at"].is_string());
    let page = ada.get(&format!("{thread}/messages")).await.ok();
    assert_eq!(
        page["items"][1], edited,
        "the response to the change is what is read later"
    );
    let stale = grace.patch(&path, json!({"body": "third"})).if_match(first).await;
    stale.problem(StatusCode::PRECONDITION_FAILED, "precondition-failed");
    assert_eq!(
        ada.unread().await,
        ["1 × Grace commented on campaign “Spring” (follower)"]
    );

    // A person who may no longer write may no longer change their comments.
    let member = format!("/members/{}", grace.id());
    ada.patch(&member, json!({"role": "viewer"})).await.ok();
    for request in [grace.patch(&path, json!({"body": "mine"})), grace.delete(&path)] {
        request.await.problem(StatusCode::FORBIDDEN, "forbidden");
    }
    ada.patch(&member, json!({"role": "member"})).await.ok();

    grace.delete(&path).if_match(&second).await.is(StatusCode::NO_CONTENT);
    grace.delete(&path).await.is(StatusCode::NO_CONTENT);
    let again = grace.patch(&path, json!({"body": "back"})).await;
    again.problem(StatusCode::CONFLICT, "comment-deleted");
    assert_eq!(ada.thread_texts(&thread).await[1], "Grace: (taken back)");
    let mut inside = app.team.connection().await;
    let kept: Option<String> = sqlx::query_scalar("SELECT body FROM thread_messages WHERE seq = 2")
        .fetch_one(&mut inside)
        .await
        .unwrap();
    assert_eq!(kept, None, "its text is deleted permanently");
    assert_eq!(ada.comment(&thread, "next").await["seq"], 3, "its position stays");
}

#[tokio::test]
async fn of_two_edits_of_one_version_one_is_refused_as_is_a_stale_deletion() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let (_, thread) = ada.campaign_with_thread("Spring").await;
    let first = ada.comment(&thread, "furst").await["etag"].as_str().unwrap().to_owned();
    let path = format!("{thread}/messages/2");
    let edit = |body: &str| ada.patch(&path, json!({"body": body})).if_match(&first);
    assert_one_succeeded(send_concurrently(&app, "thread_messages WHERE seq = 2", edit("first"), edit("1st")).await);
    let stale = ada.delete(&path).if_match(&first).await;
    stale.problem(StatusCode::PRECONDITION_FAILED, "precondition-failed");
    assert_ne!(ada.thread_texts(&thread).await[1], "Ada: (taken back)");
}

#[tokio::test]
async fn a_persons_own_choice_to_follow_stays() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let linus = app.member("linus", Role::Viewer).await;
    let grace = app.member("grace", Role::Member).await;
    let (campaign, thread) = ada.campaign_with_thread("Spring").await;

    assert_eq!(linus.put(&format!("{thread}/follow")).await.ok()["following"], true);
    let muted = linus.put(&format!("{thread}/mute")).await.ok();
    assert_eq!((&muted["following"], &muted["muted"]), (&json!(true), &json!(true)));
    ada.comment(&thread, "for all followers").await;
    ada.comment(&thread, "for @linus").await;
    assert!(linus.unread().await.is_empty(), "not even for a mention");
    assert_eq!(linus.delete(&format!("{thread}/mute")).await.ok()["muted"], false);
    ada.comment(&thread, "for all").await;
    assert_eq!(
        linus.unread().await,
        ["1 × Ada commented on campaign “Spring” (follower)"]
    );

    // Grace comments once and unfollows. She does not follow again, although she comments and is mentioned.
    grace.comment(&thread, "hm").await;
    assert_eq!(grace.delete(&format!("{thread}/follow")).await.ok()["following"], false);
    grace.comment(&thread, "one more thing").await;
    ada.patch(&campaign.path, json!({"budget": "7"})).await.ok();
    assert!(grace.unread().await.is_empty());
    ada.comment(&thread, "what do you mean, @grace?").await;
    assert_eq!(
        grace.unread().await,
        ["1 × Ada commented on campaign “Spring” (mentioned)"]
    );
    assert_eq!(grace.get(&thread).await.ok()["following"], false);

    // The same for the creator.
    ada.delete(&format!("{thread}/follow")).await.ok();
    grace.comment(&thread, "to nobody").await;
    assert!(ada.unread().await.iter().all(|line| !line.starts_with("4 ×")));
    assert_eq!(ada.get(&thread).await.ok()["following"], false);
}

#[tokio::test]
async fn one_notification_per_thread_counts_until_it_is_read() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    let (spring, thread) = ada.campaign_with_thread("Spring").await;
    ada.campaign_with_thread("Summer").await;
    for n in 1..=3 {
        grace.patch(&spring.path, json!({"budget": n.to_string()})).await.ok();
    }
    assert_eq!(
        ada.unread().await,
        ["3 × Grace changed budget of campaign “Spring” from 2 to 3 (follower)"]
    );
    let item = ada.inbox().await["items"][0].clone();
    assert_eq!((&item["seq"], &item["version"]), (&json!(4), &json!(3)));
    let path = format!("/notifications/{}/read", item["id"].as_str().unwrap());
    grace.put(&path).await.problem(StatusCode::NOT_FOUND, "not-found");

    let read = ada.put(&path).await.ok();
    assert_eq!((&read["unread_count"], &read["version"]), (&json!(0), &json!(4)));
    assert_eq!(ada.put(&path).await.ok(), read, "reading twice is allowed");
    assert!(ada.unread().await.is_empty());
    assert_eq!(ada.get(&thread).await.ok()["read_seq"], 4);
    assert_eq!(
        ada.inbox().await["items"].as_array().unwrap().len(),
        1,
        "it stays in the inbox"
    );
    let unread = ada.delete(&path).await.ok();
    assert_eq!((&unread["unread_count"], &unread["read_at"]), (&json!(1), &Value::Null));

    // The next message makes the same row unread.
    ada.put(&path).await.ok();
    grace.comment(&thread, "so?").await;
    let unread_again = ada.inbox().await["items"][0].clone();
    assert_eq!(
        (&unread_again["id"], &unread_again["unread_count"]),
        (&item["id"], &json!(1))
    );
    grace
        .comment(
            &format!(
                "/threads/{}",
                ada.get("/threads").await.ok()["items"][0]["id"].as_str().unwrap()
            ),
            "x",
        )
        .await;
    assert_eq!(ada.unread().await.len(), 2);
    assert_eq!(ada.put("/notifications/read").await.ok(), json!({"marked": 2}));
    assert_eq!(ada.put("/notifications/read").await.ok(), json!({"marked": 0}));
    assert!(ada.unread().await.is_empty());
    assert_eq!(ada.get(&thread).await.ok()["read_seq"], 5);
}

#[tokio::test]
async fn watches_are_listed_and_can_be_removed() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Viewer).await;
    let first = grace.put("/watches/campaign").await.ok();
    assert_eq!(
        grace.put("/watches/campaign").await.ok(),
        first,
        "watching twice is allowed"
    );
    // Unknown types are refused by name. A type that has a thread is known, even if the program has no model of it.
    let unknown = grace.put("/watches/invoice").await;
    assert!(unknown.text().contains("the known types are: campaign"), "{unknown:?}");
    assert_eq!(unknown.wrong_fields(), ["object_type"]);
    sqlx::query(
        "INSERT INTO threads (team_id, id, object_type, object_id, object_label, last_seq) VALUES ($1, $1, 'invoice', '7', '7', 0)",
    )
    .bind(app.team.id)
    .execute(&mut app.team.connection().await)
    .await
    .unwrap();
    grace.put("/watches/invoice").await.ok();
    let page = grace.get("/watches?limit=1").await.ok();
    assert_eq!(page["items"], json!([first]));
    let rest = grace
        .get(&format!("/watches?cursor={}", page["next"].as_str().unwrap()))
        .await
        .ok();
    assert_eq!(rest["items"][0]["object_type"], "invoice");
    assert_eq!(grace.put("/watches/Not-a-type").await.wrong_fields(), ["object_type"]);
    assert_eq!(
        ada.get("/watches").await.ok()["items"],
        json!([]),
        "each person has their own watches"
    );

    let (_, thread) = ada.campaign_with_thread("Spring").await;
    ada.comment(&thread, "a watcher is notified only of new objects").await;
    assert_eq!(grace.unread().await, ["1 × Ada created campaign “Spring” (watcher)"]);
    grace.delete("/watches/campaign").await.is(StatusCode::NO_CONTENT);
    grace.delete("/watches/campaign").await.is(StatusCode::NO_CONTENT);
    ada.create_campaign("Summer", "1").await;
    assert_eq!(grace.unread().await.len(), 1);
}
