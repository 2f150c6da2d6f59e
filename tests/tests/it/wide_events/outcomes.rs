//! Exactly one event, whatever happens to a request: one named test for each case, over a real connection.
//!
//! Each test here ends with [`WideEventServer::event`], which waits until nothing is open and fails on a second event.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use daybook::wide_events::{Outcome, WideEvent};
use daybook_tests::WAIT_LIMIT;
use futures_util::{SinkExt as _, StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;

use super::bodies::endless;
use super::{WideEventServer, end_of, get as getting, read_until};

/// Signals that a handler has begun, so that a client knows when to disconnect.
type Begun = Arc<Notify>;

async fn never(begun: Begun) -> &'static str {
    begun.notify_one();
    std::future::pending().await
}

/// Starts a site that never responds, and that signals when it receives a request.
async fn waiting_server() -> (WideEventServer, Begun) {
    let begun = Begun::default();
    let handler = {
        let begun = begun.clone();
        move || never(begun)
    };
    (
        WideEventServer::start(Router::new().route("/", get(handler))).await,
        begun,
    )
}

#[tokio::test]
async fn success() {
    let server = WideEventServer::start(Router::new().route("/", get(async || "hello"))).await;
    let answer = server.send_request(&getting("/")).await;
    assert!(answer.ends_with("hello"), "{answer}");
    let event = server.event().await;
    assert_eq!(end_of(&event), ("success", Some(200), Some(5)));
    assert_eq!(event["kind"], "request");
}

#[tokio::test]
async fn an_error_of_the_handler() {
    let server = WideEventServer::start(Router::new().route("/", get(async || StatusCode::BAD_GATEWAY))).await;
    server.send_request(&getting("/")).await;
    assert_eq!(end_of(&server.event().await), ("error", Some(502), Some(0)));
}

#[tokio::test]
async fn an_error_that_is_marked_in_a_successful_request() {
    let router = Router::new().route(
        "/",
        get(async |event: WideEvent| {
            event.mark_error(&std::io::Error::other("the cache is away"));
            "from the database instead"
        }),
    );
    let server = WideEventServer::start(router).await;
    server.send_request(&getting("/")).await;
    let event = server.event().await;
    assert_eq!(end_of(&event), ("error", Some(200), Some(25)));
    assert_eq!(event["error"], json!({"type": "Error", "message": "the cache is away"}));
}

#[tokio::test]
async fn an_error_of_an_extractor() {
    let router = Router::new().route("/", post(async |axum::Json(_): axum::Json<Value>| "parsed"));
    let server = WideEventServer::start(router).await;
    server.send_request("POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 1\r\n\r\n{")
        .await;
    let event = server.event().await;
    assert_eq!((end_of(&event).0, end_of(&event).1), ("client_error", Some(400)));
    assert_eq!(event["bytes_in"], 1);
}

#[tokio::test]
async fn no_such_route() {
    let server = WideEventServer::start(Router::new().route("/", get(async || "hello"))).await;
    server.send_request(&getting("/nowhere")).await;
    let event = server.event().await;
    assert_eq!(end_of(&event), ("client_error", Some(404), Some(0)));
    assert_eq!((&event["path"], &event["route"]), (&json!("/nowhere"), &Value::Null));
}

#[tokio::test]
async fn no_such_method() {
    let server = WideEventServer::start(Router::new().route("/{id}", get(async || "hello"))).await;
    server
        .send_request("DELETE /7 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await;
    let event = server.event().await;
    assert_eq!(end_of(&event), ("client_error", Some(405), Some(0)));
    assert_eq!((&event["method"], &event["route"]), (&json!("DELETE"), &json!("/{id}")));
}

async fn panics() -> &'static str {
    panic!("this test's own panic")
}

#[tokio::test]
async fn a_panic_before_the_headers_that_a_layer_answers() {
    let caught = CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
        WideEvent::current().mark_outcome(Outcome::Panic);
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    });
    let server = WideEventServer::start(Router::new().route("/", get(panics)).layer(caught)).await;
    assert!(server.send_request(&getting("/")).await.starts_with("HTTP/1.1 500"));
    assert_eq!(end_of(&server.event().await), ("panic", Some(500), Some(0)));
}

#[tokio::test]
async fn a_panic_before_the_headers_that_nobody_catches() {
    let server = WideEventServer::start(Router::new().route("/", get(panics))).await;
    assert_eq!(server.send_request(&getting("/")).await, "", "the connection is closed");
    assert_eq!(end_of(&server.event().await), ("panic", Some(500), Some(0)));
}

#[tokio::test]
async fn a_panic_after_the_headers() {
    let body = || {
        let pieces = stream::iter(0..2).map(|n| match n {
            0 => Ok::<_, Infallible>(Bytes::from_static(b"first")),
            _ => panic!("this test's own panic"),
        });
        Body::from_stream(pieces)
    };
    let server = WideEventServer::start(Router::new().route("/", get(async move || body()))).await;
    server.send_request(&getting("/")).await;
    assert_eq!(end_of(&server.event().await), ("panic", Some(200), Some(5)));
}

#[tokio::test]
async fn a_timeout() {
    let limit = TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_millis(20));
    let server = WideEventServer::start(Router::new().route("/", get(|| never(Begun::default()))).layer(limit)).await;
    assert!(server.send_request(&getting("/")).await.starts_with("HTTP/1.1 408"));
    assert_eq!(end_of(&server.event().await), ("timeout", Some(408), Some(0)));
}

#[tokio::test]
async fn a_timeout_with_another_status() {
    let router = Router::new().route(
        "/",
        get(async |event: WideEvent| {
            event.mark_outcome(Outcome::Timeout);
            StatusCode::SERVICE_UNAVAILABLE
        }),
    );
    let server = WideEventServer::start(router).await;
    server.send_request(&getting("/")).await;
    assert_eq!(end_of(&server.event().await), ("timeout", Some(503), Some(0)));
}

#[tokio::test]
async fn a_client_that_disconnects_before_the_response() {
    let (server, begun) = waiting_server().await;
    let mut socket = server.connect().await;
    socket.write_all(getting("/").as_bytes()).await.unwrap();
    begun.notified().await;
    drop(socket);
    assert_eq!(
        end_of(&server.event().await),
        ("aborted_before_response", Some(499), Some(0))
    );
}

#[tokio::test]
async fn a_client_that_closes_its_half_counts_as_disconnected() {
    let (server, begun) = waiting_server().await;
    let mut socket = server.connect().await;
    socket.write_all(getting("/").as_bytes()).await.unwrap();
    begun.notified().await;
    socket.shutdown().await.unwrap();
    assert_eq!(end_of(&server.event().await).0, "aborted_before_response");
}

async fn echo_once(upgrade: WebSocketUpgrade, event: WideEvent) -> Response {
    event.set("room", "lobby");
    upgrade.on_upgrade(move |mut socket| async move {
        let serving = async {
            if let Some(Ok(Message::Text(text))) = socket.recv().await {
                WideEvent::current().set("echoed", text.as_str());
                let _ = socket.send(Message::Text(text)).await;
            }
        };
        event.unit("socket", serving).await;
    })
}

#[tokio::test]
async fn a_websocket_has_one_event_for_its_upgrade_and_one_for_its_end() {
    let server = WideEventServer::start(Router::new().route("/", any(echo_once))).await;
    let (mut socket, answer) =
        tokio_tungstenite::client_async(format!("ws://{}/", server.address), server.connect().await)
            .await
            .unwrap();
    assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
    let request_id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    socket.send(tungstenite::Message::text("hello")).await.unwrap();
    assert_eq!(
        socket.next().await.unwrap().unwrap(),
        tungstenite::Message::text("hello")
    );
    let events = server.wait_for_events_from(2).await;
    let [upgrade, end] = events.as_slice() else {
        panic!("{events:#?}");
    };
    assert_eq!(end_of(upgrade), ("upgraded", Some(101), Some(0)));
    assert_eq!((&upgrade["kind"], &end["kind"]), (&json!("request"), &json!("socket")));
    assert_eq!((&end["outcome"], &end["echoed"]), (&json!("success"), &json!("hello")));
    assert_eq!((&upgrade["room"], &upgrade["echoed"]), (&json!("lobby"), &Value::Null));
    for event in [upgrade, end] {
        assert_eq!(event["request_id"], *request_id);
        assert_eq!(event["trace_id"], upgrade["trace_id"]);
    }
    assert_eq!(end["parent_span_id"], upgrade["span_id"]);
}

#[tokio::test]
async fn many_requests_on_one_connection() {
    let server = WideEventServer::start(Router::new().route("/{n}", get(async || "hello"))).await;
    let mut socket = server.connect().await;
    for n in 0..5 {
        let request = format!("GET /{n} HTTP/1.1\r\nhost: a\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        read_until(&mut socket, "hello").await;
    }
    drop(socket);
    let events = server.wait_for_events_from(5).await;
    let paths: Vec<_> = events.iter().map(|event| event["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/0", "/1", "/2", "/3", "/4"]);
    assert!(events.iter().all(|event| event["outcome"] == "success"));
}

#[tokio::test]
async fn pipelined_requests() {
    let server = WideEventServer::start(Router::new().route("/{n}", get(async || "hello"))).await;
    let two = format!("GET /0 HTTP/1.1\r\nhost: a\r\n\r\n{}", getting("/1"));
    let answer = server.send_request(&two).await;
    assert_eq!(answer.matches("hello").count(), 2, "{answer}");
    let events = server.wait_for_events_from(2).await;
    let paths: Vec<_> = events.iter().map(|event| event["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/0", "/1"]);
}

/// Sends an HTTP/2 request and resets its stream, before the response or after `seen` bytes of its body.
async fn reset_http2_stream(server: &WideEventServer, path: &str, after: impl Future<Output = ()>, seen: usize) {
    let (client, connection) = h2::client::handshake(server.connect().await).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let request = axum::http::Request::get(format!("http://shop.test{path}"))
        .body(())
        .unwrap();
    let (answer, mut stream) = client.send_request(request, true).unwrap();
    after.await;
    if seen > 0 {
        let mut body = answer.await.unwrap().into_body();
        let mut read = 0;
        while read < seen {
            read += body.data().await.unwrap().unwrap().len();
        }
    }
    stream.send_reset(h2::Reason::CANCEL);
    // The connection stays open, so the reset is what ends the request.
    let event = tokio::time::timeout(WAIT_LIMIT, server.event()).await.unwrap();
    assert_eq!(event["http_version"], "2");
    connection.abort();
}

#[tokio::test]
async fn an_http2_stream_that_is_reset_before_the_response() {
    let (server, begun) = waiting_server().await;
    reset_http2_stream(&server, "/", begun.notified(), 0).await;
    assert_eq!(
        end_of(&server.event().await),
        ("aborted_before_response", Some(499), Some(0))
    );
}

#[tokio::test]
async fn an_http2_stream_that_is_reset_in_the_body() {
    let server = WideEventServer::start(Router::new().route("/", get(async || endless()))).await;
    reset_http2_stream(&server, "/", std::future::ready(()), 100).await;
    let event = server.event().await;
    assert_eq!((end_of(&event).0, end_of(&event).1), ("aborted_mid_body", Some(200)));
}

#[tokio::test]
async fn an_http2_request_that_succeeds() {
    let server = WideEventServer::start(Router::new().route("/", get(async || "hello"))).await;
    let (client, connection) = h2::client::handshake(server.connect().await).await.unwrap();
    tokio::spawn(connection);
    let request = axum::http::Request::get("http://shop.test/").body(()).unwrap();
    let (answer, _) = client.ready().await.unwrap().send_request(request, true).unwrap();
    let mut body = answer.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "hello");
    let event = server.event().await;
    assert_eq!(end_of(&event), ("success", Some(200), Some(5)));
}

#[tokio::test]
async fn malformed_http_reaches_no_layer() {
    let server = WideEventServer::start(Router::new().route("/", get(async || "hello"))).await;
    let mut socket = server.connect().await;
    socket.write_all(b"this is not HTTP\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(server.events.counts().received, 0);
}
