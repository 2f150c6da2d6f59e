//! What sessions, actions and asking for jobs cost, beside the queue alone and plain inserts: `make bench`.
//!
//! All on one private PostgreSQL that waits for its disk. The ways take turns, and a ratio is of the medians: 1.00 is as
//! fast as the other way, and higher is better.
//!
//! `cargo bench --package daybook-tests --bench jobs -- drain`, `latency`, `actions`, `enqueue` or `consumer` runs that
//! alone.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench has nobody to hand an error to, and prints its figures"
)]

mod drain;
mod noop;
mod setup;
mod writes;

use daybook_tests::bench::wanted;
use setup::Bench;

#[tokio::main]
async fn main() {
    let bench = Bench::start().await;
    if wanted("latency") {
        drain::latency(&bench).await;
    }
    if wanted("actions") {
        writes::actions(&bench).await;
    }
    if wanted("enqueue") {
        writes::enqueue(&bench).await;
    }
    if wanted("consumer") {
        writes::consumer(&bench).await;
    }
    if wanted("drain") {
        drain::drain(&bench).await;
    }
    bench.stop().await;
}

/// Median, lowest and highest.
fn middle(figures: &mut [f64]) -> (f64, f64, f64) {
    figures.sort_by(f64::total_cmp);
    let last = figures.len() - 1;
    (figures[last / 2], figures[0], figures[last])
}

fn verdict(ratio: f64, aim: f64) -> String {
    let met = if ratio >= aim { "met" } else { "MISSED" };
    format!(" (aim at least {aim:.2}: {met})")
}
