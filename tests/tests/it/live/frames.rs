//! Tests of the frames that a socket sends.

use axum::http::StatusCode;
use serde_json::json;

use super::{LiveFixture, texts};

#[tokio::test]
async fn a_thread_is_replayed_from_the_given_position_and_then_followed() {
    let fixture = LiveFixture::new().await;
    fixture.change_budget("200").await;
    let mut grace = fixture.connect(&fixture.grace).await;
    let subscribed = grace.follow_thread(fixture.thread_id(), Some(1)).await;
    assert_eq!(
        subscribed,
        json!({"type": "subscribed", "topic": format!("thread:{}", fixture.thread_id()), "seq": 2, "revision": 0})
    );
    let replayed = grace.next().await;
    assert_eq!(replayed["type"], "thread-messages:created");
    assert_eq!(
        texts(&replayed),
        ["2 Ada changed budget of campaign “Spring” from 100 to 200"]
    );
    assert_eq!((&replayed["seq"], &replayed["revision"]), (&json!(2), &json!(0)));
    assert_eq!(replayed["thread"]["object_label"], "Spring");

    fixture.change_budget("300").await;
    assert_eq!(
        texts(&grace.next().await),
        ["3 Ada changed budget of campaign “Spring” from 200 to 300"]
    );
    fixture.ada.comment(&fixture.thread, "well then").await;
    assert_eq!(texts(&grace.next().await), ["4 well then"]);
    assert!(grace.frames_until_pong().await.is_empty());
}

#[tokio::test]
async fn without_a_position_only_new_messages_are_sent() {
    let fixture = LiveFixture::new().await;
    let mut grace = fixture.connect(&fixture.grace).await;
    let subscribed = grace.follow_thread(fixture.thread_id(), None).await;
    assert_eq!(subscribed["seq"], 1);
    fixture.change_budget("200").await;
    assert_eq!(
        texts(&grace.next().await),
        ["2 Ada changed budget of campaign “Spring” from 100 to 200"]
    );
}

#[tokio::test]
async fn changed_comments_are_sent_and_replayed_after_a_reconnect() {
    let fixture = LiveFixture::new().await;
    let comment = format!(
        "{}/messages/{}",
        fixture.thread,
        fixture.ada.comment(&fixture.thread, "teh").await["seq"]
    );
    let other = fixture.ada.comment(&fixture.thread, "oops").await["seq"].clone();
    let mut grace = fixture.connect(&fixture.grace).await;
    grace.follow_thread(fixture.thread_id(), None).await;

    fixture
        .ada
        .patch(&comment, json!({"body": "the"}))
        .if_match("*")
        .await
        .ok();
    let updated = grace.next().await;
    assert_eq!(updated["type"], "thread-messages:updated");
    assert_eq!(
        (texts(&updated), &updated["revision"], &updated["seq"]),
        (vec!["2 the".to_owned()], &json!(1), &json!(3))
    );
    let taken_back = fixture
        .ada
        .delete(&format!("{}/messages/{other}", fixture.thread))
        .if_match("*");
    taken_back.await.is(StatusCode::NO_CONTENT);
    let deleted = grace.next().await;
    assert_eq!(deleted["type"], "thread-messages:deleted");
    assert_eq!(
        (texts(&deleted), &deleted["revision"]),
        (vec!["3 —".to_owned()], &json!(2))
    );

    let mut again = fixture.connect(&fixture.grace).await;
    let topic = format!("thread:{}", fixture.thread_id());
    again
        .follow(json!({"type": "subscribe", "topic": topic, "seq": 2, "revision": 0}))
        .await;
    let (created, changed) = (again.next().await, again.next().await);
    assert_eq!(
        (texts(&created), &created["type"]),
        (vec!["3 —".to_owned()], &json!("thread-messages:created"))
    );
    assert_eq!(
        (texts(&changed), &changed["type"]),
        (vec!["2 the".to_owned()], &json!("thread-messages:updated"))
    );
    assert_eq!(changed["revision"], 2, "the other change came with its message");
    assert!(again.frames_until_pong().await.is_empty());
}

#[tokio::test]
async fn each_notifications_frame_is_a_complete_state_with_a_higher_version() {
    let fixture = LiveFixture::new().await;
    fixture.grace.put(&format!("{}/follow", fixture.thread)).await.ok();
    let mut grace = fixture.connect(&fixture.grace).await;
    grace
        .follow(json!({"type": "subscribe", "topic": "notifications"}))
        .await;
    let empty = grace.next().await;
    assert_eq!(empty["type"], "notifications:updated");
    assert_eq!(
        (&empty["unread"], &empty["version"], &empty["items"]),
        (&json!(0), &json!(0), &json!([]))
    );

    fixture.change_budget("200").await;
    let one = grace.next().await;
    assert_eq!(
        (&one["unread"], &one["items"][0]["unread_count"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(
        one["items"][0]["text"],
        "Ada changed budget of campaign “Spring” from 100 to 200"
    );
    assert!(one["version"].as_i64() > empty["version"].as_i64());

    let id = one["items"][0]["id"].as_str().unwrap().to_owned();
    fixture.grace.put(&format!("/notifications/{id}/read")).await.ok();
    let read = grace.next().await;
    assert_eq!(read["unread"], 0);
    assert!(read["version"].as_i64() > one["version"].as_i64());
    // Ada's notifications are not sent to Grace.
    fixture.grace.comment(&fixture.thread, "for @ada").await;
    assert!(grace.frames_until_pong().await.is_empty());
}

/// The version counts the changes of all notifications, also of those that a frame leaves out.
#[tokio::test]
async fn a_notifications_frame_has_the_twenty_newest_and_the_version_of_all() {
    let fixture = LiveFixture::new().await;
    fixture.grace.put("/watches/campaign").await.ok();
    let mut grace = fixture.connect(&fixture.grace).await;
    grace
        .follow(json!({"type": "subscribe", "topic": "notifications"}))
        .await;
    let mut state = grace.next().await;
    for n in 1..=21 {
        fixture.ada.create_campaign(&n.to_string(), "1").await;
        let next = grace.next().await;
        assert!(next["version"].as_i64() > state["version"].as_i64(), "{n}");
        state = next;
    }
    let items = state["items"].as_array().unwrap();
    assert_eq!((items.len(), &state["unread"]), (20, &json!(21)));
    assert_eq!(
        (&items[0]["text"], &items[19]["text"]),
        (&json!("Ada created campaign “21”"), &json!("Ada created campaign “2”"))
    );
}

#[tokio::test]
async fn all_threads_of_a_team_are_followed_and_resumed_by_a_cursor() {
    let fixture = LiveFixture::new().await;
    let mut grace = fixture.connect(&fixture.grace).await;
    let start = grace.follow(json!({"type": "subscribe", "topic": "threads"})).await;
    assert!(start["cursor"].is_string() && start.get("seq").is_none(), "{start}");
    let (_, summer) = fixture.ada.campaign_with_thread("Summer").await;
    let created = grace.next().await;
    assert_eq!(texts(&created), ["1 Ada created campaign “Summer”"]);
    assert_eq!(
        (&created["topic"], &created["thread"]["id"]),
        (&json!("threads"), &json!(summer.trim_start_matches("/threads/")))
    );
    fixture.ada.comment(&summer, "sun").await;
    let sun = grace.next().await;
    assert_eq!(texts(&sun), ["2 sun"]);

    drop(grace);
    fixture.change_budget("200").await;
    fixture
        .ada
        .patch(&format!("{summer}/messages/2"), json!({"body": "rain"}))
        .if_match("*")
        .await
        .ok();
    let mut again = fixture.connect(&fixture.grace).await;
    again
        .follow(json!({"type": "subscribe", "topic": "threads", "cursor": sun["cursor"]}))
        .await;
    let mut missed = [again.next().await, again.next().await];
    missed.sort_by_key(|frame| frame["type"].to_string());
    assert_eq!(
        texts(&missed[0]),
        ["2 Ada changed budget of campaign “Spring” from 100 to 200"]
    );
    assert_eq!(
        (&missed[1]["type"], texts(&missed[1])),
        (&json!("thread-messages:updated"), vec!["2 rain".to_owned()])
    );
    assert!(again.frames_until_pong().await.is_empty());
}

/// A client that loses its socket between two frames of one batch must not lose the second.
#[tokio::test]
async fn the_cursor_advances_with_the_last_frame_of_a_batch() {
    let fixture = LiveFixture::new().await;
    let mut ids = Vec::new();
    for name in ["Summer", "Autumn", "Winter"] {
        ids.push(fixture.ada.create_campaign(name, "100").await.id);
    }
    let mut grace = fixture.connect(&fixture.grace).await;
    grace.follow(json!({"type": "subscribe", "topic": "threads"})).await;
    fixture
        .ada
        .patch("/campaigns", json!({"ids": ids, "changes": {"budget": "200"}}))
        .await
        .ok();
    let batch = [grace.next().await, grace.next().await, grace.next().await];
    // It is not always the cursor of the beginning: a read without results advances it past transactions in other
    // databases.
    assert_eq!(batch[0]["cursor"], batch[1]["cursor"]);
    assert_ne!(batch[2]["cursor"], batch[1]["cursor"]);

    for (cursor, left) in [(&batch[1]["cursor"], 3), (&batch[2]["cursor"], 0)] {
        let mut again = fixture.connect(&fixture.grace).await;
        again
            .follow(json!({"type": "subscribe", "topic": "threads", "cursor": cursor}))
            .await;
        for _ in 0..left {
            assert_eq!(again.next().await["type"], "thread-messages:created");
        }
        assert!(again.frames_until_pong().await.is_empty());
    }
}

#[tokio::test]
async fn many_long_messages_are_replayed_completely_in_frames_of_limited_size() {
    let fixture = LiveFixture::new().await;
    let long = "x".repeat(9_000);
    for _ in 0..25 {
        fixture.ada.comment(&fixture.thread, &long).await;
    }
    let mut grace = fixture.connect(&fixture.grace).await;
    grace.follow_thread(fixture.thread_id(), Some(0)).await;
    let mut seqs = Vec::new();
    while seqs.len() < 26 {
        let frame = grace.next().await;
        assert!(frame.to_string().len() < 70 * 1024);
        seqs.extend(
            frame["messages"]
                .as_array()
                .unwrap()
                .iter()
                .map(|message| message["seq"].as_i64().unwrap()),
        );
        assert_eq!(frame["seq"].as_i64(), seqs.last().copied());
    }
    assert!(seqs.into_iter().eq(1..=26));
}

#[tokio::test]
async fn an_invalid_frame_is_answered_with_an_error_and_the_socket_stays_open() {
    let fixture = LiveFixture::new().await;
    let (robot, _) = fixture.ada.make_key("robot", "viewer").await;
    let mut live = fixture.connect(&robot).await;
    let thread = format!("thread:{}", fixture.thread_id());
    for (frame, code, words) in [
        (json!({"type": "dance"}), "bad-frame", "unknown variant `dance`"),
        (
            json!({"type": "ping", "loud": true}),
            "bad-frame",
            "unknown field `loud`",
        ),
        (json!({"type": "subscribe"}), "bad-frame", "missing field `topic`"),
        (
            json!({"type": "subscribe", "topic": "campaigns"}),
            "bad-frame",
            "thread:{id}, threads, notifications, job-sessions or runs",
        ),
        (
            json!({"type": "subscribe", "topic": "threads", "seq": 1}),
            "bad-frame",
            "seq and revision are only allowed for a thread",
        ),
        (
            json!({"type": "subscribe", "topic": thread, "cursor": "1"}),
            "bad-frame",
            "a cursor is only allowed for threads",
        ),
        (
            json!({"type": "subscribe", "topic": thread, "seq": -1}),
            "bad-frame",
            "seq must be 0 or more",
        ),
        (
            json!({"type": "subscribe", "topic": thread, "seq": 7}),
            "cursor-ahead",
            "is at seq 1",
        ),
        (
            json!({"type": "subscribe", "topic": "threads", "cursor": "x"}),
            "bad-frame",
            "must come from a frame",
        ),
        (
            json!({"type": "subscribe", "topic": "threads", "cursor": "9000000000:9000000000:"}),
            "cursor-ahead",
            "not from this database",
        ),
        (
            json!({"type": "subscribe", "topic": "notifications"}),
            "forbidden",
            "use a person's token",
        ),
    ] {
        live.send(frame.clone()).await;
        let error = live.next().await;
        assert_eq!(
            (&error["type"], &error["code"]),
            (&json!("error"), &json!(code)),
            "{frame} {error}"
        );
        assert!(error["detail"].as_str().unwrap().contains(words), "{frame} {error}");
    }
    live.follow_thread(fixture.thread_id(), None).await;
    live.send(json!({"type": "unsubscribe", "topic": thread})).await;
    assert_eq!(live.next().await, json!({"type": "unsubscribed", "topic": thread}));
    fixture.change_budget("200").await;
    assert!(live.frames_until_pong().await.is_empty());
}
