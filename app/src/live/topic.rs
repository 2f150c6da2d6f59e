//! Defines the topics that a client can follow.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

/// A topic that a client can follow: `thread:{id}`, `threads`, `notifications`, `job-sessions` or `runs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Topic {
    /// The messages of one thread.
    Thread(Uuid),
    /// The messages of all the team's threads.
    Threads,
    /// The person's own notifications.
    Notifications,
    /// The team's job sessions.
    JobSessions,
    /// The team's runs.
    Runs,
}

impl PartialSchema for Topic {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some(
                "A topic that a client can follow: one thread, all threads of the team, the person's own \
                 notifications, job sessions, or runs.",
            ))
            .pattern(Some(
                "^(thread:[0-9a-fA-F-]{32,36}|threads|notifications|job-sessions|runs)$",
            ))
            .into()
    }
}

impl ToSchema for Topic {
    fn name() -> Cow<'static, str> {
        "LiveTopic".into()
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Thread(id) => write!(f, "thread:{id}"),
            Self::Threads => f.write_str("threads"),
            Self::Notifications => f.write_str("notifications"),
            Self::JobSessions => f.write_str("job-sessions"),
            Self::Runs => f.write_str("runs"),
        }
    }
}

impl From<Topic> for String {
    fn from(topic: Topic) -> Self {
        topic.to_string()
    }
}

impl FromStr for Topic {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "threads" => Ok(Self::Threads),
            "notifications" => Ok(Self::Notifications),
            "job-sessions" => Ok(Self::JobSessions),
            "runs" => Ok(Self::Runs),
            _ => text
                .strip_prefix("thread:")
                .and_then(|id| Uuid::try_parse(id).ok())
                .map(Self::Thread)
                .ok_or("a topic must be thread:{id}, threads, notifications, job-sessions or runs"),
        }
    }
}

impl TryFrom<String> for Topic {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}
