//! The readers of logs. A process limits the number of streams and downloads that it serves at the same time, and
//! checks each reader's permission again at intervals.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Semaphore, SemaphorePermit};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::http::{CREDENTIAL_EXPIRED, Team};
use crate::wide_events::{EventError, Outcome, WideEvent};

/// The maximum number of readers that read a block from the disk at the same time. The limit leaves processors free for
/// other requests.
const MAX_CONCURRENT_BLOCKS: usize = 8;

/// The readers of a process. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Readers(Arc<ReadersState>);

#[derive(Debug)]
struct ReadersState {
    max: usize,
    max_team: usize,
    open: Mutex<OpenCounts>,
    blocks: Semaphore,
}

#[derive(Debug, Default)]
struct OpenCounts {
    total: usize,
    teams: HashMap<Uuid, usize>,
}

impl Readers {
    /// Creates the readers of a process: at most `max`, and at most `max_team` of one team.
    pub(super) fn new(max: usize, max_team: usize) -> Self {
        Self(Arc::new(ReadersState {
            max,
            max_team,
            open: Mutex::default(),
            blocks: Semaphore::new(MAX_CONCURRENT_BLOCKS),
        }))
    }

    /// Returns the number of open readers.
    pub(super) fn open(&self) -> usize {
        self.lock().total
    }

    /// Admits one more reader of a team.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the maximum number of readers is reached.
    pub(super) fn admit(&self, team_id: Uuid) -> Result<ReaderPermit> {
        let mut open = self.lock();
        if open.total >= self.0.max {
            return Err(full("this process", self.0.max));
        }
        let of_team = open.teams.entry(team_id).or_default();
        if *of_team >= self.0.max_team {
            return Err(full("this team", self.0.max_team));
        }
        *of_team += 1;
        open.total += 1;
        drop(open);
        Ok(ReaderPermit {
            readers: self.clone(),
            team_id,
        })
    }

    fn lock(&self) -> MutexGuard<'_, OpenCounts> {
        self.0.open.lock()
    }
}

fn full(who: &str, max: usize) -> Error {
    Error::Unavailable {
        detail: format!("{who} has the maximum number of readers of run logs ({max}); try again in a moment").into(),
        source: None,
    }
}

/// Counts a reader until it is dropped.
#[derive(Debug)]
pub(super) struct ReaderPermit {
    readers: Readers,
    team_id: Uuid,
}

impl ReaderPermit {
    /// Waits for a turn to read a block.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.readers.0.blocks.acquire().await.ok()
    }
}

impl Drop for ReaderPermit {
    fn drop(&mut self) {
        let mut open = self.readers.lock();
        open.total -= 1;
        if let Some(of_team) = open.teams.get_mut(&self.team_id) {
            *of_team -= 1;
            if *of_team == 0 {
                open.teams.remove(&self.team_id);
            }
        }
    }
}

/// The interval at which a reader's permission is checked again.
const PERMISSION_CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// The caller of a stream, and when its permission was last checked.
pub(super) struct Permission {
    team: Team,
    seen: Instant,
}

impl Permission {
    /// Creates the permission of a caller that has just entered the team.
    pub(super) fn new(team: Team) -> Self {
        let seen = team.clock().instant();
        Self { team, seen }
    }

    /// Waits until the credential expires.
    pub(super) async fn expired(&self) {
        self.team.expired().await;
    }

    /// Checks that the caller may continue to read: its credential has not expired and was not revoked, and it is still
    /// in the team. If the database is unavailable, the caller may continue until the next check.
    ///
    /// # Errors
    /// Why the caller may not continue.
    pub(super) async fn check(&mut self) -> Result<()> {
        self.team.check_not_expired()?;
        let now = self.team.clock().instant();
        if now.duration_since(self.seen) < PERMISSION_CHECK_INTERVAL && !self.team.access_changed() {
            return Ok(());
        }
        self.seen = now;
        let checked = async { self.team.read().await?.commit().await };
        match checked.await {
            Err(Error::Unavailable { .. }) => Ok(()),
            checked => checked,
        }
    }
}

/// Returns the code and the text that a client receives for a stream that ends early.
pub(super) fn closing_reason(refusal: &Error) -> (&'static str, String) {
    match refusal {
        Error::Unauthenticated { detail } if detail == CREDENTIAL_EXPIRED => ("credential-expired", detail.to_string()),
        _ => (
            "no-longer-allowed",
            "the credential may no longer read this team's runs".to_owned(),
        ),
    }
}

/// Records in the wide event why a stream ends early. The response's status was sent long before.
pub(super) fn record_refusal(refusal: &Error) {
    let (code, detail) = closing_reason(refusal);
    let event = WideEvent::current();
    event.mark_error(EventError::new(refusal.kind(), detail).code(code));
    event.mark_outcome(Outcome::ClientError);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_team_has_its_own_limit_and_releases_readers() {
        let readers = Readers::new(3, 2);
        let (acme, umbrella) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let first = readers.admit(acme).unwrap();
        let _second = readers.admit(acme).unwrap();
        let refused = readers.admit(acme).unwrap_err();
        assert!(
            refused.to_string().starts_with("this team has the maximum"),
            "{refused}"
        );
        let _third = readers.admit(umbrella).unwrap();
        let refused = readers.admit(umbrella).unwrap_err();
        assert!(
            refused.to_string().starts_with("this process has the maximum"),
            "{refused}"
        );
        drop(first);
        assert_eq!(readers.open(), 2);
        let _again = readers.admit(acme).unwrap();
    }
}
