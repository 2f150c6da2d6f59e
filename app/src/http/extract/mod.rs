//! The extractors and responses of handlers: bodies, captures, parameters, versions, pages.
//!
//! They have the names of axum's, so that handlers look familiar. The difference is in what they refuse, and how: every
//! rejection is an [`Error`](crate::error::Error), and so a problem document with the name of the wrong field and what
//! is expected. It never repeats the client's value.
//!
//! - [`Json`] reads and writes bodies. Request types have `#[serde(deny_unknown_fields)]`, so that a misspelt field is
//!   refused by name and not ignored. U+0000, which PostgreSQL can't store, is refused by its path, and so are lists in
//!   place of objects, JSON that is too deep, and numbers that some parsers can't represent.
//! - [`Path`] gives the captures after the team's id, which `Team` reads.
//! - [`Query`] reads parameters. Its types have `deny_unknown_fields` for the same reason.
//! - [`IfMatch`] and [`Version`] prevent two people from overwriting each other's change.
//! - [`PageParams`] and [`Page`] divide lists into pages, by cursor.

mod accept;
mod added;
#[cfg(any(test, feature = "fuzzing"))]
mod fuzz;
mod json;
mod json_value;
mod nul;
mod page;
mod path;
mod query;
mod read_error;
mod strings;
mod timestamp;
mod version;

pub(crate) use accept::{Acceptable, accepted};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use fuzz::{cursor_of, fuzz_cursor};
pub use json::Json;
#[cfg(feature = "server")]
pub(crate) use json::body_limit;
pub(crate) use json::media_type;
pub use page::{ByteBudget, MAX_PAGE_BYTES, Page, PageParams};
pub use path::Path;
pub use query::Query;
pub(crate) use timestamp::timestamp;
pub use version::{IfMatch, Version};
