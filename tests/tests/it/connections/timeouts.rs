//! Clients that are slow in different ways.

use std::time::Duration;

use daybook_tests::WAIT_LIMIT;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{metric, open_connection, read_until_closed};
use crate::runs::process::{Service, ServiceFixture, free_port};

async fn service_with_short_timeouts(fixture: &ServiceFixture, port: u16) -> Service {
    let mut command = fixture.command(port, fixture.storage.path());
    for name in ["HEADER", "IDLE", "BODY", "WRITE"] {
        command.env(format!("DAYBOOK_{name}_TIMEOUT"), "3");
    }
    Service::start(command, port).await
}

#[tokio::test]
async fn a_connection_without_a_request_in_time_is_closed() {
    let fixture = ServiceFixture::new().await;
    let port = free_port();
    let service = service_with_short_timeouts(&fixture, port).await;
    let openings: [&[u8]; 4] = [
        b"",
        b"GET /healthz HTTP/1.1\r\nhost: te",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x40\x01\x01\x00\x00\x00\x01\x82",
    ];
    let mut held = Vec::new();
    for opening in openings {
        held.push(open_connection(port, opening).await);
    }
    for stream in &mut held {
        read_until_closed(stream).await;
    }
    // A client that sends its head in small pieces gains no time.
    let mut dripping = open_connection(port, b"GET /healthz HTTP/1.1\r\nhost: test\r\n").await;
    let cut = async {
        while dripping.write_all(b"x: y\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(WAIT_LIMIT, cut).await.expect("the connection is closed");
    assert!(metric(&fixture, port, "connections_timed_out_total").await >= 5.0);
    service.stop().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_served_one_is_not() {
    let fixture = ServiceFixture::new().await;
    let port = free_port();
    let service = service_with_short_timeouts(&fixture, port).await;
    let mut idle = open_connection(port, b"GET /healthz HTTP/1.1\r\nhost: test\r\n\r\n").await;
    let mut half = open_connection(port, b"GET /healthz HTTP/1.1\r\nhost: test\r\n\r\nGET /he").await;
    for stream in [&mut idle, &mut half] {
        let answers = read_until_closed(stream).await;
        assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 1, "{answers}");
    }
    // An HTTP/2 client receives a notice before the close.
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    let ends = tokio::spawn(connection);
    let request = axum::http::Request::get(format!("http://127.0.0.1:{port}/healthz"));
    let (answer, _) = client.send_request(request.body(()).unwrap(), true).unwrap();
    assert_eq!(answer.await.unwrap().status(), StatusCode::OK);
    timeout(WAIT_LIMIT, ends)
        .await
        .expect("the connection is closed")
        .unwrap()
        .expect("with a GOAWAY, and no error");

    // A stream that sends nothing for longer than that is not idle.
    let run = fixture.run(port, json!({"name": "import"})).await;
    let request = fixture.request(port, Method::GET, &format!("/runs/{run}/events?stream=true"));
    let mut stream = request.send().await.unwrap();
    let mut text = String::new();
    while !text.contains("id: 2\n") {
        text.push_str(std::str::from_utf8(&stream.chunk().await.unwrap().unwrap()).unwrap());
    }
    let mut other = open_connection(port, b"GET /healthz HTTP/1.1\r\nhost: test\r\n\r\n").await;
    read_until_closed(&mut other).await;
    fixture.complete(port, run).await;
    while !text.contains("event: end") {
        text.push_str(std::str::from_utf8(&stream.chunk().await.unwrap().expect("its end")).unwrap());
    }
    drop(stream);
    service.stop().await;
}

#[tokio::test]
async fn a_stalled_body_gets_a_408() {
    let fixture = ServiceFixture::new().await;
    let port = free_port();
    let service = service_with_short_timeouts(&fixture, port).await;
    let run = fixture.run(port, json!({"name": "import"})).await;
    let head = |path: &str, headers: &str| {
        format!(
            "POST /v1/teams/{}{path} HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\n{headers}\r\n{{\"name\": ",
            fixture.team.id, fixture.token
        )
    };
    for request in [
        head("/campaigns", "content-length: 1000\r\n"),
        head("/campaigns", "content-length: 1000\r\nidempotency-key: a\r\n"),
        head(&format!("/runs/{run}/events"), "content-length: 1000\r\n"),
    ] {
        let mut stream = open_connection(port, request.as_bytes()).await;
        let answer = read_until_closed(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains("/problems/body-timeout"), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
    // Slow is not stalled: a piece from time to time is progress.
    let body = json!({"name": "slow", "budget": "1"}).to_string();
    let whole = head(
        "/campaigns",
        &format!("connection: close\r\ncontent-length: {}\r\n", body.len()),
    );
    let whole = whole.strip_suffix("{\"name\": ").unwrap();
    let mut stream = open_connection(port, whole.as_bytes()).await;
    for byte in body.as_bytes() {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let answer = read_until_closed(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    service.stop().await;
}

#[tokio::test]
async fn an_http_2_client_that_opens_no_window_is_disconnected() {
    let fixture = ServiceFixture::new().await;
    let port = free_port();
    let service = service_with_short_timeouts(&fixture, port).await;
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut client, connection) = h2::client::Builder::new()
        .initial_window_size(0)
        .handshake::<_, bytes::Bytes>(stream)
        .await
        .unwrap();
    let ends = tokio::spawn(connection);
    let request = axum::http::Request::get(format!("http://127.0.0.1:{port}/openapi.json"));
    let (answer, _) = client.send_request(request.body(()).unwrap(), true).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    // It answers pings all the time.
    let _ = timeout(WAIT_LIMIT, ends)
        .await
        .expect("the connection is closed")
        .unwrap();
    assert!(metric(&fixture, port, "connections_timed_out_total").await >= 1.0);
    service.stop().await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let fixture = ServiceFixture::new().await;
    let port = free_port();
    let service = fixture.serve(port).await;
    let long = format!(
        "GET /healthz HTTP/1.1\r\nhost: test\r\nx: {}\r\n\r\n",
        "y".repeat(200_000)
    );
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let _ = stream.write_all(long.as_bytes()).await;
    let mut answer = [0; 16];
    // A reset before the response is read is also a refusal.
    if stream.read_exact(&mut answer).await.is_ok() {
        assert_eq!(&answer[..12], b"HTTP/1.1 431");
    }
    let (status, _) = fixture.send_request(port, Method::GET, "/threads").await.unwrap();
    assert_eq!(status, StatusCode::OK);
    service.stop().await;
}
