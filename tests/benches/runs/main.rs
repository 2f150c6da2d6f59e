//! The cost of run logs, beside bare axum handlers that do the same: `make bench`.
//!
//! Both servers are separate release-build processes. They take turns in one run, on one machine that the client shares
//! with them. A ratio compares lines or bytes per second: 1.00 is as good as the bare way, and lower is worse. Where a
//! label says "times", it compares times, and higher is worse. A missed aim is printed as `MISSED`.
//!
//! `cargo bench --package daybook-tests --bench runs -- append` runs only the part of that name.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures with the machine's clock")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark has no caller for its errors, and prints its figures"
)]

mod append;
mod bare;
mod client;
mod database;
mod readers;
mod replay;
mod service;

use daybook_tests::bench::{is_selected, median, print_comparison as print};
use service::Service;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, bare::SERVE, port, folder] = &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return bare::serve(port.parse().unwrap(), folder.as_ref());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let service = Service::start().await;
        println!("{}\n", service.machine());
        if is_selected("append") {
            append::compare(&service).await;
        }
        if is_selected("replay") {
            replay::compare(&service).await;
        }
        if is_selected("readers") {
            readers::measure(&service).await;
        }
        if is_selected("database") {
            database::measure(&service).await;
        }
        service.stop().await;
    });
}
