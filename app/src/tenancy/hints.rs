//! What a transaction says once it has committed: "this has moved".
//!
//! A hint carries no contents. Who hears it looks, under a team's own policies, at what is there; who misses it
//! finds out a moment later by looking anyway. So hints may be lost, doubled and merged.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, broadcast};
use uuid::Uuid;

/// Something of a team has moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hint {
    /// The team.
    pub team_id: Uuid,
    /// What it is.
    pub moved: Moved,
}

/// What has moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Moved {
    /// A thread has new messages, or changed ones.
    Thread(Uuid),
    /// Several threads have: too many to name.
    Threads,
    /// A person's notifications.
    Notifications(Uuid),
    /// Job sessions: some began, some ended, some have new actions.
    JobSessions,
    /// Runs: some began, some ended.
    Runs,
    /// There is work for the queue, or an event for who consumes it after the commit.
    Work,
    /// Somebody has asked for the end of a job session.
    Cancelled(Uuid),
    /// Somebody's access ended or became less: a member, an API key.
    Access,
}

/// Rung when there may be work, and when somebody asks for the end of some, here or in another process: an extension of
/// the [`Database`](super::Database).
#[derive(Debug, Clone)]
pub struct Bell {
    work: Arc<Notify>,
    cancelled: broadcast::Sender<Uuid>,
    access: Arc<[AtomicU64; ACCESS_SLOTS]>,
}

/// How many counters of changed access there are: teams share them, so that their number has a bound.
const ACCESS_SLOTS: usize = 256;

impl Default for Bell {
    fn default() -> Self {
        Self {
            work: Arc::default(),
            cancelled: broadcast::Sender::new(64),
            access: Arc::new([const { AtomicU64::new(0) }; ACCESS_SLOTS]),
        }
    }
}

impl Bell {
    /// There may be work. Several rings that nobody has heard are one.
    pub fn ring(&self) {
        self.work.notify_one();
    }

    /// Waits until it rings.
    pub async fn rung(&self) {
        self.work.notified().await;
    }

    /// Somebody has asked for this session's end.
    pub fn cancel(&self, session_id: Uuid) {
        // Nobody may be running any.
        let _ = self.cancelled.send(session_id);
    }

    /// Somebody's access to this team has ended or become less: whoever remembers that a credential holds asks again.
    pub fn access_changed(&self, team_id: Uuid) {
        self.access_slot(team_id).fetch_add(1, Ordering::AcqRel);
    }

    /// Any team's access may have changed: hints were lost.
    pub fn access_changed_everywhere(&self) {
        for slot in self.access.iter() {
            slot.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// A number that is another one after each change of access to this team. It may change for another team's sake.
    pub fn access_epoch(&self, team_id: Uuid) -> u64 {
        self.access_slot(team_id).load(Ordering::Acquire)
    }

    fn access_slot(&self, team_id: Uuid) -> &AtomicU64 {
        // The last byte of a UUIDv7 is random.
        &self.access[usize::from(team_id.as_bytes()[15]) % ACCESS_SLOTS]
    }

    /// The sessions whose end is asked for, from now on.
    pub fn cancelled(&self) -> broadcast::Receiver<Uuid> {
        self.cancelled.subscribe()
    }
}

/// Where the hints of committed transactions go. It must not wait: it is called between a commit and its answer.
#[derive(Clone)]
pub struct Hints(Arc<dyn Fn(HashSet<Hint>) + Send + Sync>);

impl Hints {
    /// Hands hints to `hear`.
    pub fn to(hear: impl Fn(HashSet<Hint>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hear))
    }

    pub(super) fn send(&self, hints: HashSet<Hint>) {
        if !hints.is_empty() {
            (self.0)(hints);
        }
    }
}

impl fmt::Debug for Hints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hints")
    }
}
