//! Acknowledged lines per second.

use std::time::{Duration, Instant};

use crate::client::{Connection, request};
use crate::service::{Service, body};
use crate::{median, print};

const ROUNDS: usize = 3;

/// Waits until the consumers have finished with the runs' first events, which are not measured.
const SETTLE_TIME: Duration = Duration::from_secs(5);

pub(crate) async fn compare(service: &Service) {
    let mut connection = Connection::open(service.port).await;
    for (name, runs, lines, requests) in [
        ("append, 1 run, one line in flight", 1, 1, 4_000),
        ("append, 100 runs, one line in flight each", 100, 1, 1_000),
        ("append, 100 runs, 100 lines in flight each", 100, 100, 150),
    ] {
        let sent = body(0, lines);
        let appends = request("POST", "/append", &[], &sent);
        let mut writers = Vec::new();
        for _ in 0..runs {
            let run = service.run(&mut connection).await;
            let path = format!("/runs/{run}/events");
            writers.push(service.request("POST", &path, "application/x-ndjson", "*/*", &sent));
        }
        tokio::time::sleep(SETTLE_TIME).await;
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let floor = (0..runs).map(|_| appends.clone()).collect();
            bare.push(lines as f64 * write(service.bare_port, floor, requests).await);
            ours.push(lines as f64 * write(service.port, writers.clone(), requests).await);
        }
        let (bare, ours) = (median(&mut bare), median(&mut ours));
        print(
            name,
            &format!("{bare:.0}/s"),
            &format!("{ours:.0}/s"),
            ours / bare,
            Some((0.8, false)),
        );
    }
}

/// Returns the requests per second; each writer has its own connection with one request in flight.
async fn write(port: u16, writers: Vec<Vec<u8>>, requests: usize) -> f64 {
    let total = writers.len() * requests;
    let mut connections = Vec::new();
    for request in writers {
        let mut connection = Connection::open(port).await;
        connection.send_request(&request).await;
        connections.push((connection, request));
    }
    let began = Instant::now();
    let writing: Vec<_> = connections
        .into_iter()
        .map(|(mut connection, request)| {
            tokio::spawn(async move {
                for _ in 0..requests {
                    connection.send_request(&request).await;
                }
            })
        })
        .collect();
    for writing in writing {
        writing.await.unwrap();
    }
    total as f64 / began.elapsed().as_secs_f64()
}
