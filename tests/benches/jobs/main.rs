//! The cost of sessions, actions and enqueueing, beside the queue alone and plain inserts: `make bench`.
//!
//! Everything runs on one private PostgreSQL with fsync. The variants take turns, and a ratio compares their medians:
//! 1.00 is as fast as the other variant, and higher is better.
//!
//! `cargo bench --package daybook-tests --bench jobs -- drain` runs only that part; the others are `latency`,
//! `actions`, `enqueue` and `consumer`.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures with the machine's clock")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark has no caller for its errors, and prints its figures"
)]

mod drain;
mod noop;
mod setup;
mod writes;

use daybook_tests::bench::is_selected;
use setup::Bench;

#[tokio::main]
async fn main() {
    let bench = Bench::start().await;
    if is_selected("latency") {
        drain::latency(&bench).await;
    }
    if is_selected("actions") {
        writes::actions(&bench).await;
    }
    if is_selected("enqueue") {
        writes::enqueue(&bench).await;
    }
    if is_selected("consumer") {
        writes::consumer(&bench).await;
    }
    if is_selected("drain") {
        drain::drain(&bench).await;
    }
    bench.stop().await;
}

/// Returns the median, the lowest and the highest figure.
fn median_and_range(figures: &mut [f64]) -> (f64, f64, f64) {
    figures.sort_by(f64::total_cmp);
    let last = figures.len() - 1;
    (figures[last / 2], figures[0], figures[last])
}

fn verdict(ratio: f64, aim: f64) -> String {
    let met = if ratio >= aim { "met" } else { "MISSED" };
    format!(" (aim at least {aim:.2}: {met})")
}
