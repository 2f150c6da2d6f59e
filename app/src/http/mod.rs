//! The kit from which slices build their routes: extractors, problem documents, versions and pages.
//!
//! A handler's arguments are extractors: [`Team`] authenticates the caller, and [`Json`], [`Query`] and [`Path`] refuse
//! invalid input with the name of the field. Every failure is an [`Error`](crate::Error) and becomes a problem
//! document. Routes are generic over their router's state ([`ServiceState`]), and take their [`Core`] from it. So
//! this module and the slices don't depend on `server`, which puts them together.

mod client;
mod core;
mod extract;
mod no_store;
mod record;
mod team;

pub use self::core::{Core, ServiceState};
pub(crate) use client::{Client, Connection};
pub use daybook_tenancy::http::Problem;
pub(crate) use daybook_tenancy::http::{StoredAnswer, set_request_id};
pub(crate) use extract::{Acceptable, accepted, body_limit, media_type, moment};
pub use extract::{ByteBudget, IfMatch, Json, MAX_PAGE_BYTES, Page, PageParams, Path, Query, Version};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use extract::{cursor_of, fuzz_cursor};
pub use no_store::NoStore;
pub use team::Team;
pub(crate) use team::{CREDENTIAL_EXPIRED, request};
