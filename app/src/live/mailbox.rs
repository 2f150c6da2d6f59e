//! Keeps signals until they are read. Signals are merged, so their number has a bound, and writers never wait.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::tenancy::{Bell, Hint, Moved};

/// Maximum number of separate signals. When there are more, they are replaced by "everything changed".
const MAX_PENDING: usize = 8_192;

/// The pending signals of one reader.
#[derive(Debug, Clone, Default)]
pub(super) struct Mailbox(Arc<MailboxInner>);

#[derive(Debug, Default)]
struct MailboxInner {
    pending: Mutex<PendingSignals>,
    arrived: Notify,
    /// The notifier for signals about work and access. These belong to no topic and are passed on at once.
    notifier: Option<Bell>,
}

/// The signals since the last read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PendingSignals {
    pub(super) hints: HashSet<Hint>,
    /// Signals were lost or dropped: everything may have changed.
    pub(super) everything: bool,
}

impl Mailbox {
    /// Creates a mailbox that passes signals about work and access to the notifier instead of keeping them.
    pub(super) fn with_notifier(notifier: Bell) -> Self {
        Self(Arc::new(MailboxInner {
            notifier: Some(notifier),
            ..MailboxInner::default()
        }))
    }

    pub(super) fn put(&self, hints: impl IntoIterator<Item = Hint>) {
        let mut hints = hints.into_iter().peekable();
        if hints.peek().is_none() {
            return;
        }
        {
            let mut pending = self.0.pending.lock().unwrap_or_else(PoisonError::into_inner);
            for hint in hints {
                match (hint.moved, &self.0.notifier) {
                    (Moved::Work, Some(notifier)) => {
                        notifier.ring();
                        continue;
                    }
                    (Moved::Cancelled(session_id), Some(notifier)) => {
                        notifier.cancel(session_id);
                        continue;
                    }
                    (Moved::Access, Some(notifier)) => {
                        notifier.access_changed(hint.team_id);
                        continue;
                    }
                    _ => {}
                }
                if pending.everything {
                    continue;
                }
                pending.hints.insert(hint);
                if pending.hints.len() > MAX_PENDING {
                    pending.hints = HashSet::new();
                    pending.everything = true;
                }
            }
        }
        self.0.arrived.notify_one();
    }

    pub(super) fn put_everything_changed(&self) {
        *self.0.pending.lock().unwrap_or_else(PoisonError::into_inner) = PendingSignals {
            hints: HashSet::new(),
            everything: true,
        };
        if let Some(notifier) = &self.0.notifier {
            notifier.ring();
            notifier.access_changed_everywhere();
        }
        self.0.arrived.notify_one();
    }

    /// Waits until there are signals, and takes all of them.
    pub(super) async fn take(&self) -> PendingSignals {
        loop {
            let taken = std::mem::take(&mut *self.0.pending.lock().unwrap_or_else(PoisonError::into_inner));
            if taken != PendingSignals::default() {
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

    fn thread_signal(thread: u128) -> Hint {
        Hint {
            team_id: Uuid::nil(),
            moved: Moved::Thread(Uuid::from_u128(thread)),
        }
    }

    /// A lost signal may have been about access that has ended.
    #[tokio::test]
    async fn after_lost_signals_the_access_of_every_team_is_checked_again() {
        let notifier = Bell::default();
        let teams = [Uuid::from_u128(1), Uuid::from_u128(2), Uuid::now_v7()];
        let before = teams.map(|team| notifier.access_epoch(team));
        Mailbox::with_notifier(notifier.clone()).put_everything_changed();
        for (team, before) in teams.iter().zip(before) {
            assert_ne!(notifier.access_epoch(*team), before);
        }
    }

    #[tokio::test]
    async fn a_signal_wakes_the_waiting_reader() {
        let mailbox = Mailbox::default();
        let pending = tokio::spawn({
            let mailbox = mailbox.clone();
            async move { mailbox.take().await }
        });
        // The spawned task is waiting after this.
        tokio::task::yield_now().await;
        mailbox.put([thread_signal(1)]);
        let taken = tokio::time::timeout(std::time::Duration::from_secs(20), pending).await;
        assert_eq!(taken.unwrap().unwrap().hints, HashSet::from([thread_signal(1)]));
    }

    #[tokio::test]
    async fn signals_are_merged_and_too_many_become_everything_changed() {
        let mailbox = Mailbox::default();
        mailbox.put([thread_signal(1), thread_signal(2)]);
        mailbox.put([thread_signal(1)]);
        assert_eq!(
            mailbox.take().await.hints,
            HashSet::from([thread_signal(1), thread_signal(2)])
        );

        mailbox.put((0..=MAX_PENDING as u128).map(thread_signal));
        mailbox.put([thread_signal(1)]);
        let pending = mailbox.take().await;
        assert!(pending.everything && pending.hints.is_empty());
        mailbox.put([thread_signal(1)]);
        assert!(!mailbox.take().await.everything);
    }
}
