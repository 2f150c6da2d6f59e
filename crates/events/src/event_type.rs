//! The type of an event.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr, VariantArray};

use daybook_tenancy::error::Error;

/// The kind of change that an event records.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    IntoStaticStr,
    VariantArray,
    utoipa::ToSchema,
    schemars::JsonSchema,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE", parse_err_ty = Error, parse_err_fn = unknown_event_type)]
#[non_exhaustive]
pub enum EventType {
    /// An object was created.
    Created,
    /// Fields changed.
    Updated,
    /// An object was deleted, softly or permanently.
    Deleted,
    /// An object moved from one state to another.
    StateChanged,
    /// A softly deleted object was restored.
    Restored,
    /// An event that the domain defines itself; `event_name` names it.
    Custom,
}

impl EventType {
    /// Every type, in the order above.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Returns the value in the column `event_type`: `CREATED`, `STATE_CHANGED`, …
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

fn unknown_event_type(text: &str) -> Error {
    Error::invalid(
        "event_type",
        format!("{text:?} is not one of CREATED, UPDATED, DELETED, STATE_CHANGED, RESTORED, CUSTOM"),
    )
}
