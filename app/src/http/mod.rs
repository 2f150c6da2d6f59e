//! The kit from which slices build their routes: extractors, problem documents, versions and pages.
//!
//! A handler's arguments are extractors: [`Team`] authenticates the caller, and [`Json`], [`Query`] and [`Path`] refuse
//! invalid input with the name of the field. Every failure is an [`Error`](crate::Error) and becomes a problem
//! document. Routes are generic over their router's state ([`ServiceState`]), and take their [`Core`] from it. So
//! this module and the slices don't depend on `server`, which puts them together.

#[cfg_attr(
    not(feature = "server"),
    expect(dead_code, reason = "only the server adds a client to requests")
)]
mod client;
mod core;
mod extract;
mod no_store;
mod record;
mod team;

pub use self::core::{Core, ServiceState};
pub(crate) use client::Client;
#[cfg(feature = "server")]
pub(crate) use client::ConnectionObserver;
pub use daybook_tenancy::http::Problem;
#[cfg(feature = "server")]
pub(crate) use daybook_tenancy::http::{StoredAnswer, set_request_id};
#[cfg(feature = "server")]
pub(crate) use extract::body_limit;
pub(crate) use extract::{Acceptable, accepted, media_type, timestamp};
pub use extract::{ByteBudget, IfMatch, Json, MAX_PAGE_BYTES, Page, PageParams, Path, Query, Version};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use extract::{cursor_of, fuzz_cursor};
pub use no_store::NoStore;
pub use team::Team;
pub(crate) use team::{CREDENTIAL_EXPIRED, request};
