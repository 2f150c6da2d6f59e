//! A person's choices of what notifies them.
//!
//! A preference is a rule: whether events of a type, on objects of a type, notify the person. Either type may be `*`.
//! Besides the event types there are `COMMENT`, and `MENTION` for a comment that mentions the person. `*` does not
//! include mentions: a mention notifies a person, unless a rule with `MENTION` excludes it.
//!
//! **Which rule counts.** The most specific matching rule counts. An object type is more specific than an event type,
//! because a person who works on invoices sets a rule such as "everything on invoices". So the order is: both types
//! named; only the object type; only the event type; neither. If no rule matches, the person is notified.
//!
//! Rules can only exclude notifications: they make nobody a follower, and they don't affect a muted thread, which never
//! notifies. They also apply to notifications of a watch.

mod routes;
mod store;

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::error::{Error, Result};
use crate::events::{EventType, EventsParts};
use crate::tenancy::TeamTx;

pub(super) use routes::routes;

/// The name for any type in a rule.
const ANY: &str = "*";

/// The kinds of occurrences that may notify a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// An event in a thread that the person follows, or a new object of a type that the person watches.
    Event(EventType),
    /// A comment in a thread that the person follows.
    Comment,
    /// A comment that mentions the person.
    Mention,
}

impl Occasion {
    /// Returns all occasions.
    pub fn all() -> impl Iterator<Item = Self> {
        let events = EventType::ALL.iter().copied().map(Self::Event);
        events.chain([Self::Comment, Self::Mention])
    }

    /// Returns the name as in the column `event_type`: an event's type, `COMMENT` or `MENTION`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Event(event_type) => event_type.as_str(),
            Self::Comment => "COMMENT",
            Self::Mention => "MENTION",
        }
    }
}

impl fmt::Display for Occasion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Occasion {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::all().find(|occasion| occasion.as_str() == text).ok_or_else(|| {
            let known: Vec<_> = Self::all().map(Self::as_str).collect();
            Error::invalid(
                "event_type",
                format!("{text:?} must be one of {}, or * for all but MENTION", known.join(", ")),
            )
        })
    }
}

/// The occasions and the objects that a rule applies to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Rule {
    /// An event's type, `COMMENT`, `MENTION`, or `*` for all but `MENTION`.
    #[schema(value_type = String, example = "COMMENT")]
    #[serde(serialize_with = "or_any")]
    pub event_type: Option<Occasion>,
    /// An object type, or `*` for all.
    #[schema(value_type = String, example = "campaign")]
    #[serde(serialize_with = "or_any")]
    pub object_type: Option<String>,
}

fn or_any<T: fmt::Display, S: Serializer>(named: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match named {
        Some(named) => serializer.collect_str(named),
        None => serializer.serialize_str(ANY),
    }
}

impl Rule {
    /// Parses a rule as it is written in a path and in a row.
    ///
    /// # Errors
    /// [`Error::Invalid`] for `event_type`, with the valid values.
    pub(super) fn parse(event_type: &str, object_type: String) -> Result<Self> {
        Ok(Self {
            event_type: match event_type {
                ANY => None,
                named => Some(named.parse()?),
            },
            object_type: (object_type != ANY).then_some(object_type),
        })
    }

    /// Returns the values of the columns: event type, object type.
    fn columns(&self) -> (&'static str, &str) {
        (
            self.event_type.map_or(ANY, Occasion::as_str),
            self.object_type.as_deref().unwrap_or(ANY),
        )
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.event_type {
            Some(occasion) => write!(f, "{occasion} on ")?,
            None => f.write_str("everything on ")?,
        }
        f.write_str(self.object_type.as_deref().unwrap_or("any object"))
    }
}

/// Rejects an unknown object type: a rule or a watch with a misspelt name would never have an effect.
///
/// The known types are those of the program's models, and those of which the team has a thread. A type with a thread
/// may belong to a model that the program no longer has, or that was not registered.
///
/// # Errors
/// [`Error::Invalid`] for `object_type`, with the program's types.
pub async fn require_object_type(tx: &TeamTx, object_type: &str) -> Result<()> {
    if !is_object_type(object_type) {
        return Err(Error::invalid(
            "object_type",
            "must be 1 to 63 of a-z, 0-9 or '_', beginning with a letter",
        ));
    }
    let known: Vec<_> = EventsParts::of_tx(tx)?.sentences.object_types().collect();
    if known.contains(&object_type) || store::has_thread_of(tx, object_type).await? {
        return Ok(());
    }
    let known = match known.as_slice() {
        [] => "this program has no models".to_owned(),
        known => format!("the known types are: {}", known.join(", ")),
    };
    Err(Error::invalid(
        "object_type",
        format!("{object_type:?} is not a known object type; {known}"),
    ))
}

/// Returns whether a text has the form of an object type, as in the columns' checks.
fn is_object_type(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_parsed_and_formatted_the_same() {
        for (event_type, object_type) in [("*", "*"), ("MENTION", "*"), ("*", "campaign"), ("UPDATED", "campaign")] {
            let rule = Rule::parse(event_type, object_type.to_owned()).unwrap();
            assert_eq!(rule.columns(), (event_type, object_type));
            assert_eq!(
                serde_json::to_value(&rule).unwrap(),
                serde_json::json!({"event_type": event_type, "object_type": object_type})
            );
        }
        let wrong = Rule::parse("updated", "*".to_owned()).unwrap_err().to_string();
        assert!(
            wrong.starts_with("event_type: \"updated\" must be one of CREATED, UPDATED,"),
            "{wrong}"
        );
        assert!(wrong.contains("COMMENT, MENTION"), "{wrong}");
    }
}
