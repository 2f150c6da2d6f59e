//! What a transaction says once it has committed: "this has moved".
//!
//! A hint carries no contents. Who hears it looks, under a team's own policies, at what is there; who misses it
//! finds out a moment later by looking anyway. So hints may be lost, doubled and merged.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
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
pub enum Moved {
    /// A thread has new messages, or changed ones.
    Thread(Uuid),
    /// Several threads have: too many to name.
    Threads,
    /// A person's notifications.
    Notifications(Uuid),
    /// There is work for the queue, or an event for who consumes it after the commit.
    Work,
}

/// Rung when there may be work, here or in another process: an extension of the
/// [`Database`](super::Database), for whoever hands it over.
#[derive(Debug, Clone, Default)]
pub struct Bell(Arc<Notify>);

impl Bell {
    /// Rings. Several rings that nobody has heard are one.
    pub fn ring(&self) {
        self.0.notify_one();
    }

    /// Waits until it rings.
    pub async fn rung(&self) {
        self.0.notified().await;
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
