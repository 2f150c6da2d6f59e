//! A thousand readers of one run: when each receives a line, and the memory of each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::client::Connection;
use crate::median;
use crate::service::Service;

const READERS: usize = 1_000;
const LINES: usize = 30;

pub(crate) async fn measure(service: &Service) {
    for before in [10, 100_000] {
        let mut connection = Connection::open(service.port).await;
        let run = service.run(&mut connection).await;
        service.append(&mut connection, &run, before).await;
        let empty = service.resident();
        let began = Instant::now();
        let arrived = Arc::new(AtomicU64::new(0));
        let (seen, mut times) = mpsc::unbounded_channel::<Instant>();
        // Near the end: the log's length should make no difference.
        let from = format!("/runs/{run}/events?after_sequence={}", before - 5);
        let request = service.request("GET", &from, "*/*", "text/event-stream", "");
        let mut readers = Vec::new();
        for _ in 0..READERS {
            let (request, arrived, seen, port) = (request.clone(), arrived.clone(), seen.clone(), service.port);
            // Five lines, and the two lines at the log's beginning.
            let history = 7;
            readers.push(tokio::spawn(async move {
                let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                socket.write_all(&request).await.unwrap();
                let mut block = vec![0; 64 << 10];
                let mut lines = 0;
                let mut rest = Vec::new();
                loop {
                    let read = socket.read(&mut block).await.unwrap();
                    if read == 0 {
                        return;
                    }
                    let found = lines_in(&block[..read], &mut rest);
                    if lines < history && lines + found >= history {
                        arrived.fetch_add(1, Ordering::Relaxed);
                    }
                    for _ in 0..(lines + found).saturating_sub(lines.max(history)) {
                        seen.send(Instant::now()).unwrap();
                    }
                    lines += found;
                }
            }));
        }
        while arrived.load(Ordering::Relaxed) < READERS as u64 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let caught_up = began.elapsed();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let full = service.resident();
        let (mut middles, mut lasts) = (Vec::new(), Vec::new());
        for _ in 0..LINES {
            let sent = Instant::now();
            service.append(&mut connection, &run, 1).await;
            let mut delays = Vec::new();
            while delays.len() < READERS {
                let at = times.recv().await.unwrap();
                delays.push(at.duration_since(sent).as_secs_f64() * 1_000.0);
            }
            middles.push(median(&mut delays));
            lasts.push(*delays.last().unwrap());
        }
        println!(
            "{:<58} {:>14} {:>14}",
            format!("1,000 SSE readers, {before} lines before: median, last"),
            format!("{:.1} ms", median(&mut middles)),
            format!("{:.1} ms", median(&mut lasts)),
        );
        println!(
            "{:<58} {:>14} {:>14}",
            "  memory each, with its connection; time to catch up",
            format!(
                "{:.1} kB",
                (full.saturating_sub(empty)) as f64 / READERS as f64 / 1_000.0
            ),
            format!("{:.1} s", caught_up.as_secs_f64()),
        );
        for reader in readers {
            reader.abort();
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Returns the number of lines that begin in these bytes; `before` keeps the rest of the last piece.
fn lines_in(bytes: &[u8], before: &mut Vec<u8>) -> u64 {
    const EVENT_START: &[u8] = b"\ndata: {";
    before.extend_from_slice(bytes);
    let found = before
        .windows(EVENT_START.len())
        .filter(|window| *window == EVENT_START)
        .count();
    before.drain(..before.len().saturating_sub(EVENT_START.len() - 1));
    found as u64
}
