//! Signals, which a transaction publishes once it has committed. A signal means: something of this kind has changed in
//! this team.
//!
//! A signal carries no content. A subscriber reads the change itself, under the team's policies, and polls at intervals
//! to find changes whose signals it has missed. So signals may be lost, duplicated and merged.
//!
//! The topics belong to the modules that publish them; here they are opaque.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Maximum length of a topic's name.
const MAX_NAME_BYTES: usize = 24;

/// Something in a team has changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Signal {
    /// The team.
    pub team_id: Uuid,
    /// What has changed.
    pub topic: SignalTopic,
}

/// What has changed: a name, and the id of one object if the signal is about one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SignalTopic {
    name: Cow<'static, str>,
    id: Option<Uuid>,
}

impl SignalTopic {
    /// Creates a topic without an object.
    ///
    /// # Panics
    /// For a name with a colon, or with more than 24 bytes: the topics of many signals share a message between
    /// processes.
    pub const fn new(name: &'static str) -> Self {
        check_name(name);
        Self {
            name: Cow::Borrowed(name),
            id: None,
        }
    }

    /// Creates a topic about one object.
    ///
    /// # Panics
    /// As [`SignalTopic::new`].
    pub const fn of(name: &'static str, id: Uuid) -> Self {
        check_name(name);
        Self {
            name: Cow::Borrowed(name),
            id: Some(id),
        }
    }

    /// The topic's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the id of the object, if the topic is about one.
    pub fn id(&self) -> Option<Uuid> {
        self.id
    }
}

const fn check_name(name: &str) {
    let bytes = name.as_bytes();
    assert!(bytes.len() <= MAX_NAME_BYTES, "the name of a topic is too long");
    let mut at = 0;
    while at < bytes.len() {
        assert!(bytes[at] != b':', "the name of a topic has a colon");
        at += 1;
    }
}

impl From<SignalTopic> for String {
    fn from(topic: SignalTopic) -> Self {
        match topic.id {
            Some(id) => format!("{}:{id}", topic.name),
            None => topic.name.into_owned(),
        }
    }
}

impl TryFrom<String> for SignalTopic {
    type Error = uuid::Error;

    fn try_from(text: String) -> Result<Self, uuid::Error> {
        let (name, id) = match text.split_once(':') {
            Some((name, id)) => (name.to_owned(), Some(Uuid::try_parse(id)?)),
            None => (text, None),
        };
        Ok(Self {
            name: Cow::Owned(name),
            id,
        })
    }
}

/// Receives the signals of committed transactions. It must not wait: it is called between a commit and its answer.
#[derive(Clone)]
pub struct SignalSink(Arc<dyn Fn(HashSet<Signal>) + Send + Sync>);

impl SignalSink {
    /// Passes signals to `receive`.
    pub fn new(receive: impl Fn(HashSet<Signal>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(receive))
    }

    pub(super) fn send(&self, signals: HashSet<Signal>) {
        if !signals.is_empty() {
            (self.0)(signals);
        }
    }
}

impl fmt::Debug for SignalSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignalSink")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_survives_the_way_to_another_process() {
        for topic in [SignalTopic::new("runs"), SignalTopic::of("thread", Uuid::now_v7())] {
            let signal = Signal {
                team_id: Uuid::now_v7(),
                topic,
            };
            let sent = serde_json::to_string(&signal).unwrap();
            assert_eq!(serde_json::from_str::<Signal>(&sent).unwrap(), signal, "{sent}");
        }
        assert!(serde_json::from_str::<SignalTopic>("\"thread:7\"").is_err());
    }

    #[test]
    #[should_panic(expected = "has a colon")]
    fn the_name_of_a_topic_has_no_colon() {
        SignalTopic::new("shop:orders");
    }

    #[test]
    #[should_panic(expected = "is too long")]
    fn the_name_of_a_topic_is_short() {
        SignalTopic::of("a_name_of_25_bytes_______", Uuid::nil());
    }
}
