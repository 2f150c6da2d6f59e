//! A log of a million lines, read completely and from near its end, plain and sealed.

use std::time::Instant;

use daybook::clock::Clock;
use daybook::runs::{Runs, RunsOptions};
use daybook_run_log::RunKey;

use crate::client::{Connection, request};
use crate::service::Service;
use crate::{median, print};

const LINES: usize = 1_000_000;
const NEAR_THE_END: usize = 900_000;
const ROUNDS: usize = 3;
const FIRST_BYTE_REQUESTS: usize = 40;

pub(crate) async fn compare(service: &Service) {
    let mut connection = Connection::open(service.port).await;
    let run = service.run(&mut connection).await;
    let began = Instant::now();
    service.append(&mut connection, &run, LINES).await;
    let appended = began.elapsed();
    let began = Instant::now();
    service.complete(&mut connection, &run).await;
    let file = service.log_file(&run);
    let bytes = std::fs::metadata(&file).unwrap().len();
    println!(
        "{:<58} {:>14} {:>14}",
        "  1,000,000 lines appended, a thousand at a time; summary",
        format!("{:.1} s", appended.as_secs_f64()),
        format!("{:.1} s", began.elapsed().as_secs_f64())
    );

    let whole = service.request("GET", &format!("/runs/{run}/events"), "*/*", "application/x-ndjson", "");
    let floor = request("GET", &format!("/file{}", file.display()), &[], "");
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(read(service.bare_port, &floor, bytes).await);
        ours.push(read(service.port, &whole, bytes).await);
    }
    let (bare, ours) = (median(&mut bare), median(&mut ours));
    let name = format!("replay as NDJSON, {} MB", bytes / 1_000_000);
    print(
        &name,
        &format!("{bare:.0} MB/s"),
        &format!("{ours:.0} MB/s"),
        ours / bare,
        Some((0.8, false)),
    );

    let near = format!("/runs/{run}/events?from_sequence={NEAR_THE_END}");
    let near = service.request("GET", &near, "*/*", "application/x-ndjson", "");
    let plain = first_byte(service, &near).await;
    let began = Instant::now();
    let runs = Runs::new(RunsOptions::new(service.folder.join("storage"), ""), Clock::system());
    let key = RunKey {
        team_id: service.team_id,
        run_id: run.parse().unwrap(),
    };
    let sealed = runs.storage().seal(key).unwrap().unwrap();
    println!(
        "{:<58} {:>14} {:>14}",
        "  sealed, and read again as a check",
        format!("{} MB", sealed.sealed_bytes / 1_000_000),
        format!("{:.1} s", began.elapsed().as_secs_f64())
    );
    let sealed = first_byte(service, &near).await;
    print(
        "first byte at line 900,000: plain, sealed (times)",
        &format!("{plain:.2} ms"),
        &format!("{sealed:.2} ms"),
        sealed / plain,
        Some((5.0, true)),
    );
    let mut ours = vec![read(service.port, &whole, bytes).await];
    println!(
        "{:<58} {:>14} {:>14}",
        "  the sealed log, complete",
        "",
        format!("{:.0} MB/s", median(&mut ours))
    );
}

/// Returns millions of bytes per second.
async fn read(port: u16, request: &[u8], bytes: u64) -> f64 {
    let began = Instant::now();
    let (_, got) = Connection::open(port).await.drain(request, bytes).await;
    assert!(got >= bytes, "{got} of {bytes}");
    bytes as f64 / 1e6 / began.elapsed().as_secs_f64()
}

/// Returns milliseconds.
async fn first_byte(service: &Service, request: &[u8]) -> f64 {
    let mut looks = Vec::new();
    for _ in 0..FIRST_BYTE_REQUESTS {
        let (first, _) = Connection::open(service.port).await.drain(request, 1).await;
        looks.push(first.as_secs_f64() * 1_000.0);
    }
    median(&mut looks)
}
