//! Where hints wait until somebody looks. It merges them, so that it never holds more than there are topics, and
//! never makes a writer wait.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::tenancy::{Bell, Hint, Moved};

/// Beyond so many, "look at everything" says it as well.
const MAX_WAITING: usize = 8_192;

/// Hints that wait for one reader.
#[derive(Debug, Clone, Default)]
pub(super) struct Mailbox(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    waiting: Mutex<Waiting>,
    arrived: Notify,
    /// Who looks for work; the hints of that are no topic's, and don't wait here.
    bell: Option<Bell>,
}

/// What has come since the last look.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) hints: HashSet<Hint>,
    /// There were too many to keep: anything may have moved.
    pub(super) everything: bool,
}

impl Mailbox {
    /// One that rings instead of keeping hints of work.
    pub(super) fn ringing(bell: Bell) -> Self {
        Self(Arc::new(Inner {
            bell: Some(bell),
            ..Inner::default()
        }))
    }

    pub(super) fn put(&self, hints: impl IntoIterator<Item = Hint>) {
        let mut hints = hints.into_iter().peekable();
        if hints.peek().is_none() {
            return;
        }
        {
            let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            for hint in hints {
                match (hint.moved, &self.0.bell) {
                    (Moved::Work, Some(bell)) => {
                        bell.ring();
                        continue;
                    }
                    (Moved::Cancelled(session_id), Some(bell)) => {
                        bell.cancel(session_id);
                        continue;
                    }
                    (Moved::Access, Some(bell)) => {
                        bell.access_changed(hint.team_id);
                        continue;
                    }
                    _ => {}
                }
                if waiting.everything {
                    continue;
                }
                waiting.hints.insert(hint);
                if waiting.hints.len() > MAX_WAITING {
                    waiting.hints = HashSet::new();
                    waiting.everything = true;
                }
            }
        }
        self.0.arrived.notify_one();
    }

    pub(super) fn put_everything(&self) {
        *self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Waiting {
            hints: HashSet::new(),
            everything: true,
        };
        if let Some(bell) = &self.0.bell {
            bell.ring();
            bell.access_changed_everywhere();
        }
        self.0.arrived.notify_one();
    }

    /// Waits until something is there, and takes all of it.
    pub(super) async fn take(&self) -> Waiting {
        loop {
            let taken = std::mem::take(&mut *self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            if taken != Waiting::default() {
                return taken;
            }
            self.0.arrived.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::tenancy::Moved;

    fn hint(thread: u128) -> Hint {
        Hint {
            team_id: Uuid::nil(),
            moved: Moved::Thread(Uuid::from_u128(thread)),
        }
    }

    /// What was lost may have said that somebody's access ended.
    #[tokio::test]
    async fn after_lost_hints_every_team_s_access_is_asked_for_again() {
        let bell = Bell::default();
        let teams = [Uuid::from_u128(1), Uuid::from_u128(2), Uuid::now_v7()];
        let before = teams.map(|team| bell.access_epoch(team));
        Mailbox::ringing(bell.clone()).put_everything();
        for (team, before) in teams.iter().zip(before) {
            assert_ne!(bell.access_epoch(*team), before);
        }
    }

    #[tokio::test]
    async fn a_hint_wakes_who_waits_for_one() {
        let mailbox = Mailbox::default();
        let waiting = tokio::spawn({
            let mailbox = mailbox.clone();
            async move { mailbox.take().await }
        });
        // It waits by then.
        tokio::task::yield_now().await;
        mailbox.put([hint(1)]);
        let taken = tokio::time::timeout(std::time::Duration::from_secs(20), waiting).await;
        assert_eq!(taken.unwrap().unwrap().hints, HashSet::from([hint(1)]));
    }

    #[tokio::test]
    async fn hints_are_merged_and_too_many_become_one() {
        let mailbox = Mailbox::default();
        mailbox.put([hint(1), hint(2)]);
        mailbox.put([hint(1)]);
        assert_eq!(mailbox.take().await.hints, HashSet::from([hint(1), hint(2)]));

        mailbox.put((0..=MAX_WAITING as u128).map(hint));
        mailbox.put([hint(1)]);
        let waiting = mailbox.take().await;
        assert!(waiting.everything && waiting.hints.is_empty());
        mailbox.put([hint(1)]);
        assert!(!mailbox.take().await.everything);
    }
}
