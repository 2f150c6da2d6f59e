//! What a handler takes and gives: bodies, captures, parameters, versions, pages.
//!
//! They have the names of axum's own, so that handlers read as everybody's do, and differ in what they
//! refuse and how: every rejection is an [`Error`](crate::error::Error), and so problem+json, with the wrong
//! field's name, what was wrong and what would be right.
//!
//! - [`Json`] reads and writes bodies. Request types say `#[serde(deny_unknown_fields)]`: a misspelt field is
//!   then refused by name, not ignored. U+0000, which Postgres can't store, is refused by its path, and so are lists
//!   for objects, JSON that is too deep, and numbers that not every reader takes.
//! - [`Path`] gives the captures after the team, as `Team` takes the one before.
//! - [`Query`] reads parameters, and says `deny_unknown_fields` for the same reason.
//! - [`IfMatch`] and [`Version`] keep two people from overwriting each other's change.
//! - [`PageParams`] and [`Page`] walk lists by cursor.

mod accept;
mod added;
#[cfg(any(test, feature = "fuzzing"))]
mod fuzz;
mod json;
mod moment;
mod nul;
mod objects;
mod page;
mod path;
mod query;
mod strings;
mod version;
mod wrong_field;

pub(crate) use accept::{Acceptable, accepted};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use fuzz::{cursor_of, fuzz_cursor};
pub use json::Json;
pub(crate) use json::body_limit;
pub(crate) use json::media_type;
pub(crate) use moment::moment;
pub use page::{ByteBudget, MAX_PAGE_BYTES, Page, PageParams};
pub use path::Path;
pub use query::Query;
pub use version::{IfMatch, Version};
