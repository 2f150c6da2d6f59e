//! Keeps signals until they are read. Equal signals are merged and their number is limited, so writers never wait.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::handlers::SignalHandlers;
use crate::tenancy::Signal;

/// Maximum number of separate signals. When there are more, they are replaced by "everything changed".
const MAX_PENDING: usize = 8_192;

/// The pending signals of one reader.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mailbox(Arc<MailboxInner>);

#[derive(Debug, Default)]
struct MailboxInner {
    pending: Mutex<PendingSignals>,
    arrived: Notify,
    /// Handle the signals of some topics as soon as they arrive. Only the other signals are kept.
    handlers: SignalHandlers,
}

/// The signals since the last read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PendingSignals {
    pub(crate) signals: HashSet<Signal>,
    /// Whether signals were lost or dropped, so that everything may have changed.
    pub(crate) everything: bool,
}

impl Mailbox {
    /// Creates a mailbox that keeps only signals that no handler handles.
    pub(crate) fn with_handlers(handlers: SignalHandlers) -> Self {
        Self(Arc::new(MailboxInner {
            handlers,
            ..MailboxInner::default()
        }))
    }

    pub(super) fn put(&self, signals: impl IntoIterator<Item = Signal>) {
        let mut signals = signals.into_iter().peekable();
        if signals.peek().is_none() {
            return;
        }
        {
            let mut pending = self.0.pending.lock();
            for signal in signals {
                if self.0.handlers.handle(&signal) {
                    continue;
                }
                if pending.everything {
                    continue;
                }
                pending.signals.insert(signal);
                if pending.signals.len() > MAX_PENDING {
                    pending.signals = HashSet::new();
                    pending.everything = true;
                }
            }
        }
        self.0.arrived.notify_one();
    }

    pub(crate) fn put_everything_changed(&self) {
        *self.0.pending.lock() = PendingSignals {
            signals: HashSet::new(),
            everything: true,
        };
        self.0.handlers.handle_loss();
        self.0.arrived.notify_one();
    }

    /// Waits until there are signals, and takes all of them.
    pub(crate) async fn take(&self) -> PendingSignals {
        loop {
            let taken = std::mem::take(&mut *self.0.pending.lock());
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
    use crate::tenancy::SignalTopic;

    fn thread_signal(thread: u128) -> Signal {
        Signal {
            team_id: Uuid::nil(),
            topic: SignalTopic::of("thread", Uuid::from_u128(thread)),
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
        assert_eq!(taken.unwrap().unwrap().signals, HashSet::from([thread_signal(1)]));
    }

    #[tokio::test]
    async fn signals_are_merged_and_too_many_become_everything_changed() {
        let mailbox = Mailbox::default();
        mailbox.put([thread_signal(1), thread_signal(2)]);
        mailbox.put([thread_signal(1)]);
        assert_eq!(
            mailbox.take().await.signals,
            HashSet::from([thread_signal(1), thread_signal(2)])
        );

        mailbox.put((0..=MAX_PENDING as u128).map(thread_signal));
        mailbox.put([thread_signal(1)]);
        let pending = mailbox.take().await;
        assert!(pending.everything && pending.signals.is_empty());
        mailbox.put([thread_signal(1)]);
        assert!(!mailbox.take().await.everything);
    }
}
