//! Caches which credentials were recently allowed to write a team's runs, so that a writer of many small requests
//! doesn't need the database for each.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::clock::Clock;

/// The time for which a successful check of the right to write a team's runs is cached.
const ADMISSION_CACHE_TTL: Duration = Duration::from_secs(1);
/// The number of cached checks from which on expired ones are removed before another is added.
const MAX_CACHED_ADMISSIONS: usize = 10_000;

/// The successful checks of a process.
#[derive(Debug)]
pub(super) struct Admissions {
    clock: Clock,
    /// By the hash of the credential and the team.
    checked: Mutex<HashMap<[u8; 32], Admission>>,
}

#[derive(Debug)]
struct Admission {
    checked_at: Instant,
    /// The team's access epoch, read before the check.
    access_epoch: u64,
}

impl Admission {
    fn is_fresh(&self, now: Instant) -> bool {
        now.duration_since(self.checked_at) < ADMISSION_CACHE_TTL
    }
}

impl Admissions {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            checked: Mutex::default(),
        }
    }

    /// Returns whether a fresh check of this credential was successful, and nobody's access has changed since.
    pub(super) fn contain(&self, credential: &str, team_id: Uuid, access_epoch: u64) -> bool {
        let key = key(credential, team_id);
        let now = self.clock.instant();
        let checked = self.checked.lock();
        checked
            .get(&key)
            .is_some_and(|admission| admission.is_fresh(now) && admission.access_epoch == access_epoch)
    }

    pub(super) fn add(&self, credential: &str, team_id: Uuid, access_epoch: u64) {
        let now = self.clock.instant();
        let mut checked = self.checked.lock();
        if checked.len() >= MAX_CACHED_ADMISSIONS {
            checked.retain(|_, admission| admission.is_fresh(now));
        }
        let admission = Admission {
            checked_at: now,
            access_epoch,
        };
        checked.insert(key(credential, team_id), admission);
    }
}

fn key(credential: &str, team_id: Uuid) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(team_id);
    hash.update(credential);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn admissions() -> (Admissions, Clock) {
        let clock = Clock::system();
        (Admissions::new(clock.clone()), clock)
    }

    #[test]
    fn an_admission_is_cached_for_a_second_and_for_its_credential_team_and_epoch() {
        let (admissions, clock) = admissions();
        let (acme, umbrella) = (Uuid::from_u128(1), Uuid::from_u128(2));
        assert!(!admissions.contain("key", acme, 7), "never checked");
        admissions.add("key", acme, 7);
        assert!(admissions.contain("key", acme, 7));
        assert!(!admissions.contain("another", acme, 7));
        assert!(!admissions.contain("key", umbrella, 7));
        assert!(!admissions.contain("key", acme, 8), "somebody's access has changed");

        clock.advance(TimeDelta::from_std(ADMISSION_CACHE_TTL).unwrap());
        assert!(!admissions.contain("key", acme, 7), "expired");
        admissions.add("key", acme, 7);
        assert!(admissions.contain("key", acme, 7), "checked again");
    }

    #[test]
    fn expired_admissions_are_removed_when_there_are_many() {
        let (admissions, clock) = admissions();
        for number in 0..MAX_CACHED_ADMISSIONS {
            admissions.add(&number.to_string(), Uuid::nil(), 0);
        }
        clock.advance(TimeDelta::from_std(ADMISSION_CACHE_TTL).unwrap());
        admissions.add("newest", Uuid::nil(), 0);
        assert_eq!(admissions.checked.lock().len(), 1);
        assert!(admissions.contain("newest", Uuid::nil(), 0));
    }
}
