//! A job: what its author writes.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::outcome::JobResult;
use super::session::JobSession;
use super::spec::in_words;

/// Work for the queue. What it is given is its own fields; each attempt of it is a session.
///
/// ```ignore
/// #[derive(Serialize, Deserialize)]
/// struct SyncRoster { roster: String }
///
/// #[async_trait]
/// impl Job for SyncRoster {
///     const NAME: &'static str = "sync_roster";
///
///     fn sentence(&self) -> String {
///         format!("Started syncing the roster of {}", self.roster)
///     }
///
///     async fn run(self, session: &JobSession) -> JobResult {
///         session.add_action(&RosterAction::Synced { players: 40 }).await?;
///         Ok(())
///     }
/// }
/// ```
///
/// It runs **at least once**: a worker may die after its work and before it could say so. What must not be done twice
/// needs a key of its own in the database.
#[async_trait]
pub trait Job: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Its name in the queue and in sessions: lower case letters, digits, `_`, `-` and dots. Jobs that wait are found
    /// by it, so that it stays when the type is renamed.
    const NAME: &'static str;

    /// How often it is tried, at most. After the first failure it is tried again in 2.7 seconds, and then in `e` times
    /// as long each time, up to six hours.
    const MAX_ATTEMPTS: i16 = 25;

    /// What its sessions are called.
    #[doc(hidden)]
    fn session_name(&self) -> String {
        Self::NAME.to_owned()
    }

    /// What it does, as people read it.
    fn sentence(&self) -> String {
        in_words(Self::NAME)
    }

    /// Does it. An error is kept in the session, and the job is tried again.
    async fn run(self, session: &JobSession) -> JobResult;
}

/// How a job is put into the queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobOptions {
    pub(super) due: Due,
    pub(super) priority: i16,
    pub(super) max_attempts: Option<i16>,
    pub(super) queue: Option<String>,
    pub(super) unique: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Due {
    #[default]
    Now,
    After(Duration),
    At(DateTime<Utc>),
}

impl JobOptions {
    /// At once, with priority 0, beside all others.
    pub fn new() -> Self {
        Self::default()
    }

    /// Not before so much time has gone by.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.due = Due::After(delay);
        self
    }

    /// Not before this moment.
    #[must_use]
    pub fn at(mut self, due: DateTime<Utc>) -> Self {
        self.due = Due::At(due);
        self
    }

    /// Of the jobs that are due, those with a lower number come first. 0 without it.
    #[must_use]
    pub fn priority(mut self, priority: i16) -> Self {
        self.priority = priority;
        self
    }

    /// Instead of [`Job::MAX_ATTEMPTS`].
    #[must_use]
    pub fn max_attempts(mut self, attempts: i16) -> Self {
        self.max_attempts = Some(attempts);
        self
    }

    /// One after the other with the other jobs of this queue of the team, of whatever type.
    #[must_use]
    pub fn queue(mut self, name: impl Into<String>) -> Self {
        self.queue = Some(name.into());
        self
    }

    /// One job that waits, however often it is asked for: of the jobs of one type and key in a team that wait, there is
    /// one, with the newest input, at the time that the first asked for. A job that runs already doesn't count.
    #[must_use]
    pub fn unique(mut self, key: impl Into<String>) -> Self {
        self.unique = Some(key.into());
        self
    }
}
