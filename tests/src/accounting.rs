//! Runs a load with clients that disconnect at random, and checks that each request was emitted, sampled out or
//! dropped.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::routing::{get, post};
use daybook::wide_events::{Outcome, Sampling, Sink, WideEvent, WideEventConfig, WideEventLayer};
use rand::Rng as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tower_http::catch_panic::CatchPanicLayer;

use crate::WAIT_LIMIT;

const CONNECTIONS: u64 = 16;

/// Counts written lines by the number in their request id, because the lines themselves are too many to keep.
#[derive(Clone, Default)]
struct LineCounter(Arc<Mutex<LineCounts>>);

#[derive(Default)]
struct LineCounts {
    rest: Vec<u8>,
    lines: u64,
    times: Vec<u8>,
}

impl Write for LineCounter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut line_counts = self.0.lock().unwrap();
        line_counts.rest.extend_from_slice(bytes);
        let all = std::mem::take(&mut line_counts.rest);
        let mut lines = all.split(|byte| *byte == b'\n').peekable();
        while let Some(line) = lines.next() {
            if lines.peek().is_none() {
                line_counts.rest = line.to_vec();
                break;
            }
            let line = std::str::from_utf8(line).unwrap();
            let (_, after) = line.split_once("\"request_id\":\"n-").expect(line);
            let number: usize = after.split_once('"').unwrap().0.parse().unwrap();
            if line_counts.times.len() <= number {
                line_counts.times.resize(number + 1, 0);
            }
            line_counts.times[number] += 1;
            line_counts.lines += 1;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn router() -> Router {
    let caught = CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
        WideEvent::current().mark_outcome(Outcome::Panic);
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    });
    let slow = async || {
        tokio::time::sleep(Duration::from_millis(1)).await;
        "slow"
    };
    Router::new()
        .route("/", get(async || "hello"))
        .route("/down", get(async || StatusCode::SERVICE_UNAVAILABLE))
        .route(
            "/panic",
            get(async || -> &'static str { std::panic::resume_unwind(Box::new("on purpose")) }),
        )
        .route("/large", get(async || Bytes::from_static(&[b'x'; 1024 * 1024])))
        .route("/upload", post(async |body: Bytes| body.len().to_string()))
        .route("/slow", get(slow))
        .layer(caught)
}

/// What a client does with one request.
enum ClientAction {
    Answered(&'static str, &'static str),
    Disconnects(&'static str),
    AbortsUpload,
}

fn random_action() -> ClientAction {
    match rand::rng().random_range(0..100) {
        0..60 => ClientAction::Answered("GET", "/"),
        60..70 => ClientAction::Answered("GET", "/nowhere"),
        70..75 => ClientAction::Answered("HEAD", "/"),
        75..80 => ClientAction::Answered("GET", "/down"),
        80..85 => ClientAction::Answered("GET", "/panic"),
        85..90 => ClientAction::Answered("GET", "/slow"),
        90..94 => ClientAction::Disconnects("/slow"),
        94..96 => ClientAction::Disconnects("/large"),
        96..98 => ClientAction::Disconnects("/"),
        _ => ClientAction::AbortsUpload,
    }
}

/// Sends one client's share of the requests, and returns the number of complete responses.
async fn client(address: SocketAddr, numbers: impl Iterator<Item = u64>) -> u64 {
    let mut answered = 0;
    let mut socket: Option<TcpStream> = None;
    let mut buffer = vec![0; 64 * 1024];
    for number in numbers {
        let mut open = match socket.take() {
            Some(open) => open,
            None => TcpStream::connect(address).await.unwrap(),
        };
        let head = |method, path| format!("{method} {path} HTTP/1.1\r\nhost: a\r\nx-request-id: n-{number}\r\n");
        match random_action() {
            ClientAction::Answered(method, path) => {
                open.write_all(format!("{}\r\n", head(method, path)).as_bytes())
                    .await
                    .unwrap();
                let mut read = 0;
                while !is_complete(&buffer[..read], method) {
                    let bytes = open.read(&mut buffer[read..]).await.unwrap();
                    assert!(bytes > 0, "a response was cut off");
                    read += bytes;
                }
                answered += 1;
                socket = Some(open);
            }
            ClientAction::Disconnects(path) => {
                open.write_all(format!("{}\r\n", head("GET", path)).as_bytes())
                    .await
                    .unwrap();
                if rand::random() {
                    let _ = open.read(&mut buffer).await;
                }
            }
            ClientAction::AbortsUpload => {
                let cut = format!("{}content-length: 1000\r\n\r\nonly this", head("POST", "/upload"));
                open.write_all(cut.as_bytes()).await.unwrap();
            }
        }
    }
    answered
}

/// Returns whether a response is complete.
fn is_complete(answer: &[u8], method: &str) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    method == "HEAD" || body.len() >= length.map_or(0, |length| length.parse().unwrap())
}

/// Sends `requests` requests of all kinds, panics if the counts are wrong, and returns a summary.
pub async fn check_counts(requests: u64, sampling: Sampling) -> String {
    let seen = LineCounter::default();
    let config = WideEventConfig::new("shop")
        .sink(Sink::new(seen.clone()))
        .sampling(sampling);
    let layer = WideEventLayer::new(config);
    let events = layer.events().clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, router().layer(layer)).await });

    let next = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let next = next.clone();
            let numbers =
                std::iter::from_fn(move || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|n| *n < requests));
            tokio::spawn(client(address, numbers))
        })
        .collect();
    let mut answered = 0;
    for client in clients {
        answered += client.await.unwrap();
    }
    let waiting_since = std::time::Instant::now();
    while events.counts().open > 0 {
        assert!(waiting_since.elapsed() < WAIT_LIMIT, "{:?}", events.counts());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    let counts = events.counts();
    let ended = events.outcomes().filter(|(_, times)| *times > 0);
    let ended: Vec<_> = ended
        .map(|(outcome, times)| format!("{} {times}", outcome.as_str()))
        .collect();
    let summary = format!(
        "{requests} requests, {answered} answered completely: {counts:?}; {}",
        ended.join(", ")
    );
    assert_eq!(counts.received, counts.emitted + counts.sampled_out + counts.dropped);
    assert_eq!(events.outcomes().map(|(_, times)| times).sum::<u64>(), counts.received);
    // A client that disconnects at once may do so before the service has read its request.
    assert!((answered..=requests).contains(&counts.received), "{counts:?}");
    assert!(counts.received > requests * 9 / 10, "{counts:?}");
    let line_counts = seen.0.lock().unwrap();
    assert_eq!(line_counts.lines, counts.emitted);
    assert!(
        line_counts.times.iter().all(|times| *times <= 1),
        "a request had two events"
    );
    for outcome in [
        Outcome::Success,
        Outcome::ClientError,
        Outcome::Error,
        Outcome::Panic,
        Outcome::AbortedBeforeResponse,
        Outcome::AbortedMidBody,
        Outcome::UploadAborted,
    ] {
        let (_, times) = events.outcomes().find(|(of, _)| *of == outcome).unwrap();
        assert!(times > 0, "{outcome:?} was not tried");
    }
    serving.abort();
    summary
}
