//! The cost of live, beside bare ways to do the same: `make bench`.
//!
//! Daybook and the bare way take turns in one run, on one machine that the clients share with the service and with
//! PostgreSQL. A ratio compares times or bytes: 1.00 is as good as the bare way, and higher is worse. Only for
//! throughput it compares operations per second, and lower is worse. A missed aim is printed as `MISSED`.
//!
//! `cargo bench --package daybook-tests --bench live -- memory` runs only the part of that name.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures with the machine's clock")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark has no caller for its errors, and prints its figures"
)]

mod bare;
mod fan_out;
mod latency;
mod memory;
mod setup;
mod throughput;

use daybook_tests::bench::{is_selected, median, print_comparison as print};
use setup::Bench;

fn main() {
    if std::env::args().nth(1).as_deref() == Some(memory::BARE_SERVER) {
        return memory::serve_bare();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let bench = Bench::start().await;
        println!("{}\n", bench.machine().await);
        if is_selected("latency") {
            latency::compare(&bench).await;
        }
        if is_selected("fan-out") {
            fan_out::compare(&bench).await;
        }
        if is_selected("throughput") {
            throughput::compare(&bench).await;
        }
        if is_selected("memory") {
            memory::compare(&bench).await;
        }
        bench.stop().await;
    });
}
