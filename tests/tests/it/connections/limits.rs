//! The limits of connections and of log readers.

use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::net::TcpSocket;

use super::{metric, open_connection, read_until_closed};
use crate::runs::process::{Service, ServiceFixture, free_port};

/// Opens a reader of a run's log, and waits for its first lines.
async fn reader(fixture: &ServiceFixture, port: u16, run: uuid::Uuid) -> reqwest::Response {
    let path = format!("/runs/{run}/events?follow=true");
    let request = fixture
        .request(port, Method::GET, &path)
        .header("accept", "application/x-ndjson");
    let mut answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer.chunk().await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn the_newest_connection_is_refused_when_members_hold_all() {
    let fixture = ServiceFixture::new().await;
    let port = free_port();
    let mut command = fixture.command(port, fixture.storage.path());
    command.env("DAYBOOK_CONNECTIONS", "8");
    let service = Service::start(command, port).await;
    let run = fixture.run(port, json!({"name": "import"})).await;
    // The client keeps its own connection, which is one of the eight.
    let mut readers = Vec::new();
    for _ in 0..8 {
        readers.push(reader(&fixture, port, run).await);
    }
    let mut refused = open_connection(port, b"GET /healthz HTTP/1.1\r\nhost: test\r\n\r\n").await;
    let answer = read_until_closed(&mut refused).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(
        answer.contains("connection: close\r\n") && answer.contains("/problems/unavailable"),
        "{answer}"
    );
    daybook_tests::eventually("a log line about it", async || {
        service.stderr().contains("connections refused: 1")
    })
    .await;
    readers.truncate(4);
    daybook_tests::eventually("room for a connection", async || {
        let response = fixture.send_request(port, Method::GET, "/threads").await;
        response.is_ok_and(|(status, _)| status == StatusCode::OK)
    })
    .await;
    assert!(metric(&fixture, port, "connections_refused_total").await >= 1.0);
    service.stop().await;
}

#[tokio::test]
async fn a_team_has_a_limited_number_of_log_readers() {
    let fixture = ServiceFixture::new().await;
    let port = free_port();
    let mut command = fixture.command(port, fixture.storage.path());
    command
        .env("DAYBOOK_LOG_READERS", "5")
        .env("DAYBOOK_TEAM_LOG_READERS", "2");
    let service = Service::start(command, port).await;
    let run = fixture.run(port, json!({"name": "import"})).await;
    let readers = (reader(&fixture, port, run).await, reader(&fixture, port, run).await);

    let path = format!("/runs/{run}/events");
    let send = |accept: &'static str| {
        fixture
            .request(port, Method::GET, &path)
            .header("accept", accept)
            .send()
    };
    let refused = send("application/x-ndjson").await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    let problem = refused.text().await.unwrap();
    assert!(
        problem.contains("this team has the maximum number of readers"),
        "{problem}"
    );
    // An EventSource would never reconnect after a 503.
    let refused = send("text/event-stream").await.unwrap();
    assert_eq!(refused.status(), StatusCode::OK);
    let text = refused.text().await.unwrap();
    assert!(text.starts_with("retry: ") && !text.contains("data:"), "{text}");
    let refused = fixture
        .post(port, "/runs?stream=true", &json!({"name": "other"}))
        .await
        .unwrap();
    assert_eq!(refused.0, StatusCode::SERVICE_UNAVAILABLE);
    // Pages are ordinary requests.
    assert_eq!(send("application/json").await.unwrap().status(), StatusCode::OK);
    assert_eq!(metric(&fixture, port, "log_readers").await, 2.0);

    drop(readers.0);
    daybook_tests::eventually("room for another reader", async || {
        send("application/x-ndjson").await.unwrap().status() == StatusCode::OK
    })
    .await;
    drop(readers.1);
    daybook_tests::eventually("all places", async || {
        metric(&fixture, port, "log_readers").await == 0.0
    })
    .await;
    service.stop().await;
}

/// Returns the resident memory of a process, in bytes.
fn resident(service: &Service) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn stalled_readers_use_little_memory() {
    const READERS: u64 = 150;
    const MAX_BYTES_EACH: u64 = 320 * 1024;
    let fixture = ServiceFixture::new().await;
    let port = free_port();
    let mut command = fixture.command(port, fixture.storage.path());
    command.env("DAYBOOK_WRITE_TIMEOUT", "300");
    let service = Service::start(command, port).await;
    let run = fixture.run(port, json!({"name": "import"})).await;
    let line = json!({"type": "console.line", "payload": {"message": "x".repeat(900)}});
    for _ in 0..8 {
        let request = fixture.request(port, Method::POST, &format!("/runs/{run}/events"));
        let request = request
            .header("content-type", "application/x-ndjson")
            .body(format!("{line}\n").repeat(1_000));
        assert_eq!(fixture.send(request).await.unwrap().0, StatusCode::OK);
    }
    let before = resident(&service);
    let mut stuck = Vec::new();
    for number in 0..READERS {
        let accept = ["text/event-stream", "application/x-ndjson"][usize::from(number % 2 == 0)];
        let request = format!(
            "GET /v1/teams/{}/runs/{run}/events HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\naccept: {accept}\r\n\r\n",
            fixture.team.id, fixture.token
        );
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4 * 1024).unwrap();
        let stream = socket.connect(([127, 0, 0, 1], port).into()).await.unwrap();
        stream.writable().await.unwrap();
        assert_eq!(stream.try_write(request.as_bytes()).unwrap(), request.len());
        // The stream has begun.
        stream.readable().await.unwrap();
        stuck.push(stream);
    }
    assert_eq!(metric(&fixture, port, "log_readers").await, READERS as f64);
    // Others are served at the same time.
    let (status, _) = fixture.send_request(port, Method::GET, "/threads").await.unwrap();
    assert_eq!(status, StatusCode::OK);
    let mut last = 0;
    daybook_tests::eventually("a stable amount of memory", async || {
        let now = resident(&service);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        std::mem::replace(&mut last, now) == now
    })
    .await;
    let each = last.saturating_sub(before) / READERS;
    assert!(each < MAX_BYTES_EACH, "{each} bytes for each reader");
    drop(stuck);
    service.stop().await;
}
