//! Load with clients that leave at random, and what every request must come to: emitted, sampled out or dropped.

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

use crate::PATIENCE;

const CONNECTIONS: u64 = 16;

/// Counts lines by the number in their request id, which nothing else keeps so many of.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Tally>>);

#[derive(Default)]
struct Tally {
    rest: Vec<u8>,
    lines: u64,
    times: Vec<u8>,
}

impl Write for Seen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut tally = self.0.lock().unwrap();
        tally.rest.extend_from_slice(bytes);
        let all = std::mem::take(&mut tally.rest);
        let mut lines = all.split(|byte| *byte == b'\n').peekable();
        while let Some(line) = lines.next() {
            if lines.peek().is_none() {
                tally.rest = line.to_vec();
                break;
            }
            let line = std::str::from_utf8(line).unwrap();
            let (_, after) = line.split_once("\"request_id\":\"n-").expect(line);
            let number: usize = after.split_once('"').unwrap().0.parse().unwrap();
            if tally.times.len() <= number {
                tally.times.resize(number + 1, 0);
            }
            tally.times[number] += 1;
            tally.lines += 1;
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

/// What one client does with one request.
enum Way {
    Answered(&'static str, &'static str),
    Leaves(&'static str),
    Breaks,
}

fn way() -> Way {
    match rand::rng().random_range(0..100) {
        0..60 => Way::Answered("GET", "/"),
        60..70 => Way::Answered("GET", "/nowhere"),
        70..75 => Way::Answered("HEAD", "/"),
        75..80 => Way::Answered("GET", "/down"),
        80..85 => Way::Answered("GET", "/panic"),
        85..90 => Way::Answered("GET", "/slow"),
        90..94 => Way::Leaves("/slow"),
        94..96 => Way::Leaves("/large"),
        96..98 => Way::Leaves("/"),
        _ => Way::Breaks,
    }
}

/// Sends its share of requests, and says how many were answered whole.
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
        match way() {
            Way::Answered(method, path) => {
                open.write_all(format!("{}\r\n", head(method, path)).as_bytes())
                    .await
                    .unwrap();
                let mut read = 0;
                while !whole(&buffer[..read], method) {
                    let bytes = open.read(&mut buffer[read..]).await.unwrap();
                    assert!(bytes > 0, "an answer broke off");
                    read += bytes;
                }
                answered += 1;
                socket = Some(open);
            }
            Way::Leaves(path) => {
                open.write_all(format!("{}\r\n", head("GET", path)).as_bytes())
                    .await
                    .unwrap();
                if rand::random() {
                    let _ = open.read(&mut buffer).await;
                }
            }
            Way::Breaks => {
                let cut = format!("{}content-length: 1000\r\n\r\nonly this", head("POST", "/upload"));
                open.write_all(cut.as_bytes()).await.unwrap();
            }
        }
    }
    answered
}

/// Whether an answer is all there.
fn whole(answer: &[u8], method: &str) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    method == "HEAD" || body.len() >= length.map_or(0, |length| length.parse().unwrap())
}

/// Sends so many requests of all kinds, and refuses a sum that isn't right. Says what became of them.
pub async fn account(requests: u64, sampling: Sampling) -> String {
    let seen = Seen::default();
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
    let asked = std::time::Instant::now();
    while events.counts().open > 0 {
        assert!(asked.elapsed() < PATIENCE, "{:?}", events.counts());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    let counts = events.counts();
    let ended = events.outcomes().filter(|(_, times)| *times > 0);
    let ended: Vec<_> = ended
        .map(|(outcome, times)| format!("{} {times}", outcome.as_str()))
        .collect();
    let told = format!(
        "{requests} requests, {answered} answered whole: {counts:?}; {}",
        ended.join(", ")
    );
    assert_eq!(counts.received, counts.emitted + counts.sampled_out + counts.dropped);
    assert_eq!(events.outcomes().map(|(_, times)| times).sum::<u64>(), counts.received);
    // A client that leaves at once may do so before its request is read.
    assert!((answered..=requests).contains(&counts.received), "{counts:?}");
    assert!(counts.received > requests * 9 / 10, "{counts:?}");
    let tally = seen.0.lock().unwrap();
    assert_eq!(tally.lines, counts.emitted);
    assert!(tally.times.iter().all(|times| *times <= 1), "a request had two events");
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
    told
}
