//! Tests of credentials that expire during a request.

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::StatusCode;
use chrono::TimeDelta;
use daybook::auth::{NewToken, mint};
use daybook::tenancy::Role;
use daybook_tests::WAIT_LIMIT;
use daybook_tests::http::{Client, TestApp, auth_config};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::sse::Events;
use super::{append, console, log, run, texts};

/// Returns Ada's client with a token that expires soon.
fn with_short_token(app: &TestApp) -> Client {
    app.bearer(mint(&auth_config(), &NewToken::new("ada"), TimeDelta::seconds(3)).unwrap())
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// Starts a request whose body is sent in chunks, and sends `lines`.
async fn upload(address: SocketAddr, client: &Client, run: &str, lines: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v1/teams/{}{run}/events HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\n\
         content-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n{}",
        client.team_id,
        client.credential.as_deref().unwrap(),
        chunk(lines)
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// Returns everything that is received until the connection ends.
async fn read_to_end_of_connection(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let mut block = [0; 4096];
    while let Ok(read) = timeout(WAIT_LIMIT, stream.read(&mut block))
        .await
        .expect("the connection ends")
    {
        if read == 0 {
            break;
        }
        all.extend_from_slice(&block[..read]);
    }
    String::from_utf8_lossy(&all).into_owned()
}

async fn has_line(ada: &Client, run: &str, words: &str) {
    daybook_tests::eventually("the line", async || {
        texts(&log(ada, run).await).iter().any(|line| line == words)
    })
    .await;
}

#[tokio::test]
async fn an_upload_ends_when_its_token_expires() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Member).await;
    let address = app.serve(|router| router).await;
    let run = run(&ada).await;
    // One upload is silent, the other one continues to send.
    let mut silent = upload(address, &with_short_token(&app), &run, &format!("{}\n", console("a"))).await;
    let sending = upload(address, &with_short_token(&app), &run, &format!("{}\n", console("b"))).await;
    has_line(&ada, &run, "a").await;
    has_line(&ada, &run, "b").await;
    let (mut read, mut write) = sending.into_split();
    let keeps_sending = tokio::spawn(async move {
        while write
            .write_all(chunk(&format!("{}\n", console("c"))).as_bytes())
            .await
            .is_ok()
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let answer = read_to_end_of_connection(&mut silent).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(
        answer.contains("the credential has expired") && answer.contains("are kept, as "),
        "{answer}"
    );
    // The kernel may discard part of the answer when a connection is reset, which doesn't matter here: the connection
    // ends.
    let mut answer = Vec::new();
    let _ = timeout(WAIT_LIMIT, read.read_to_end(&mut answer))
        .await
        .expect("the connection ends");
    timeout(WAIT_LIMIT, keeps_sending)
        .await
        .expect("sending fails")
        .unwrap();
    let lines = log(&ada, &run).await.len();
    append(&ada, &run, &[console("d")]).await.ok();
    assert_eq!(log(&ada, &run).await.len(), lines + 1, "nothing was appended meanwhile");
    let events = app.wide_events().await;
    let refused = events.iter().filter(|event| event["status_code"] == 401);
    assert_eq!(refused.filter(|event| event["outcome"] == "client_error").count(), 2);
}

#[tokio::test]
async fn an_upload_ends_when_its_run_ends_or_its_api_key_is_revoked() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let address = app.serve(|router| router).await;
    let first = run(&ada).await;
    let mut upload_of_first = upload(address, &ada, &first, &format!("{}\n", console("a"))).await;
    has_line(&ada, &first, "a").await;
    ada.post(&format!("{first}/complete"), json!({"status": "succeeded"}))
        .await
        .ok();
    let answer = read_to_end_of_connection(&mut upload_of_first).await;
    assert!(
        answer.starts_with("HTTP/1.1 409 ") && answer.contains("/problems/run-ended"),
        "{answer}"
    );

    let second = run(&ada).await;
    let (robot, key) = ada.make_key("robot", "member").await;
    let mut upload_of_robot = upload(address, &robot, &second, &format!("{}\n", console("b"))).await;
    has_line(&ada, &second, "b").await;
    ada.delete(&format!("/api-keys/{key}")).await.is(StatusCode::NO_CONTENT);
    let answer = read_to_end_of_connection(&mut upload_of_robot).await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
}

#[tokio::test]
async fn a_stream_ends_with_a_reason_when_its_token_expires() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Member).await;
    let address = app.serve(|router| router).await;
    let run = run(&ada).await;
    let mut events = Events::open(&address, &with_short_token(&app), &format!("{run}/events"), &[]).await;
    let ticket = with_short_token(&app)
        .post(&format!("{run}/tickets"), json!({}))
        .await
        .ok();
    let path = format!("{run}/events?ticket={}", ticket["ticket"].as_str().unwrap());
    let mut by_ticket = Events::open(&address, &ada, &path, &[]).await;
    for stream in [&mut events, &mut by_ticket] {
        let closed = loop {
            let event = timeout(WAIT_LIMIT, stream.next())
                .await
                .expect("an event")
                .expect("the reason for the end");
            if event.name.is_some() {
                break event;
            }
        };
        assert_eq!(closed.name.as_deref(), Some("closed"));
        let why: Value = serde_json::from_str(&closed.data).unwrap();
        assert_eq!(why["code"], "credential-expired");
        assert!(stream.next().await.is_none());
    }
    let follow = with_short_token(&app).get(&format!("{run}/events?follow=true"));
    let text = follow
        .header("accept", "application/x-ndjson")
        .await
        .is(StatusCode::OK)
        .text();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["type"], &last["code"]),
        (&json!("stream.closed"), &json!("credential-expired"))
    );
    let events = app.wide_events().await;
    let ended = events
        .iter()
        .filter(|event| event["error"]["code"] == "credential-expired");
    assert_eq!(
        ended.filter(|event| event["outcome"] == "client_error").count(),
        3,
        "{events:?}"
    );
}

#[tokio::test]
async fn a_stream_ends_when_its_api_key_is_revoked() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let address = app.serve(|router| router).await;
    let run = run(&ada).await;
    let (robot, key) = ada.make_key("robot", "viewer").await;
    let mut events = Events::open(&address, &robot, &format!("{run}/events?after_sequence=2"), &[]).await;
    ada.delete(&format!("/api-keys/{key}")).await.is(StatusCode::NO_CONTENT);
    let closed = timeout(WAIT_LIMIT, events.next())
        .await
        .expect("an event")
        .expect("the reason for the end");
    assert_eq!(closed.name.as_deref(), Some("closed"));
    assert!(closed.data.contains("no-longer-allowed"), "{closed:?}");
}

#[tokio::test]
async fn a_download_is_cut_when_its_token_expires() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Member).await;
    let address = app.serve(|router| router).await;
    let run = run(&ada).await;
    let lines: Vec<_> = (0..1_000).map(|_| console(&"x".repeat(2_000))).collect();
    // More than the sockets' buffers hold.
    for _ in 0..8 {
        append(&ada, &run, &lines).await.ok();
    }
    let client = with_short_token(&app);
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let request = format!(
        "GET /v1/teams/{}{run}/events HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\naccept: application/x-ndjson\r\n\r\n",
        client.team_id,
        client.credential.as_deref().unwrap()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut begin = [0; 15];
    stream.read_exact(&mut begin).await.unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200 OK");
    daybook_tests::eventually("the token expires", async || has_expired(&client)).await;
    let got = read_to_end_of_connection(&mut stream).await.len();
    assert!(got < 8 * 1_000 * 2_000, "{got} bytes came");
    let events = app.wide_events().await;
    let cut = events
        .iter()
        .find(|event| event["status_code"] == 200 && event["outcome"] == "client_error");
    assert!(
        cut.unwrap()["error"]["message"]
            .as_str()
            .unwrap()
            .contains("has expired"),
        "{cut:?}"
    );
}

/// Returns whether a token's `exp` has passed. At the beginning of a request a token is accepted a little longer,
/// because clocks differ.
fn has_expired(client: &Client) -> bool {
    use base64::Engine as _;
    let token = client.credential.as_deref().unwrap();
    let claims = token.split('.').nth(1).unwrap();
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    claims["exp"].as_i64().unwrap() <= chrono::Utc::now().timestamp()
}

#[tokio::test]
async fn a_removed_member_can_write_no_more_lines() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let bob = app.member("bob", Role::Member).await;
    let run = run(&ada).await;
    // The service caches for a moment that the member has access.
    append(&bob, &run, &[console("a")]).await.ok();
    ada.delete(&format!("/members/{}", bob.id())).await.ok();
    append(&bob, &run, &[console("b")]).await.is(StatusCode::NOT_FOUND);
    assert_eq!(log(&ada, &run).await.len(), 3);
}

/// An upload that sends lines again and again is never checked for being silent.
#[tokio::test]
async fn an_upload_of_a_removed_member_ends_with_its_next_lines() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let bob = app.member("bob", Role::Member).await;
    let address = app.serve(|router| router).await;
    let run = run(&ada).await;
    let mut sending = upload(address, &bob, &run, &format!("{}\n", console("a"))).await;
    has_line(&ada, &run, "a").await;
    ada.delete(&format!("/members/{}", bob.id())).await.ok();
    let next = chunk(&format!("{}\n", console("b")));
    sending.write_all(next.as_bytes()).await.unwrap();
    let answer = read_to_end_of_connection(&mut sending).await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    assert_eq!(texts(&log(&ada, &run).await)[2..], ["a"]);
}
