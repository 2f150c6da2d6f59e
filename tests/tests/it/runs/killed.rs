//! Kills the service ten times (a hundred times in `make soak`) while a hundred runs are written and some are read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use daybook_tests::soak;
use rand::Rng as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::process::{ServiceFixture, free_port};

const RUNS: usize = 100;
/// Number of writers that stop at the last kill.
const DEAD_WRITERS: usize = 10;
const READERS: usize = 5;

struct Writer {
    /// Its run may be marked as lost.
    mortal: bool,
    run: Uuid,
    /// The last line that was acknowledged.
    acknowledged: AtomicU64,
    /// The last that was sent.
    sent: AtomicU64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_each_kill_every_acknowledged_line_is_kept_once_and_in_order() {
    let kills = soak(10, 100);
    let fixture = Arc::new(ServiceFixture::new().await);
    let port = free_port();
    let mut service = fixture.serve(port).await;
    let mut writers = Vec::new();
    for number in 0..RUNS {
        let mortal = number >= RUNS - DEAD_WRITERS;
        let new = json!({"name": format!("run {number}"), "lost_after_seconds": if mortal { 10 } else { 3_600 }});
        writers.push(Arc::new(Writer {
            mortal,
            run: fixture.run(port, new).await,
            acknowledged: AtomicU64::new(0),
            sent: AtomicU64::new(0),
        }));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writing: Vec<_> = writers
        .iter()
        .map(|writer| tokio::spawn(write(fixture.clone(), port, writer.clone(), stop.clone())))
        .collect();
    let reading: Vec<_> = writers
        .iter()
        .take(READERS)
        .map(|writer| tokio::spawn(read(fixture.clone(), port, writer.run)))
        .collect();

    let total = || -> u64 {
        writers
            .iter()
            .map(|writer| writer.acknowledged.load(Ordering::Relaxed))
            .sum()
    };
    for _ in 0..kills {
        let before = total();
        daybook_tests::eventually("lines after a kill", async || total() > before + 200).await;
        let delay_ms = rand::rng().random_range(0..20);
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        service.kill().await;
        service = fixture.serve(port).await;
    }
    let lines = total();
    stop.store(true, Ordering::Relaxed);
    for writing in writing {
        writing.await.unwrap();
    }

    // The first writers complete their runs; the last ones send nothing any more.
    for writer in &writers[..RUNS - DEAD_WRITERS] {
        let end = json!({"status": "succeeded", "exit_code": 0});
        let (status, run) = fixture
            .post(port, &format!("/runs/{}/complete", writer.run), &end)
            .await
            .unwrap();
        assert_eq!((status, &run["status"]), (StatusCode::OK, &json!("succeeded")), "{run}");
    }
    for reading in reading {
        let last = reading.await.unwrap();
        assert!(last > 2, "{last}");
    }
    for writer in &writers[RUNS - DEAD_WRITERS..] {
        let path = format!("/runs/{}", writer.run);
        let ended = async || fixture.send_request(port, Method::GET, &path).await.unwrap().1;
        daybook_tests::eventually("the end of a run whose writer is dead", async || {
            ended().await["status"] == "failed"
        })
        .await;
        let run = ended().await;
        assert_eq!(run["failure"]["code"], "writer-lost", "{run}");
    }
    for writer in &writers {
        let log = fixture.log(port, writer.run).await;
        let sequences: Vec<u64> = log.iter().map(|line| line["sequence"].as_u64().unwrap()).collect();
        assert_eq!(sequences, (1..=log.len() as u64).collect::<Vec<_>>());
        let lines = log.iter().filter(|line| line["type"] == "console.line");
        let numbers: Vec<u64> = lines.map(|line| line["writer"]["seq"].as_u64().unwrap()).collect();
        let count = numbers.len() as u64;
        assert_eq!(numbers, (1..=count).collect::<Vec<_>>());
        assert!(count >= writer.acknowledged.load(Ordering::Relaxed));
        assert!(count <= writer.sent.load(Ordering::Relaxed));
        assert_eq!(log.last().unwrap()["type"], "run.completed");
    }
    eprintln!("{kills} kills, {RUNS} runs, {lines} lines acknowledged");
    service.stop().await;
}

/// Writes one line after the other, and sends each until it is acknowledged.
async fn write(fixture: Arc<ServiceFixture>, port: u16, writer: Arc<Writer>, stop: Arc<AtomicBool>) {
    for seq in 1.. {
        writer.sent.store(seq, Ordering::Relaxed);
        loop {
            match fixture.send(fixture.line(port, writer.run, seq)).await {
                Ok((StatusCode::OK, _)) => break,
                Ok((StatusCode::SERVICE_UNAVAILABLE, _)) | Err(_) => {}
                // On a slow machine one of the last runs may be marked as lost before the end of the test.
                Ok((StatusCode::CONFLICT, refusal)) if refusal["type"] == "/problems/run-ended" && writer.mortal => {
                    return;
                }
                Ok((status, refusal)) => panic!("{status}: {refusal}"),
            }
            if stop.load(Ordering::Relaxed) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        writer.acknowledged.store(seq, Ordering::Relaxed);
        if stop.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// Reads to the end, and reconnects after each kill. Every line must be complete and the next one.
async fn read(fixture: Arc<ServiceFixture>, port: u16, run: Uuid) -> u64 {
    let mut last = 0;
    loop {
        let request = fixture
            .request(port, Method::GET, &format!("/runs/{run}/events"))
            .header("accept", "text/event-stream")
            .header("last-event-id", last.to_string());
        let Ok(mut answer) = request.send().await else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let mut buffer = Vec::new();
        while let Ok(Some(chunk)) = answer.chunk().await {
            buffer.extend_from_slice(&chunk);
            while let Some(end) = buffer.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = buffer.drain(..end + 2).collect();
                let event = String::from_utf8(event).unwrap();
                if event.starts_with("event: end") {
                    return last;
                }
                let Some((_, data)) = event.split_once("data: ") else {
                    continue;
                };
                let line: Value = serde_json::from_str(data.trim_end()).unwrap();
                assert_eq!(line["sequence"], last + 1, "{event}");
                last += 1;
            }
        }
        if answer.status() == StatusCode::NO_CONTENT {
            return last;
        }
    }
}
