//! Rules: which occasions, on which objects, a preference applies to.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::error::{Error, Result};
use crate::events::EventType;

/// The name for any type in a rule.
const ANY: &str = "*";

/// The kinds of occurrences that may notify a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
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
    pub(in crate::notifications) fn parse(event_type: &str, object_type: String) -> Result<Self> {
        Ok(Self {
            event_type: match event_type {
                ANY => None,
                named => Some(named.parse()?),
            },
            object_type: (object_type != ANY).then_some(object_type),
        })
    }

    /// Returns the values of the columns: event type, object type.
    pub(super) fn columns(&self) -> (&'static str, &str) {
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
