//! The HTTP face: what a request passes on its way in, and what an answer looks like.
//!
//! `router` holds every route on one screen, `middleware` every layer in order. A handler's arguments are
//! extractors: [`Team`] proves who asks, [`Json`], [`Query`] and [`Path`] refuse bad input field by field.
//! Whatever goes wrong is an [`Error`](crate::Error) and leaves as a problem document.

mod connections;
mod extract;
mod head;
mod health;
mod idempotency;
mod metrics;
mod middleware;
mod no_store;
mod openapi;
mod problem;
mod router;
mod state;
mod team;
mod uploads;
mod wide;

pub use connections::{ConnectionCounts, ConnectionLimits, Connections, raise_descriptor_limit};
pub(crate) use extract::{Acceptable, accepted, media_type, moment};
pub use extract::{ByteBudget, IfMatch, Json, MAX_PAGE_BYTES, Page, PageParams, Path, Query, Version};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use extract::{cursor_of, fuzz_cursor};
pub use no_store::NoStore;
pub use problem::Problem;
pub use router::{router, worker_router};
pub use state::AppState;
pub use team::Team;
pub(crate) use team::{CREDENTIAL_EXPIRED, access_epoch, request};
pub use wide::{event_schema, sentence, wide_event_config};
