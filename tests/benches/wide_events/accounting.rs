//! A million requests, with clients that disconnect at random: each is emitted, sampled out or dropped.

use daybook::wide_events::Sampling;
use daybook_tests::accounting;

const REQUESTS: u64 = 1_000_000;

pub fn check_counts() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    println!("Accounting, with clients that disconnect at random; wrong counts end this with an error");
    let summary = runtime.block_on(accounting::check_counts(REQUESTS, Sampling::default().rate(0.9)));
    println!("  {summary}\n");
}
