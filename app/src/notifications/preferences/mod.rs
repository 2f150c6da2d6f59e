//! What a person wants to be told of.
//!
//! A preference is a rule of one's own: *of events of this type, on objects of this type: tell me, or don't*. Either
//! type may be `*`. Beside the types of events there are `COMMENT`, and `MENTION` for a comment that names one. `*`
//! doesn't mean mentions: who is called by name hears of it, unless a rule says `MENTION`.
//!
//! **Which rule counts.** Of those that match, the one that names the object's type beats the one that names only
//! the event's: "all of invoices" is said by who works on invoices. So, from the strongest: both named; the object's
//! type; the event's type; neither. Where no rule matches, one is told.
//!
//! Rules only ever take away: they make nobody a follower. A thread that is muted says nothing whatever they say,
//! and they take away what a watch would bring.

mod routes;
mod store;

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::error::{Error, Result};
use crate::events::{EventType, Sentences};
use crate::tenancy::TeamTx;

pub(super) use routes::routes;

/// Any, in a rule.
const ANY: &str = "*";

/// What one may be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// An event on an object whose thread one follows, or a creation that one watches for.
    Event(EventType),
    /// A comment in a thread that one follows.
    Comment,
    /// A comment that names one.
    Mention,
}

impl Occasion {
    /// Every occasion.
    pub fn all() -> impl Iterator<Item = Self> {
        let events = EventType::ALL.into_iter().map(Self::Event);
        events.chain([Self::Comment, Self::Mention])
    }

    /// As in the column `event_type`: an event's type, `COMMENT` or `MENTION`.
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
                format!(
                    "{text:?} is none of {}, and not *, which is all but MENTION",
                    known.join(", ")
                ),
            )
        })
    }
}

/// Which occasions a rule is of, and of which objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Rule {
    /// An event's type, `COMMENT`, `MENTION`, or `*` for all but `MENTION`.
    #[schema(value_type = String, example = "COMMENT")]
    #[serde(serialize_with = "or_any")]
    pub event_type: Option<Occasion>,
    /// A type of objects, or `*` for all.
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
    /// As it is written: in a path, in a row.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names `event_type` and says what there is.
    pub(super) fn parse(event_type: &str, object_type: String) -> Result<Self> {
        Ok(Self {
            event_type: match event_type {
                ANY => None,
                named => Some(named.parse()?),
            },
            object_type: (object_type != ANY).then_some(object_type),
        })
    }

    /// As in the columns: event type, object type.
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
        f.write_str(self.object_type.as_deref().unwrap_or("anything"))
    }
}

/// Refuses a type of objects that nobody knows: a rule or a watch on a misspelt name would be silent for ever.
///
/// Known are the types of the program's models, and those that the team has a thread of: of a model that the
/// program has no more, or was never told of.
///
/// # Errors
/// [`Error::Invalid`] that names `object_type` and what the program has.
pub async fn require_object_type(tx: &TeamTx, object_type: &str) -> Result<()> {
    if !is_object_type(object_type) {
        return Err(Error::invalid(
            "object_type",
            "must be 1 to 63 of a-z, 0-9 or '_', beginning with a letter",
        ));
    }
    let known: Vec<_> = tx
        .extension::<Sentences>()
        .into_iter()
        .flat_map(Sentences::object_types)
        .collect();
    if known.contains(&object_type) || store::has_thread_of(tx, object_type).await? {
        return Ok(());
    }
    let known = match known.as_slice() {
        [] => "this program has no models".to_owned(),
        known => format!("known are: {}", known.join(", ")),
    };
    Err(Error::invalid(
        "object_type",
        format!("{object_type:?} is no type of objects here; {known}"),
    ))
}

/// As the checks on the columns.
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
    fn a_rule_is_read_as_it_is_written() {
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
            wrong.starts_with("event_type: \"updated\" is not one of CREATED, UPDATED,"),
            "{wrong}"
        );
        assert!(wrong.contains("COMMENT, MENTION"), "{wrong}");
    }
}
