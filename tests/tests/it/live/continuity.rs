//! Tests of the transition from replay to live, of several processes, and of lost signals: nothing is missed, and
//! nothing is sent twice.

use std::collections::BTreeMap;

use daybook::live::LiveOptions;
use daybook_tests::http::Client;
use daybook_tests::live::LiveClient;
use serde_json::json;
use sqlx::{AssertSqlSafe, Executor};

use super::{LiveFixture, texts};

/// Reads up to the message `last`, and returns the numbers of the received messages.
async fn read_until(live: &mut LiveClient, last: i64) -> Vec<i64> {
    let mut seqs = Vec::new();
    while seqs.last() != Some(&last) {
        let frame = live.next().await;
        assert_eq!(frame["type"], "thread-messages:created", "{frame}");
        seqs.extend(
            frame["messages"]
                .as_array()
                .unwrap()
                .iter()
                .map(|message| message["seq"].as_i64().unwrap()),
        );
    }
    seqs
}

async fn write(client: Client, thread: String, comments: usize) {
    for i in 0..comments {
        client.comment(&thread, &format!("{i}")).await;
    }
}

#[tokio::test]
async fn a_client_that_connects_during_writes_receives_each_message_once_in_order() {
    let fixture = LiveFixture::new().await;
    let writers: Vec<_> = (0..4)
        .map(|_| tokio::spawn(write(fixture.ada.clone(), fixture.thread.clone(), 50)))
        .collect();
    let mut readers = Vec::new();
    for from in [0, 0, 1] {
        let mut live = fixture.connect(&fixture.grace).await;
        live.follow_thread(fixture.thread_id(), Some(from)).await;
        readers.push(tokio::spawn(async move { (from, read_until(&mut live, 201).await) }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    for reader in readers {
        let (from, seqs) = reader.await.unwrap();
        assert!(seqs.into_iter().eq(from + 1..=201));
    }
}

#[tokio::test]
async fn changes_by_another_process_arrive_with_and_without_signals() {
    let fixture = LiveFixture::new().await;
    for ignore_signals in [false, true] {
        let other = fixture
            .app
            .second_process(LiveOptions::default().ignore_signals(ignore_signals))
            .await;
        let address = other.serve(|router| router).await;
        let mut grace = LiveClient::connect(address, &fixture.grace).await;
        let seq = grace.follow_thread(fixture.thread_id(), None).await["seq"]
            .as_i64()
            .unwrap();
        grace
            .follow(json!({"type": "subscribe", "topic": "notifications"}))
            .await;
        let version = grace.next().await["version"].as_i64();
        fixture.grace.put(&format!("{}/follow", fixture.thread)).await.ok();
        fixture.change_budget(if ignore_signals { "1" } else { "2" }).await;
        let (first, second) = (grace.next().await, grace.next().await);
        let by_type: BTreeMap<_, _> = [first, second]
            .into_iter()
            .map(|frame| (frame["type"].as_str().unwrap().to_owned(), frame))
            .collect();
        assert_eq!(
            by_type["thread-messages:created"]["seq"].as_i64(),
            Some(seq + 1),
            "ignore_signals: {ignore_signals}"
        );
        assert!(
            by_type["notifications:updated"]["version"].as_i64() > version,
            "ignore_signals: {ignore_signals}"
        );
        let mut feed = LiveClient::connect(address, &fixture.grace).await;
        feed.follow(json!({"type": "subscribe", "topic": "threads"})).await;
        fixture.ada.comment(&fixture.thread, "I agree").await;
        assert_eq!(
            texts(&feed.next().await),
            [format!("{} I agree", seq + 2)],
            "ignore_signals: {ignore_signals}"
        );
    }
}

#[tokio::test]
async fn no_message_is_lost_when_database_connections_are_cut() {
    let fixture = LiveFixture::new().await;
    let mut grace = fixture.connect(&fixture.grace).await;
    grace.follow_thread(fixture.thread_id(), Some(0)).await;
    let mut feed = fixture.connect(&fixture.grace).await;
    feed.follow(json!({"type": "subscribe", "topic": "threads"})).await;
    assert_eq!(read_until(&mut grace, 1).await, [1]);
    for round in 0..3 {
        let mut owner = fixture.app.db.owner().await;
        owner
            .execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            .await
            .unwrap();
        let seq = 2 + round;
        daybook_tests::eventually("the service is back", async || {
            let answer = fixture
                .ada
                .post(&format!("{}/messages", fixture.thread), json!({"body": "still here"}))
                .await;
            answer.status.is_success()
        })
        .await;
        assert_eq!(read_until(&mut grace, seq).await, [seq]);
        assert_eq!(texts(&feed.next().await), [format!("{seq} still here")]);
    }
}

/// A transaction begins early and commits late.
#[tokio::test]
async fn the_feed_of_a_team_does_not_skip_a_slow_transaction() {
    let fixture = LiveFixture::new().await;
    let mut feed = fixture.connect(&fixture.grace).await;
    feed.follow(json!({"type": "subscribe", "topic": "threads"})).await;
    let (_, other) = fixture.ada.campaign_with_thread("Summer").await;
    assert_eq!(texts(&feed.next().await), ["1 Ada created campaign “Summer”"]);

    let mut slow = open_comment(&fixture, &fixture.thread, "late").await;
    let mut last = feed_cursor(&fixture, &other, &mut feed, 2).await;
    last = feed_cursor(&fixture, &other, &mut feed, 3).await.max(last);
    slow.execute("COMMIT").await.unwrap();
    let late = feed.next().await;
    assert_eq!(texts(&late), ["2 late"]);
    assert!(feed.frames_until_pong().await.is_empty());

    // A client that resumes from an earlier cursor receives it, too.
    let mut again = fixture.connect(&fixture.grace).await;
    again
        .follow(json!({"type": "subscribe", "topic": "threads", "cursor": last}))
        .await;
    assert_eq!(texts(&again.next().await), ["2 late"]);
    assert!(again.frames_until_pong().await.is_empty());
}

async fn feed_cursor(fixture: &LiveFixture, thread: &str, feed: &mut LiveClient, seq: i64) -> String {
    fixture.ada.comment(thread, "on we go").await;
    let frame = feed.next().await;
    assert_eq!(texts(&frame), [format!("{seq} on we go")]);
    frame["cursor"].as_str().unwrap().to_owned()
}

/// Posts a comment in a transaction that stays open.
async fn open_comment(fixture: &LiveFixture, thread: &str, body: &str) -> sqlx::postgres::PgConnection {
    let mut connection = fixture.app.team.connection().await;
    connection.execute("BEGIN").await.unwrap();
    let thread = thread.trim_start_matches("/threads/");
    let insert = format!(
        "WITH t AS (UPDATE threads SET last_seq = last_seq + 1 WHERE id = '{thread}' RETURNING team_id, id, last_seq)
             INSERT INTO thread_messages (team_id, thread_id, seq, kind, author_kind, author_name, body)
             SELECT team_id, id, last_seq, 'comment', 'system', 'The past', '{body}' FROM t"
    );
    connection.execute(AssertSqlSafe(insert)).await.unwrap();
    connection
}

/// The client is several pages behind. Two transactions are open while the first page is read, and commit before the
/// second page: one has a lower number than all rows that are read, and one has a number among them.
#[tokio::test]
async fn a_feed_that_is_pages_behind_receives_what_commits_between_its_pages() {
    let fixture = LiveFixture::new().await;
    let (_, other) = fixture.ada.campaign_with_thread("Summer").await;
    let (_, third) = fixture.ada.campaign_with_thread("Autumn").await;
    let mut feed = fixture.connect(&fixture.grace).await;
    let subscribed = feed.follow(json!({"type": "subscribe", "topic": "threads"})).await;
    let cursor = subscribed["cursor"].as_str().unwrap().to_owned();
    drop(feed);

    let mut early = open_comment(&fixture, &fixture.thread, "early").await;
    let comments = 450;
    let mut middle = None;
    for half in 0..2 {
        let mut writers: Vec<_> = Vec::new();
        for part in 0..3 {
            let (ada, other) = (fixture.ada.clone(), other.clone());
            writers.push(tokio::spawn(async move {
                for n in 0..comments / 6 {
                    ada.comment(&other, &format!("{half} {part} {n}")).await;
                }
            }));
        }
        for writer in writers {
            writer.await.unwrap();
        }
        if half == 0 {
            middle = Some(open_comment(&fixture, &third, "middle").await);
        }
    }
    // A client with a small receive buffer takes one page at a time, so that the commit falls between two of them.
    let mut again = LiveClient::connect_with_small_buffer(fixture.address, &fixture.grace).await;
    again
        .follow(json!({"type": "subscribe", "topic": "threads", "cursor": cursor}))
        .await;
    let mut seen = texts(&again.next().await);
    for open in [&mut early, &mut middle.unwrap()] {
        open.execute("COMMIT").await.unwrap();
    }
    while seen.len() < comments + 2 {
        seen.extend(texts(&again.next().await));
    }
    assert!(again.frames_until_pong().await.is_empty());
    for late in ["early", "middle"] {
        let times = seen.iter().filter(|line| line.ends_with(late)).count();
        assert_eq!(times, 1, "{late}: {seen:?}");
    }
    let distinct: std::collections::BTreeSet<_> = seen.iter().collect();
    assert_eq!(distinct.len(), comments + 2, "each message was received once");
}
