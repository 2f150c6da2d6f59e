//! stdout as a real pipe, whose reader stalls, continues, or disappears.

use std::io::{self, PipeReader, Read as _, Write, pipe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use daybook::wide_events::{Sink, SinkCounts, WideEventConfig, WideEventLayer, WideEvents};
use daybook_tests::WAIT_LIMIT;
use daybook_tests::wide_events::CapturedOutput;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::read_until;

/// Waits until the counts meet `condition`.
fn wait_for(events: &WideEvents, condition: impl Fn(u64, u64) -> bool) {
    let waiting_since = Instant::now();
    loop {
        let counts = events.counts();
        if condition(counts.emitted, counts.dropped) {
            return;
        }
        assert!(waiting_since.elapsed() < WAIT_LIMIT, "{counts:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Starts a site that writes into a pipe, and opens a connection to it.
async fn server(max_line_bytes: usize) -> (WideEvents, TcpStream, PipeReader) {
    let (reader, writer) = pipe().unwrap();
    let config = WideEventConfig::new("shop")
        .sink(Sink::new(writer))
        .max_line_bytes(max_line_bytes);
    let layer = WideEventLayer::new(config);
    let events = layer.events().clone();
    let fill = "x".repeat(16 * 1024);
    let fill_down = fill.clone();
    let large = async move |event: daybook::wide_events::WideEvent| {
        event.set("fill", fill.as_str());
        "hello"
    };
    let down = async move |event: daybook::wide_events::WideEvent| {
        event.set("fill", fill_down.as_str());
        (StatusCode::SERVICE_UNAVAILABLE, "hello")
    };
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

async fn send_request(socket: &mut TcpStream, path: &str) {
    socket
        .write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes())
        .await
        .unwrap();
    read_until(socket, "hello").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_reader_blocks_no_request_and_learns_the_number_of_lost_lines() {
    let (events, mut socket, mut reader) = server(64 * 1024).await;
    // A pipe holds 64 KiB, and the queue 32 MiB, of which lines like these may use three quarters. The rest is lost.
    for _ in 0..2_000 {
        send_request(&mut socket, "/large").await;
    }
    let lost = events.counts().dropped;
    assert!(lost > 0, "{:?}", events.counts());
    assert!(events.counts().emitted < 10, "no reader has read");
    // Important events have reserved space, for lines that are as long.
    for _ in 0..10 {
        send_request(&mut socket, "/down").await;
    }
    assert_eq!(events.counts().dropped, lost);
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    });
    wait_for(&events, |emitted, dropped| emitted + dropped == 2_010);
    send_request(&mut socket, "/").await;
    drop(socket);
    let counts = events.close(WAIT_LIMIT);
    assert_eq!((counts.received, counts.open), (2_011, 0));
    assert_eq!(counts.emitted + counts.dropped, 2_011);
    drop(events);
    let lines: Vec<Value> = reading
        .join()
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len() as u64, counts.emitted);
    let reported: u64 = lines.iter().filter_map(|line| line["dropped_before"].as_u64()).sum();
    assert_eq!(reported, counts.dropped, "every lost line is reported");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_pipe_fails_no_request() {
    let (events, mut socket, reader) = server(64 * 1024).await;
    send_request(&mut socket, "/").await;
    wait_for(&events, |emitted, _| emitted == 1);
    drop(reader);
    for _ in 0..50 {
        send_request(&mut socket, "/").await;
    }
    wait_for(&events, |emitted, dropped| emitted == 1 && dropped == 50);
}

#[test]
fn closing_writes_the_waiting_lines() {
    let (mut reader, writer) = pipe().unwrap();
    let sink = Sink::new(writer);
    let line = vec![b'x'; 10 * 1024];
    let reading = std::thread::spawn(move || {
        // It starts late, so that lines are waiting when the sink is closed.
        let mut text = Vec::new();
        reader.read_to_end(&mut text).unwrap();
        text.len()
    });
    for _ in 0..100 {
        sink.send(&line, false);
    }
    let counts = sink.close(WAIT_LIMIT);
    assert_eq!(
        counts,
        SinkCounts {
            emitted: 100,
            dropped: 0,
            queued: 0
        }
    );
    // This line is too late.
    sink.send(&line, true);
    assert_eq!(sink.counts().dropped, 1);
    assert_eq!(reading.join().unwrap(), 100 * (10 * 1024 + 1));
}

#[test]
fn closing_waits_no_longer_than_its_limit() {
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

/// Accepts one of `every` writes, and only half of its bytes. Refuses the others, until it is switched to accept
/// everything.
#[derive(Clone)]
struct UnreliableWriter(CapturedOutput, Arc<AtomicU32>, u32, Arc<AtomicBool>);

impl Write for UnreliableWriter {
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
fn a_failing_writer_loses_only_refused_lines_and_mixes_none() {
    // With 3, the newline that ends a torn line is sometimes refused, too.
    for every in [2, 3] {
        write_to_unreliable_writer(every);
    }
}

fn write_to_unreliable_writer(every: u32) {
    let writer = UnreliableWriter(CapturedOutput::default(), Arc::default(), every, Arc::default());
    let sink = Sink::new(writer.clone());
    for n in 0..500 {
        sink.send(format!("{{\"n\":{n}}}").as_bytes(), false);
        // In several batches instead of one.
        let waiting_since = Instant::now();
        while n % 25 == 0 && sink.counts().queued > 0 {
            assert!(waiting_since.elapsed() < WAIT_LIMIT, "{:?}", sink.counts());
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    // The last written line reports all losses, including those that lost lines had reported.
    let waiting_since = Instant::now();
    while sink.counts().queued > 0 {
        assert!(waiting_since.elapsed() < WAIT_LIMIT, "{:?}", sink.counts());
        std::thread::sleep(Duration::from_millis(2));
    }
    writer.3.store(true, Ordering::Relaxed);
    sink.send(b"{\"n\":500}", false);
    let counts = sink.close(WAIT_LIMIT);
    assert_eq!((counts.emitted + counts.dropped, counts.queued), (501, 0));
    assert!(counts.emitted > 0 && counts.dropped > 0, "{counts:?}");
    let text = writer.0.text();
    let whole: Vec<Value> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    assert_eq!(whole.len() as u64, counts.emitted, "{text}");
    let reported: u64 = whole.iter().filter_map(|line| line["dropped_before"].as_u64()).sum();
    assert_eq!(reported, counts.dropped, "{counts:?}");
}
