//! Daybook's integration tests: one binary, one file or folder for each area, one PostgreSQL for all of them.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failure here is the test's failure"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "tests wait by the machine's clock and compare with it"
)]

mod analytics;
mod architecture;
mod causes;
mod cli;
mod concurrency;
mod connections;
mod consumers;
mod database_errors;
mod entry_points;
mod events;
mod harness;
mod housekeeping;
mod http_access;
mod http_campaigns;
mod http_isolation;
mod http_members;
mod http_notifications;
mod http_pages;
mod http_threads;
mod http_wide_events;
mod idempotency;
mod jobs;
mod laws;
mod live;
mod notified;
mod openapi;
mod plans;
mod poolers;
mod private_postgres;
mod runs;
mod schema;
mod sizes;
mod stale_plans;
mod stories;
mod wide_events;
