//! Daybook records every change to a team's domain objects as a typed event, under row-level security, in the same
//! commit as the change.
//!
//! The modules in reading order:
//!
//! - [`prelude`]: the imports for the author of a route, a model or a consumer.
//! - [`App`]: puts a program's models, migrations, routes and consumers together and runs it.
//! - [`tenancy`]: teams and their isolation; [`tenancy::TeamTx`] is the only way to write team rows.
//! - [`events`]: the record of what changed, by whom and why; the `*_with_event` functions and the consumers.
//! - [`threads`], [`notifications`]: what people read. Consumers write both, with the same means as a user's consumers.
//! - [`live`]: the WebSocket that sends both to clients as they happen.
//! - [`jobs`]: background work as sessions with actions; the queue, and the relay that fills it.
//! - [`analytics`]: counts events after the commit. [`housekeeping`]: the service's own jobs.
//! - [`stories`]: everything that one request caused.
//! - [`auth`]: authentication, members and API keys.
//! - [`http`]: the router, the extractors, problem documents.
//! - [`json`]: limits the depth of JSON, and reads stored JSON.
//! - [`wide_events`]: one JSON line for each request. It is the crate `daybook-wide-events`.
//! - [`campaigns`]: the sample domain, an example of a user's own slice.
//! - [`config`]: the settings. [`error`]: the errors and what a client receives. [`testing`]: a team on its own
//!   database.

// `#[event_consumer]` uses the crate's name, as in a user's crate.
extern crate self as daybook;

pub mod analytics;
mod app;
pub mod auth;
pub mod campaigns;
mod cli;
pub mod config;
pub mod error;
pub mod events;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod housekeeping;
pub mod http;
pub mod jobs;
pub mod json;
pub mod live;
pub mod notifications;
pub mod prelude;
pub mod runs;
pub mod server;
pub mod signals;
pub mod stories;
pub mod teams;
pub mod tenancy;
mod terminal;
pub mod testing;
mod text;
pub mod threads;

pub use app::{App, Planter};
/// Functions for a user's migrations: `enable_team_rls`, `for_each_team`.
pub use daybook_migration as migration;
/// One JSON line for each request: the crate `daybook-wide-events`.
pub use daybook_wide_events as wide_events;
pub use error::{Error, Result};

/// The crates that the code of `#[event_consumer]` uses, so that its users need not depend on them.
#[doc(hidden)]
pub mod __private {
    pub use inventory;
}
