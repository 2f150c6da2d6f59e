//! Tests the read position of each person in a thread, and which messages are new to them.

use axum::http::StatusCode;
use daybook::tenancy::Role;
use daybook_tests::http::{Client, TestApp};
use serde_json::{Value, json};

/// Returns `read_seq` and `new_count`, which must be the same in the thread, its pages and the list of threads.
async fn mark(reader: &Client, thread: &str) -> (i64, i64) {
    let of = |answer: &Value| {
        (
            answer["read_seq"].as_i64().unwrap(),
            answer["new_count"].as_i64().unwrap(),
        )
    };
    let mark = of(&reader.get(thread).await.ok());
    assert_eq!(of(&reader.get(&format!("{thread}/messages?limit=1")).await.ok()), mark);
    let id = thread.trim_start_matches("/threads/");
    let list = reader.get("/threads").await.ok();
    let listed = list["items"].as_array().unwrap().iter().find(|item| item["id"] == id);
    assert_eq!(of(listed.unwrap()), mark);
    mark
}

async fn read(reader: &Client, thread: &str, seq: i64) -> Value {
    reader
        .put(&format!("{thread}/read"))
        .json(json!({"seq": seq}))
        .await
        .ok()
}

/// Returns the labels of the threads that have new messages.
async fn new_to(reader: &Client) -> Vec<String> {
    let page = reader.get("/threads?new=true").await.ok();
    let items = page["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["object_label"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_mark_only_moves_forward_and_counts_newer_messages() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    let (_, thread) = ada.campaign_with_thread("Spring").await;
    assert_eq!(mark(&ada, &thread).await, (1, 0), "a person's own changes are not new");
    for n in 2..=5 {
        grace.comment(&thread, &format!("{n}")).await;
    }
    assert_eq!(mark(&ada, &thread).await, (1, 4));
    assert_eq!(
        mark(&grace, &thread).await,
        (0, 5),
        "she has not marked the first one as read"
    );

    let marked = read(&ada, &thread, 3).await;
    let id = thread.trim_start_matches("/threads/");
    assert_eq!(
        marked,
        json!({"thread_id": id, "read_seq": 3, "last_seq": 5, "new_count": 2})
    );
    assert_eq!(read(&ada, &thread, 2).await, marked, "a mark never moves back");
    assert_eq!(mark(&ada, &thread).await, (3, 2));
    ada.comment(&thread, "to 2").await;
    assert_eq!(mark(&ada, &thread).await, (3, 3), "4 and 5 are still new to her");
    read(&ada, &thread, 6).await;
    ada.comment(&thread, "and to 3").await;
    assert_eq!(mark(&ada, &thread).await, (7, 0));

    let path = format!("{thread}/read");
    for (body, field) in [
        (json!({"seq": 8}), "seq"),
        (json!({"seq": -1}), "seq"),
        (json!({"seq": "all"}), "seq"),
        (json!({}), "seq"),
        (json!({"seq": 1, "to": 2}), "to"),
    ] {
        assert_eq!(ada.put(&path).json(body).await.wrong_fields(), [field]);
    }
    let answer = ada.put(&path).json(json!({"seq": 8})).await.text();
    assert!(answer.contains("must be at most 7"), "{answer}");
    let (key, _) = ada.make_key("robot", "member").await;
    key.put(&path)
        .json(json!({"seq": 1}))
        .await
        .problem(StatusCode::FORBIDDEN, "forbidden");
    key.get("/threads?new=true")
        .await
        .problem(StatusCode::FORBIDDEN, "forbidden");
    let (_, other) = grace.campaign_with_thread("Summer").await;
    assert_eq!(read(&ada, &other, 0).await["read_seq"], 0);
}

#[tokio::test]
async fn own_changes_are_new_only_after_other_new_messages() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    let (spring, thread) = ada.campaign_with_thread("Spring").await;
    let (summer, other) = ada.campaign_with_thread("Summer").await;
    ada.patch(&spring.path, json!({"budget": "2"})).await.ok();
    assert_eq!(mark(&ada, &thread).await, (2, 0));
    let both = json!({"ids": [spring.id, summer.id], "changes": {"budget": "3"}});
    ada.patch("/campaigns", both).await.ok();
    assert_eq!((mark(&ada, &thread).await, mark(&ada, &other).await), ((3, 0), (2, 0)));
    grace.comment(&thread, "new").await;
    ada.patch(&spring.path, json!({"budget": "4"})).await.ok();
    assert_eq!(mark(&ada, &thread).await, (3, 2));
}

#[tokio::test]
async fn reading_to_the_end_reads_the_notification_and_to_the_middle_counts_the_rest() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    let (_, thread) = ada.campaign_with_thread("Spring").await;
    for n in 2..=5 {
        grace.comment(&thread, &format!("{n}")).await;
    }
    let unread_line = |n: i64| [format!("{n} × Grace commented on campaign “Spring” (follower)")];
    assert_eq!(ada.unread().await, unread_line(4));
    let before = ada.inbox().await["items"][0]["version"].as_i64().unwrap();
    read(&ada, &thread, 3).await;
    assert_eq!(ada.unread().await, unread_line(2));
    read(&ada, &thread, 1).await;
    assert_eq!(ada.unread().await, unread_line(2), "an older position changes nothing");
    read(&ada, &thread, 5).await;
    assert!(ada.unread().await.is_empty());
    let item = ada.inbox().await["items"][0].clone();
    assert_eq!(
        (item["version"].as_i64().unwrap(), item["read_at"].is_string()),
        (before + 2, true)
    );
    read(&ada, &thread, 5).await;
    assert_eq!(ada.inbox().await["items"][0], item, "reading twice is allowed");

    // The other way round, also for a person who does not follow.
    let linus = app.member("linus", Role::Viewer).await;
    linus.put("/watches/campaign").await.ok();
    let (_, summer) = ada.campaign_with_thread("Summer").await;
    let id = linus.inbox().await["items"][0]["id"].as_str().unwrap().to_owned();
    linus.put(&format!("/notifications/{id}/read")).await.ok();
    assert_eq!(mark(&linus, &summer).await, (1, 0));
    assert_eq!(linus.get(&summer).await.ok()["following"], false);
}

#[tokio::test]
async fn reading_neither_follows_nor_refuses_to_follow() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let people = ["grace", "linus", "barbara", "ken"].map(|name| app.member(name, Role::Member));
    let [grace, linus, barbara, ken] = people;
    let (grace, linus, barbara, ken) = (grace.await, linus.await, barbara.await, ken.await);
    let (_, thread) = ada.campaign_with_thread("Spring").await;
    for reader in [&grace, &linus, &barbara, &ken] {
        read(reader, &thread, 1).await;
        assert_eq!(reader.get(&thread).await.ok()["following"], false);
    }
    // Reading is not a request to be notified,
    ada.comment(&thread, "for all followers").await;
    assert!(grace.unread().await.is_empty());
    assert!(
        new_to(&grace).await.is_empty(),
        "nor does it add the thread to the list of new ones"
    );
    // and not a request to be left alone: what makes a person a follower still does so.
    read(&grace, &thread, 2).await;
    grace.comment(&thread, "I'm in").await;
    ada.comment(&thread, "and @linus?").await;
    for follower in [&grace, &linus] {
        assert_eq!(follower.get(&thread).await.ok()["following"], true);
    }
    assert_eq!(mark(&grace, &thread).await, (3, 1), "her own comment is not new to her");
    // But unfollowing or muting after reading is a decision.
    barbara.delete(&format!("{thread}/follow")).await.ok();
    ken.put(&format!("{thread}/mute")).await.ok();
    barbara.comment(&thread, "bye").await;
    ken.comment(&thread, "bye").await;
    for quiet in [&barbara, &ken] {
        assert_eq!(quiet.get(&thread).await.ok()["following"], false);
    }
}

#[tokio::test]
async fn threads_with_new_messages_are_listed() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    let mut threads = Vec::new();
    for name in ["Spring", "Summer", "Autumn", "Winter"] {
        threads.push(ada.campaign_with_thread(name).await.1);
    }
    assert!(new_to(&ada).await.is_empty(), "she made them herself");
    for thread in &threads {
        grace.comment(thread, "well").await;
    }
    assert_eq!(new_to(&ada).await, ["Winter", "Autumn", "Summer", "Spring"]);
    ada.put(&format!("{}/mute", threads[0])).await.ok();
    read(&ada, &threads[2], 2).await;
    assert_eq!(new_to(&ada).await, ["Winter", "Summer"]);
    // She has commented on all, and has read none from the beginning.
    assert_eq!(new_to(&grace).await.len(), 4);

    let page = ada.get("/threads?new=true&limit=1&object_type=campaign").await.ok();
    assert_eq!(page["items"][0]["object_label"], "Winter");
    let next = format!("/threads?new=true&limit=1&cursor={}", page["next"].as_str().unwrap());
    assert_eq!(ada.get(&next).await.ok()["items"][0]["object_label"], "Summer");
    // The second is new; the third was read, and the first is muted.
    for (thread, is_new) in [(&threads[1], 1), (&threads[2], 0), (&threads[0], 0)] {
        let object = ada.get(thread).await.ok()["object_id"].as_str().unwrap().to_owned();
        let path = format!("/threads?new=true&object_type=campaign&object_id={object}");
        assert_eq!(ada.get(&path).await.ok()["items"].as_array().unwrap().len(), is_new);
    }
}
