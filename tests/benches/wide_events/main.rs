//! The cost of a wide event for a request, beside two usual ways to write the same line: `make bench`.
//!
//! Four servers respond with 200. Each is a separate process whose CPU time is read from the kernel: bare axum;
//! Daybook, with all that it does (ids, redaction, schema, sampling, bytes, outcomes); `TraceLayer` with the fields
//! recorded on its span; and one `info!` with all fields in the handler. All lines go to Daybook's sink, which writes
//! to `/dev/null`. The figures are the CPU time that each adds to bare axum, per request. The four take turns, and a
//! ratio compares their medians: 1.00 is as good as the other variant, and lower is better.
//!
//! `cargo bench --package daybook-tests --bench wide_events -- cost` runs only that part; the others are `throughput`
//! and `accounting`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark has no caller for its errors, and prints its figures"
)]

mod accounting;
mod load;
mod server;

use std::process::Command;

use daybook_tests::bench::is_selected;
use server::{Server, Variant};

/// The numbers of fields that a handler adds.
const FIELD_COUNTS: [usize; 2] = [10, 50];
const ROUNDS: usize = 9;
/// The number of requests to one server in one round.
const REQUESTS: u64 = 20_000;
/// The maximum ratio to the cost of one `info!`.
const AIM: f64 = 1.0;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, command, variant, fields] = arguments.as_slice()
        && command == server::COMMAND
    {
        return server::serve(variant.parse().unwrap(), fields.parse().unwrap());
    }
    if is_selected("cost") {
        cost();
    }
    if is_selected("throughput") {
        throughput();
    }
    if is_selected("accounting") {
        accounting::check_counts();
    }
}

/// Measures the CPU time that a line adds to a request.
fn cost() {
    for fields in FIELD_COUNTS {
        println!("A handler that responds with 200 and adds {fields} fields: CPU time of the server, per request");
        let servers: Vec<_> = Variant::ALL
            .into_iter()
            .map(|variant| (variant, Server::start(variant, fields)))
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
        // Differences are taken within a round, so that a change in the machine's speed affects all servers.
        let bare = figures.first().cloned().unwrap();
        let mut added = Vec::new();
        for ((variant, _), figures) in servers.iter().zip(&figures) {
            let mut over_bare: Vec<f64> = figures.iter().zip(&bare).map(|(figure, bare)| figure - bare).collect();
            let (middle, low, high) = spread(&mut over_bare);
            let (whole, _, _) = spread(&mut figures.clone());
            println!(
                "  {:<34} {whole:>7.2} µs; added {middle:>6.2} µs ({low:.2}–{high:.2})",
                variant.label()
            );
            added.push(middle);
        }
        if let [_, ours, trace, info] = added.as_slice() {
            let ratio = ours / info;
            let met = if ratio <= AIM { "met" } else { "MISSED" };
            println!(
                "  Daybook/info! {ratio:.2} (aim at most {AIM:.2}: {met}); Daybook/TraceLayer {:.2}\n",
                ours / trace
            );
        }
    }
}

/// Measures the requests per second with `wrk`, whose rate is not limited.
fn throughput() {
    if Command::new("wrk").arg("-v").output().is_err() {
        println!("Throughput: wrk is not installed; not measured\n");
        return;
    }
    for fields in FIELD_COUNTS {
        println!("At saturation, {fields} fields (wrk, 64 connections, client and server on one machine)");
        let mut bare = None;
        for variant in Variant::ALL {
            let server = Server::start(variant, fields);
            let mut figures: Vec<f64> = (0..3).map(|_| load::wrk(server.address)).collect();
            let (middle, low, high) = spread(&mut figures);
            let floor = *bare.get_or_insert(middle);
            println!(
                "  {:<34} {middle:>8.0}/s ({low:.0}–{high:.0}), {:.2} of bare",
                variant.label(),
                middle / floor
            );
        }
        println!();
    }
}

/// Returns the median, the lowest and the highest figure.
fn spread(figures: &mut [f64]) -> (f64, f64, f64) {
    figures.sort_by(f64::total_cmp);
    let last = figures.len() - 1;
    (figures[last / 2], figures[0], figures[last])
}
