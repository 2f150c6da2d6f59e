//! Request and response bodies and streams, complete and cut off: exactly one event for each request.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use daybook::wide_events::Sampling;
use futures_util::{StreamExt as _, stream};
use tokio::io::AsyncWriteExt as _;

use super::{WideEventServer, end_of, get as getting, read_until};

/// A body that never ends.
pub(super) fn endless() -> Body {
    Body::from_stream(
        stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(b"more and "))).then(async |piece| {
            tokio::task::yield_now().await;
            piece
        }),
    )
}

#[tokio::test]
async fn a_client_that_disconnects_during_a_stream() {
    let server = WideEventServer::start(Router::new().route("/", get(async || endless()))).await;
    let mut socket = server.connect().await;
    socket.write_all(getting("/").as_bytes()).await.unwrap();
    read_until(&mut socket, "more and ").await;
    drop(socket);
    let event = server.event().await;
    let (outcome, status, bytes_out) = end_of(&event);
    assert_eq!((outcome, status), ("aborted_mid_body", Some(200)));
    assert!(bytes_out.unwrap() >= 9);
    assert!(event["headers_ms"].as_f64().unwrap() <= event["duration_ms"].as_f64().unwrap());
}

#[tokio::test]
async fn a_client_that_disconnects_during_a_large_body() {
    const SIZE: usize = 64 * 1024 * 1024;
    let body = Bytes::from(vec![b'x'; SIZE]);
    let server = WideEventServer::start(Router::new().route("/", get(async move || body.clone()))).await;
    let mut socket = server.connect().await;
    socket.write_all(getting("/").as_bytes()).await.unwrap();
    read_until(&mut socket, "xxxx").await;
    drop(socket);
    let event = server.event().await;
    let (outcome, _, bytes_out) = end_of(&event);
    assert_eq!(outcome, "aborted_mid_body");
    assert!(
        bytes_out.unwrap() < SIZE as u64,
        "{bytes_out:?}: more than the client read"
    );
}

#[tokio::test]
async fn a_large_body_that_arrives() {
    const SIZE: usize = 3 * 1024 * 1024 + 17;
    let body = Bytes::from(vec![b'x'; SIZE]);
    let server = WideEventServer::start(Router::new().route("/", get(async move || body.clone()))).await;
    let answer = server.send_request(&getting("/")).await;
    assert!(
        answer.contains(&format!("content-length: {SIZE}\r\n")),
        "{}",
        &answer[..200]
    );
    assert_eq!(answer.split_once("\r\n\r\n").unwrap().1.len(), SIZE);
    assert_eq!(end_of(&server.event().await), ("success", Some(200), Some(SIZE as u64)));
}

#[tokio::test]
async fn an_upload_that_is_cut_off() {
    let router = Router::new().route("/", post(async |body: Bytes| format!("{} bytes", body.len())));
    let server = WideEventServer::start(router).await;
    let mut socket = server.connect().await;
    socket
        .write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nonly this much")
        .await
        .unwrap();
    socket.shutdown().await.unwrap();
    let event = server.event().await;
    assert_eq!((end_of(&event).0, end_of(&event).1), ("upload_aborted", Some(499)));
    assert_eq!(event["bytes_in"], 14);
    assert_eq!(event["error"]["code"], "upload-aborted");
}

#[tokio::test]
async fn an_upload_that_is_not_read() {
    let router = Router::new().route("/", post(async || "no need"));
    let server = WideEventServer::start(router).await;
    server
        .send_request("POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 4\r\n\r\nbody")
        .await;
    let event = server.event().await;
    assert_eq!(end_of(&event), ("success", Some(200), Some(7)));
    assert_eq!(event["bytes_in"], 0);
}

#[tokio::test]
async fn a_head_request() {
    let server = WideEventServer::start(Router::new().route("/", get(async || "hello"))).await;
    let answer = server
        .send_request("HEAD / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await;
    assert!(answer.contains("content-length: 5\r\n"), "{answer}");
    assert_eq!(end_of(&server.event().await), ("success", Some(200), Some(0)));
}

#[tokio::test]
async fn a_head_request_of_a_stream() {
    let server = WideEventServer::start(Router::new().route("/", any(async || endless()))).await;
    server
        .send_request("HEAD / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await;
    assert_eq!(end_of(&server.event().await), ("success", Some(200), Some(0)));
}

#[tokio::test]
async fn a_body_of_a_status_without_body_is_not_sent() {
    let answer = async |status: StatusCode| {
        let router = Router::new().route("/", get(async move || (status, "a body that is not sent")));
        let server = WideEventServer::start(router).await;
        server.send_request(&getting("/")).await;
        server.event().await
    };
    assert_eq!(
        end_of(&answer(StatusCode::NOT_MODIFIED).await),
        ("success", Some(304), Some(0))
    );
    assert_eq!(
        end_of(&answer(StatusCode::NO_CONTENT).await),
        ("success", Some(204), Some(0))
    );
}

#[tokio::test]
async fn a_stream_that_ends() {
    let body = || Body::from_stream(stream::iter(["a", "bc"]).map(Ok::<_, Infallible>));
    let server = WideEventServer::start(Router::new().route("/", get(async move || body()))).await;
    server.send_request(&getting("/")).await;
    let event = server.event().await;
    assert_eq!(end_of(&event), ("success", Some(200), Some(3)));
    assert!(
        event["headers_ms"].is_f64(),
        "a stream records when its response began: {event}"
    );
}

#[tokio::test]
async fn a_stream_is_slow_if_its_response_begins_late_however_long_it_lasts() {
    let slow = Duration::from_millis(300);
    let body = move || {
        let pause = stream::once(async move {
            tokio::time::sleep(slow * 2).await;
            Ok::<_, Infallible>("end")
        });
        Body::from_stream(stream::iter([Ok("begin ")]).chain(pause))
    };
    let router = Router::new().route("/", get(async move || body()));
    let server = WideEventServer::start_with(router, |config| config.sampling(Sampling::default().slow(slow))).await;
    server.send_request(&getting("/")).await;
    let event = server.event().await;
    let (headers_ms, duration_ms) = (event["headers_ms"].as_f64(), event["duration_ms"].as_f64());
    assert!(duration_ms > Some(600.0), "{event}");
    // A busy machine may begin the response late.
    let expected = if headers_ms < Some(300.0) { "default" } else { "slow" };
    assert_eq!(event["sample_reason"], expected, "{event}");
}

#[tokio::test]
async fn a_stream_that_fails_in_the_service() {
    let body = || {
        let pieces = [Ok("first"), Err(std::io::Error::other("the disk is gone"))];
        Body::from_stream(stream::iter(pieces))
    };
    let server = WideEventServer::start(Router::new().route("/", get(async move || body()))).await;
    server.send_request(&getting("/")).await;
    let event = server.event().await;
    assert_eq!(end_of(&event), ("error", Some(200), Some(5)));
    assert_eq!(event["error"]["message"], "the disk is gone");
}

fn sse(events: usize) -> Response {
    let events = stream::iter(0..events).map(|n| Ok::<_, Infallible>(Event::default().data(n.to_string())));
    Sse::new(events.chain(stream::pending())).into_response()
}

#[tokio::test]
async fn server_sent_events_whose_reader_disconnects() {
    let server = WideEventServer::start(Router::new().route("/", get(async || sse(2)))).await;
    let mut socket = server.connect().await;
    socket.write_all(getting("/").as_bytes()).await.unwrap();
    read_until(&mut socket, "data: 1").await;
    drop(socket);
    let event = server.event().await;
    assert_eq!((end_of(&event).0, end_of(&event).1), ("aborted_mid_body", Some(200)));
}

#[tokio::test]
async fn server_sent_events_that_end() {
    let events = || stream::iter(0..3).map(|n| Ok::<_, Infallible>(Event::default().data(n.to_string())));
    let server = WideEventServer::start(Router::new().route("/", get(async move || Sse::new(events())))).await;
    server.send_request(&getting("/")).await;
    assert_eq!(end_of(&server.event().await), ("success", Some(200), Some(27)));
}
