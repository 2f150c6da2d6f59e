//! Marking as read only what the person has seen: messages that arrive in the meantime stay unread.

use daybook::tenancy::Role;
use daybook_tests::http::TestApp;
use daybook_tests::live::LiveClient;
use serde_json::json;

#[tokio::test]
async fn messages_that_arrive_after_the_list_was_read_stay_unread() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    let (_, spring) = ada.campaign_with_thread("Spring").await;
    let (_, summer) = ada.campaign_with_thread("Summer").await;
    let (_, autumn) = ada.campaign_with_thread("Autumn").await;
    for thread in [&spring, &summer] {
        grace.comment(thread, "seen").await;
    }
    let seen = ada.inbox().await;
    assert_eq!(seen["unread"], 2);
    // One that was in the list, and one that was not.
    for thread in [&summer, &autumn] {
        grace.comment(thread, "unseen").await;
    }
    let mark = ada.put("/notifications/read").json(json!({"up_to": seen["up_to"]}));
    assert_eq!(mark.await.ok()["marked"], 1);
    assert_eq!(
        ada.unread().await,
        [
            "1 × Grace commented on campaign “Autumn” (follower)",
            "2 × Grace commented on campaign “Summer” (follower)",
        ]
    );
    // Without a body, all are marked.
    assert_eq!(ada.put("/notifications/read").await.ok()["marked"], 2);
    assert!(ada.unread().await.is_empty());
}

/// Times are not sufficient: a transaction that commits late wrote its rows before.
#[tokio::test]
async fn rows_that_commit_after_the_list_was_read_stay_unread() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    let (_, spring) = ada.campaign_with_thread("Spring").await;
    let (_, summer) = ada.campaign_with_thread("Summer").await;
    for thread in [&spring, &summer] {
        grace.comment(thread, "one").await;
    }
    let mut slow = app.team.connection().await;
    sqlx::raw_sql("BEGIN").execute(&mut slow).await.unwrap();
    sqlx::query(
        "UPDATE notifications n SET unread_count = unread_count + 1, version = version + 1,
            transaction_id = pg_current_xact_id()::text::bigint
         FROM threads t WHERE t.id = n.thread_id AND t.object_label = 'Spring'",
    )
    .execute(&mut slow)
    .await
    .unwrap();
    let seen = ada.inbox().await;
    sqlx::raw_sql("COMMIT").execute(&mut slow).await.unwrap();
    let mark = ada.put("/notifications/read").json(json!({"up_to": seen["up_to"]}));
    assert_eq!(mark.await.ok()["marked"], 1);
    assert_eq!(
        ada.unread().await,
        ["2 × Grace commented on campaign “Spring” (follower)"]
    );
}

#[tokio::test]
async fn a_notification_that_has_changed_since_stays_unread() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    let (_, thread) = ada.campaign_with_thread("Spring").await;
    grace.comment(&thread, "seen").await;
    let seen = ada.inbox().await["items"][0].clone();
    let path = format!("/notifications/{}/read", seen["id"].as_str().unwrap());
    grace.comment(&thread, "unseen").await;
    let stale = ada.put(&path).json(json!({"version": seen["version"]})).await.ok();
    assert_eq!((&stale["read_at"], &stale["unread_count"]), (&json!(null), &json!(2)));
    let mark = ada.put(&path).json(json!({"version": stale["version"]})).await.ok();
    assert_eq!(
        (&mark["read_at"].is_string(), &mark["unread_count"]),
        (&true, &json!(0))
    );
    assert!(ada.unread().await.is_empty());
    // Without a body, the notification is read, even with newer messages.
    grace.comment(&thread, "unseen").await;
    assert!(ada.put(&path).await.ok()["read_at"].is_string());
}

/// Rows keep the transaction numbers of the cluster in which they were written.
#[tokio::test]
async fn after_a_restore_seen_notifications_can_still_be_marked() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    let (_, thread) = ada.campaign_with_thread("Spring").await;
    grace.comment(&thread, "seen").await;
    // The owner restores a dump: the run-time role can't write such a number.
    let mut owner = app.db.owner().await;
    for statement in [
        format!("SELECT set_config('daybook.team_id', '{}', false)", app.team.id),
        "UPDATE notifications SET transaction_id = 1::bigint << 60".to_owned(),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .execute(&mut owner)
            .await
            .unwrap();
    }
    let seen = ada.inbox().await;
    let mark = ada.put("/notifications/read").json(json!({"up_to": seen["up_to"]}));
    assert_eq!(mark.await.ok()["marked"], 1);
}

#[tokio::test]
async fn a_frame_has_the_snapshot_to_mark_up_to_and_invalid_ones_are_refused() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    let (_, thread) = ada.campaign_with_thread("Spring").await;
    grace.comment(&thread, "seen").await;
    let address = app.serve(|router| router).await;
    let mut live = LiveClient::connect(address, &ada).await;
    live.follow(json!({"type": "subscribe", "topic": "notifications"}))
        .await;
    let frame = live.next().await;
    let mark = ada.put("/notifications/read").json(json!({"up_to": frame["up_to"]}));
    assert_eq!(mark.await.ok()["marked"], 1);
    for (body, field) in [
        (json!({"up_to": "yesterday"}), "up_to"),
        (json!({"up_to": 7}), "up_to"),
        (json!({}), "up_to"),
        (json!({"upto": "1:1:"}), "upto"),
    ] {
        let answer = ada.put("/notifications/read").json(body).await;
        assert!(answer.wrong_fields().contains(&field.to_owned()), "{field}");
    }
    let path = format!(
        "/notifications/{}/read",
        ada.inbox().await["items"][0]["id"].as_str().unwrap()
    );
    assert_eq!(
        ada.put(&path).json(json!({"version": "x"})).await.wrong_fields(),
        ["version"]
    );
}
