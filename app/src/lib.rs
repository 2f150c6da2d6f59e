//! Daybook: every change to a team's domain objects recorded as a typed event, under row-level security, in
//! the same commit as the change.
//!
//! In reading order:
//!
//! - [`prelude`]: what the author of a route, a model or a consumer imports.
//! - [`App`]: a program's models, migrations, routes and consumers, put together and run.
//! - [`tenancy`]: teams and the wall between them; [`tenancy::TeamTx`] is the only door for writes.
//! - [`events`]: what changed, by whom, why; the `*_with_event` helpers and the consumers.
//! - [`threads`], [`notifications`]: what people read, made by consumers like any user's.
//! - [`live`]: the WebSocket on which both reach people's screens as they happen.
//! - [`jobs`]: what the system does in the background, as sessions with their actions; the queue, and what leads to it.
//! - [`analytics`]: how often what happened, counted after the commit. [`housekeeping`]: the service's own jobs.
//! - [`stories`]: all that one request led to, with its causes.
//! - [`auth`]: who presents themselves; members and API keys.
//! - [`http`]: the router, the extractors, problem documents.
//! - [`json`]: how deep JSON may be, and how stored JSON is read.
//! - [`wide_events`]: one JSON line for every request, and nothing it knows of the rest.
//! - [`campaigns`]: the sample domain, and what a user's own slice looks like.
//! - [`config`]: the settings. [`error`]: what a client is told. [`testing`]: a team on a database of its own.

// `#[event_consumer]` names this crate as its users do.
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
pub mod stories;
pub mod teams;
pub mod tenancy;
mod terminal;
pub mod testing;
mod text;
pub mod threads;
pub mod wide_events;

pub use app::{App, Planter};
/// What a user's migrations call: `enable_team_rls`, `for_each_team`.
pub use daybook_migration as migration;
pub use error::{Error, Result};

/// What `#[event_consumer]` expands to, so that its users need not depend on it.
#[doc(hidden)]
pub mod __private {
    pub use inventory;
}
