//! What a wide event costs a request, beside two usual ways to write the same line: `make bench`.
//!
//! Four servers answer 200, each a process of its own whose CPU time is read from the kernel: bare axum; ours, with all
//! that it does (ids, redaction, schema, sampling, bytes, outcomes); `TraceLayer` with the fields recorded on its span;
//! and one `info!` with all fields in the handler. All lines go to one kind of sink, ours, whose writer writes to
//! `/dev/null`. What is compared is the CPU time that each adds to bare axum, per request. The four take turns, and
//! a ratio is of the medians; 1.00 is as good as the other way, and lower is better.
//!
//! `cargo bench --package daybook-tests --bench wide_events -- cost`, `throughput` or `accounting` runs that alone.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench has nobody to hand an error to, and prints its figures"
)]

mod accounting;
mod load;
mod server;

use std::process::Command;

use daybook_tests::bench::wanted;
use server::{Server, Way};

/// How many fields a handler adds.
const SIZES: [usize; 2] = [10, 50];
const ROUNDS: usize = 9;
/// Requests of one way in one round.
const REQUESTS: u64 = 20_000;
/// No more than one `info!`.
const AIM: f64 = 1.0;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, command, way, fields] = arguments.as_slice()
        && command == server::COMMAND
    {
        return server::serve(way.parse().unwrap(), fields.parse().unwrap());
    }
    if wanted("cost") {
        cost();
    }
    if wanted("throughput") {
        throughput();
    }
    if wanted("accounting") {
        accounting::account();
    }
}

/// CPU time that a line adds to a request.
fn cost() {
    for fields in SIZES {
        println!("A handler that answers 200 and adds {fields} fields: CPU time of the server, per request");
        let servers: Vec<_> = Way::ALL
            .into_iter()
            .map(|way| (way, Server::start(way, fields)))
            .collect();
        for (_, server) in &servers {
            load::requests(server.address, REQUESTS / 4);
        }
        let mut figures = vec![Vec::new(); servers.len()];
        for _ in 0..ROUNDS {
            for ((_, server), figures) in servers.iter().zip(&mut figures) {
                let before = server.cpu_ns();
                load::requests(server.address, REQUESTS);
                figures.push((server.cpu_ns() - before) as f64 / REQUESTS as f64 / 1000.0);
            }
        }
        // By round, so that a machine that slows down does so for all.
        let bare = figures.first().cloned().unwrap();
        let mut added = Vec::new();
        for ((way, _), figures) in servers.iter().zip(&figures) {
            let mut over_bare: Vec<f64> = figures.iter().zip(&bare).map(|(figure, bare)| figure - bare).collect();
            let (middle, low, high) = spread(&mut over_bare);
            let (whole, _, _) = spread(&mut figures.clone());
            println!(
                "  {:<34} {whole:>7.2} µs; added {middle:>6.2} µs ({low:.2}–{high:.2})",
                way.told()
            );
            added.push(middle);
        }
        if let [_, ours, trace, info] = added.as_slice() {
            let ratio = ours / info;
            let met = if ratio <= AIM { "met" } else { "MISSED" };
            println!(
                "  ours to one info!: {ratio:.2} (aim at most {AIM:.2}: {met}); to TraceLayer: {:.2}\n",
                ours / trace
            );
        }
    }
}

/// Requests a second when nothing holds the client back, by `wrk`.
fn throughput() {
    if Command::new("wrk").arg("-v").output().is_err() {
        println!("Throughput: wrk is not installed; not measured\n");
        return;
    }
    for fields in SIZES {
        println!("At saturation, {fields} fields (wrk, 64 connections, client and server on one machine)");
        let mut bare = None;
        for way in Way::ALL {
            let server = Server::start(way, fields);
            let mut figures: Vec<f64> = (0..3).map(|_| load::wrk(server.address)).collect();
            let (middle, low, high) = spread(&mut figures);
            let floor = *bare.get_or_insert(middle);
            println!(
                "  {:<34} {middle:>8.0}/s ({low:.0}–{high:.0}), {:.2} of bare",
                way.told(),
                middle / floor
            );
        }
        println!();
    }
}

/// Median, lowest and highest.
fn spread(figures: &mut [f64]) -> (f64, f64, f64) {
    figures.sort_by(f64::total_cmp);
    let last = figures.len() - 1;
    (figures[last / 2], figures[0], figures[last])
}
