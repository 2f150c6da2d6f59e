//! Each received request is emitted, sampled out or dropped: under load, with clients that disconnect at random. `make
//! bench` does the same with a million requests.

use daybook::wide_events::Sampling;
use daybook_tests::accounting::check_counts;
use daybook_tests::soak;

fn requests() -> u64 {
    soak(10_000, 30_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_is_counted_with_clients_that_disconnect_at_random() {
    eprintln!("{}", check_counts(requests(), Sampling::default()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_is_counted_when_most_are_sampled_out() {
    eprintln!("{}", check_counts(requests(), Sampling::default().rate(0.1)).await);
}
