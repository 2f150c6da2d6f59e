//! What run logs cost, beside bare axum handlers that do the same: `make bench`.
//!
//! Both are processes of their own, release builds, and take turns in one run, on one machine that the client shares with them.
//! A ratio is of lines or bytes a second, so that 1.00 is as good as the bare way and lower is worse; of times, where it says
//! so, and then higher is worse. An aim that is missed is printed as missed.
//! `cargo bench --package daybook-tests --bench runs -- append` runs what has that in its name.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench has nobody to hand an error to, and prints its figures"
)]

mod append;
mod bare;
mod client;
mod database;
mod readers;
mod replay;
mod service;

use daybook_tests::bench::{compared as print, median, wanted};
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
        if wanted("append") {
            append::compare(&service).await;
        }
        if wanted("replay") {
            replay::compare(&service).await;
        }
        if wanted("readers") {
            readers::measure(&service).await;
        }
        if wanted("database") {
            database::measure(&service).await;
        }
        service.stop().await;
    });
}
