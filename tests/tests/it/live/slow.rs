//! Tests of clients that don't read, send too much, or don't answer.

use std::time::Duration;

use daybook::live::LiveOptions;
use daybook_tests::live::LiveClient;
use futures_util::SinkExt;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::LiveFixture;

fn short_write_timeout() -> LiveOptions {
    LiveOptions::default()
        .write_timeout(Duration::from_secs(3))
        .ping_interval(Duration::from_secs(3_600))
}

/// Several megabytes, most of which wait in the service.
const LONG_COMMENTS: i32 = 130;

/// A comment of 60 kB.
fn long_comment() -> String {
    "\u{1d54f}".repeat(15_000)
}

#[tokio::test]
async fn a_client_that_does_not_read_is_disconnected_with_a_reason() {
    let write_timeout = Duration::from_secs(10);
    let fixture = LiveFixture::with_options(short_write_timeout().write_timeout(write_timeout)).await;
    let mut ada = fixture.connect(&fixture.ada).await;
    ada.follow_thread(fixture.thread_id(), None).await;
    let mut grace = LiveClient::connect_with_small_buffer(fixture.address, &fixture.grace).await;
    grace.follow_thread(fixture.thread_id(), Some(0)).await;
    for _ in 0..LONG_COMMENTS {
        let comment = fixture.ada.comment(&fixture.thread, &long_comment()).await;
        assert_eq!(ada.next().await["seq"], comment["seq"], "other clients don't wait");
    }
    // The client reads nothing for longer than the write timeout. The service waits three times as long to send the
    // reason.
    tokio::time::sleep(write_timeout + Duration::from_secs(2)).await;
    let (code, _) = grace.wait_for_close().await;
    assert_eq!(code, 4408);
}

#[tokio::test]
async fn a_slow_client_misses_nothing() {
    let fixture = LiveFixture::with_options(short_write_timeout().write_timeout(Duration::from_secs(3_600))).await;
    for _ in 0..LONG_COMMENTS {
        fixture.ada.comment(&fixture.thread, &long_comment()).await;
    }
    let mut grace = LiveClient::connect_with_small_buffer(fixture.address, &fixture.grace).await;
    grace.follow_thread(fixture.thread_id(), Some(0)).await;
    for n in 0..10 {
        fixture.ada.comment(&fixture.thread, &n.to_string()).await;
    }
    let last = i64::from(LONG_COMMENTS) + 11;
    let mut seqs = Vec::new();
    while seqs.last() != Some(&last) {
        let frame = grace.next().await;
        seqs.extend(
            frame["messages"]
                .as_array()
                .unwrap()
                .iter()
                .map(|message| message["seq"].as_i64().unwrap()),
        );
    }
    assert!(seqs.into_iter().eq(1..=last));
}

#[tokio::test]
async fn a_client_that_sends_too_much_is_disconnected() {
    let fixture = LiveFixture::new().await;
    let mut flood = fixture.connect(&fixture.grace).await;
    for _ in 0..1_000 {
        if flood.0.feed(Message::text(r#"{"type": "ping"}"#)).await.is_err() {
            break;
        }
    }
    let _ = flood.0.flush().await;
    assert_eq!(flood.wait_for_close().await.0, 4429);

    let mut big = fixture.connect(&fixture.grace).await;
    big.send(json!({"type": "ping", "padding": "x".repeat(20_000)})).await;
    assert_eq!(big.wait_for_close().await.0, 1009);

    let mut binary = fixture.connect(&fixture.grace).await;
    binary.0.send(Message::binary(vec![0])).await.unwrap();
    assert_eq!(binary.next().await["code"], "bad-frame");
}

#[tokio::test]
async fn a_client_that_does_not_answer_pings_is_disconnected() {
    let fixture = LiveFixture::with_options(LiveOptions::default().ping_interval(Duration::from_secs(2))).await;
    // The test does not read from this socket, so pings are not answered.
    let silent = fixture.connect(&fixture.grace).await;
    let answering = fixture.connect(&fixture.ada).await;
    let keeps_answering = tokio::spawn(async move {
        let mut answering = answering;
        answering.wait_for_close().await
    });
    daybook_tests::eventually("the socket of the silent client is closed", async || {
        fixture.app.live.open_sockets() == 1
    })
    .await;
    assert!(!keeps_answering.is_finished());
    drop(silent);
}
