//! Daybook's integration tests: one binary, one file an area, one PostgreSQL for all of them.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failure here is the test's failure"
)]

mod concurrency;
mod consumer_macro;
mod consumers;
mod events;
mod harness;
mod laws;
mod private_postgres;
mod schema;
