//! The trait for jobs, and the options for enqueuing them.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::outcome::JobResult;
use super::session::JobSession;
use super::spec::in_words;

/// Work for the queue. Its fields are its input, and each attempt is a session.
///
/// ```
/// use daybook::prelude::*;
///
/// #[derive(Serialize, Deserialize)]
/// struct SyncRoster {
///     roster: String,
/// }
///
/// # #[derive(Serialize)]
/// # enum RosterAction { Synced { players: u32 } }
/// # impl std::fmt::Display for RosterAction {
/// #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
/// #         let Self::Synced { players } = self;
/// #         write!(f, "Synced {players} players")
/// #     }
/// # }
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
///
/// let job = SyncRoster { roster: "Rovers".into() };
/// assert_eq!(job.sentence(), "Started syncing the roster of Rovers");
/// ```
///
/// A job runs **at least once**: a worker may die after the work and before it has reported the result. Effects that
/// must not happen twice need a unique key in the database.
#[async_trait]
pub trait Job: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The job's name in the queue and in sessions: 1 to 63 lower-case letters, digits, `_`, `-` and dots, beginning
    /// with a letter. Waiting jobs are found by this name, so keep it when the type is renamed.
    const NAME: &'static str;

    /// The maximum number of attempts. The second attempt follows 2.7 seconds after the first failure. Each further
    /// delay is `e` times as long, up to six hours.
    const MAX_ATTEMPTS: i16 = 25;

    /// Returns the name of its sessions.
    #[doc(hidden)]
    fn session_name(&self) -> String {
        Self::NAME.to_owned()
    }

    /// Returns a sentence for people that says what the job does.
    fn sentence(&self) -> String {
        in_words(Self::NAME)
    }

    /// Does the work. An error is kept in the session, and the job is retried.
    async fn run(self, session: &JobSession) -> JobResult;
}

/// Options for enqueuing a job.
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
    /// Creates the default options: due immediately, with priority 0, in no named queue, without a deduplication key.
    pub fn new() -> Self {
        Self::default()
    }

    /// Delays the job, by ten years at most.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.due = Due::After(delay);
        self
    }

    /// Sets the time before which the job does not run.
    #[must_use]
    pub fn at(mut self, due: DateTime<Utc>) -> Self {
        self.due = Due::At(due);
        self
    }

    /// Sets the priority; the default is 0. Due jobs with a lower number run first.
    #[must_use]
    pub fn priority(mut self, priority: i16) -> Self {
        self.priority = priority;
        self
    }

    /// Sets the maximum number of attempts, instead of [`Job::MAX_ATTEMPTS`].
    #[must_use]
    pub fn max_attempts(mut self, attempts: i16) -> Self {
        self.max_attempts = Some(attempts);
        self
    }

    /// Puts the job into a named queue of the team. The jobs of one queue, of any type, run one after the other.
    #[must_use]
    pub fn queue(mut self, name: impl Into<String>) -> Self {
        self.queue = Some(name.into());
        self
    }

    /// Sets a deduplication key. Of the waiting jobs in a team with the same type and key there is only one: it has the
    /// newest input, and the time of the first request. A job that is already running doesn't count, but it is not
    /// retried if it fails.
    #[must_use]
    pub fn unique(mut self, key: impl Into<String>) -> Self {
        self.unique = Some(key.into());
        self
    }
}
