//! stdout as a real pipe, whose reader stalls, comes back, or goes away.

use std::io::{self, PipeReader, Read as _, Write, pipe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use daybook::wide_events::{Sink, SinkCounts, WideEventConfig, WideEventLayer, WideEvents};
use daybook_tests::PATIENCE;
use daybook_tests::wide_events::Written;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::read_until;

/// Waits until `condition` holds of the counts.
fn wait_for(events: &WideEvents, condition: impl Fn(u64, u64) -> bool) {
    let asked = Instant::now();
    loop {
        let counts = events.counts();
        if condition(counts.emitted, counts.dropped) {
            return;
        }
        assert!(asked.elapsed() < PATIENCE, "{counts:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A site that writes into a pipe, and a connection to it.
async fn site(max_line_bytes: usize) -> (WideEvents, TcpStream, PipeReader) {
    let (reader, writer) = pipe().unwrap();
    let config = WideEventConfig::new("shop")
        .sink(Sink::new(writer))
        .max_line_bytes(max_line_bytes);
    let layer = WideEventLayer::new(config);
    let events = layer.events().clone();
    let fill = "x".repeat(16 * 1024);
    let large = async move |event: daybook::wide_events::WideEvent| {
        event.set("fill", fill.as_str());
        "hello"
    };
    let down = async || (StatusCode::SERVICE_UNAVAILABLE, "hello");
    let router = Router::new()
        .route("/", get(async || "hello"))
        .route("/large", get(large))
        .route("/down", get(down))
        .layer(layer);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (events, TcpStream::connect(address).await.unwrap(), reader)
}

async fn ask(socket: &mut TcpStream, path: &str) {
    socket
        .write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes())
        .await
        .unwrap();
    read_until(socket, "hello").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stalls_blocks_no_request_and_learns_what_it_missed() {
    let (events, mut socket, mut reader) = site(64 * 1024).await;
    // A pipe takes 64 KiB and the queue 32 MiB of which lines like these may use three fourths: the rest is lost.
    for _ in 0..2_000 {
        ask(&mut socket, "/large").await;
    }
    let lost = events.counts().dropped;
    assert!(lost > 0, "{:?}", events.counts());
    assert!(events.counts().emitted < 10, "nobody has read");
    // What matters has a place of its own.
    ask(&mut socket, "/down").await;
    assert_eq!(events.counts().dropped, lost);
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    });
    wait_for(&events, |emitted, dropped| emitted + dropped == 2_001);
    ask(&mut socket, "/").await;
    drop(socket);
    let counts = events.close(PATIENCE);
    assert_eq!((counts.received, counts.open), (2_002, 0));
    assert_eq!(counts.emitted + counts.dropped, 2_002);
    drop(events);
    let lines: Vec<Value> = reading
        .join()
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len() as u64, counts.emitted);
    let told: u64 = lines.iter().filter_map(|line| line["dropped_before"].as_u64()).sum();
    assert_eq!(told, counts.dropped, "all that is missing is told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_is_gone_kills_no_request() {
    let (events, mut socket, reader) = site(64 * 1024).await;
    ask(&mut socket, "/").await;
    wait_for(&events, |emitted, _| emitted == 1);
    drop(reader);
    for _ in 0..50 {
        ask(&mut socket, "/").await;
    }
    wait_for(&events, |emitted, dropped| emitted == 1 && dropped == 50);
}

#[test]
fn closing_writes_what_waits() {
    let (mut reader, writer) = pipe().unwrap();
    let sink = Sink::new(writer);
    let line = vec![b'x'; 10 * 1024];
    let reading = std::thread::spawn(move || {
        // Not at once, so that lines are waiting when the sink is closed.
        let mut text = Vec::new();
        reader.read_to_end(&mut text).unwrap();
        text.len()
    });
    for _ in 0..100 {
        sink.send(&line, false);
    }
    let counts = sink.close(PATIENCE);
    assert_eq!(
        counts,
        SinkCounts {
            emitted: 100,
            dropped: 0,
            queued: 0
        }
    );
    // Too late.
    sink.send(&line, true);
    assert_eq!(sink.counts().dropped, 1);
    assert_eq!(reading.join().unwrap(), 100 * (10 * 1024 + 1));
}

#[test]
fn closing_waits_no_longer_than_it_is_told_to() {
    let (reader, writer) = pipe().unwrap();
    let sink = Sink::new(writer);
    for _ in 0..20 {
        sink.send(&[b'x'; 10 * 1024], false);
    }
    let counts = sink.close(Duration::from_millis(50));
    assert_eq!((counts.emitted + counts.dropped, counts.queued), (20, 0));
    assert!(counts.dropped > 0);
    drop(reader);
}

/// Takes every so manieth write, and of that a half; refuses the others, until it is told to take all.
#[derive(Clone)]
struct Moody(Written, Arc<AtomicU32>, u32, Arc<AtomicBool>);

impl Write for Moody {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.3.load(Ordering::Relaxed) {
            return self.0.write(bytes);
        }
        if !self.1.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.2) {
            return Err(io::Error::other("not now"));
        }
        self.0.write(&bytes[..bytes.len().div_ceil(2)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_writer_that_refuses_loses_what_it_refused_and_no_line_is_torn_into_another() {
    // With the third, also the newline that ends a torn line is refused at times.
    for every in [2, 3] {
        refusing(every);
    }
}

fn refusing(every: u32) {
    let moody = Moody(Written::default(), Arc::default(), every, Arc::default());
    let sink = Sink::new(moody.clone());
    for n in 0..500 {
        sink.send(format!("{{\"n\":{n}}}").as_bytes(), false);
        // In some batches, not in one.
        let asked = Instant::now();
        while n % 25 == 0 && sink.counts().queued > 0 {
            assert!(asked.elapsed() < PATIENCE, "{:?}", sink.counts());
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    // A last line that is written tells all that is missing, also what lines that were lost themselves had told.
    let asked = Instant::now();
    while sink.counts().queued > 0 {
        assert!(asked.elapsed() < PATIENCE, "{:?}", sink.counts());
        std::thread::sleep(Duration::from_millis(2));
    }
    moody.3.store(true, Ordering::Relaxed);
    sink.send(b"{\"n\":500}", false);
    let counts = sink.close(PATIENCE);
    assert_eq!((counts.emitted + counts.dropped, counts.queued), (501, 0));
    assert!(counts.emitted > 0 && counts.dropped > 0, "{counts:?}");
    let text = moody.0.text();
    let whole: Vec<Value> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    assert_eq!(whole.len() as u64, counts.emitted, "{text}");
    let told: u64 = whole.iter().filter_map(|line| line["dropped_before"].as_u64()).sum();
    assert_eq!(told, counts.dropped, "{counts:?}");
}
