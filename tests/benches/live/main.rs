//! What live costs, beside bare ways to do the same: `make bench`.
//!
//! Ours and the bare way take turns in one run, on one machine that the clients share with the service and with
//! PostgreSQL. A ratio is of times or of bytes, so that 1.00 is as good as the bare way and higher is worse, but for
//! throughput, where it is of operations a second and lower is worse. An aim that is missed is printed as missed.
//! `cargo bench --package daybook-tests --bench live -- memory` runs what has that in its name.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench has nobody to hand an error to, and prints its figures"
)]

mod bare;
mod beside;
mod fan_out;
mod latency;
mod memory;
mod setup;

use daybook_tests::bench::{compared as print, median, wanted};
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
        if wanted("latency") {
            latency::compare(&bench).await;
        }
        if wanted("fan-out") {
            fan_out::compare(&bench).await;
        }
        if wanted("throughput") {
            beside::compare(&bench).await;
        }
        if wanted("memory") {
            memory::compare(&bench).await;
        }
        bench.stop().await;
    });
}
