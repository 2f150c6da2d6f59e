//! Signals after a commit, from transactions to the relay, workers and sockets of this process and of others.
//!
//! **Parts.** A committed transaction passes its signals to [`Signals`]. If a topic has a handler, its signals are
//! handled at once, in the committing task. All other signals wait, merged, in a *mailbox* until the local reader takes
//! them. Two further mailboxes keep the signals for the other processes of the database. A *bridge* publishes these,
//! and passes on the signals that the other processes publish. Between processes, signals are sent with LISTEN and
//! NOTIFY, on separate connections (`channel`).
//!
//! **Invariant:** the number of buffered signals is limited. Too many different signals are replaced by "everything has
//! changed".
//!
//! Topics are opaque here: each module names its own ([`SignalTopic`]).

mod bridge;
pub mod channel;
mod mailbox;
mod parts;

use std::collections::HashSet;
use std::sync::Arc;

use sqlx::postgres::PgConnectOptions;

pub(crate) use self::mailbox::{Mailbox, PendingSignals};
use crate::tenancy::{Signal, SignalSink, SignalTopic};

/// The signals of a database's transactions, until their readers take them. It is a part of the
/// [`Database`](crate::tenancy::Database). Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    local: Mailbox,
    remote: Mailbox,
    /// Deferred signals for other processes, which are published less often.
    remote_deferred: Mailbox,
    deferred: Arc<HashSet<SignalTopic>>,
}

impl Signals {
    /// Creates the signals of a database. `handlers` defines which of them are handled at once, and which are published
    /// less often.
    pub fn new(handlers: SignalHandlers) -> Self {
        Self {
            deferred: Arc::new(handlers.deferred.iter().cloned().collect()),
            local: Mailbox::with_handlers(handlers),
            ..Self::default()
        }
    }

    /// Returns the function with which a database's transactions publish their signals.
    fn sink(&self) -> SignalSink {
        let signals = self.clone();
        SignalSink::new(move |published| {
            let (deferred, urgent): (Vec<Signal>, Vec<Signal>) = published
                .iter()
                .cloned()
                .partition(|signal| signals.deferred.contains(&signal.topic));
            signals.remote.put(urgent);
            signals.remote_deferred.put(deferred);
            signals.local.put(published);
        })
    }

    /// Returns the mailbox with the signals of this process and of others that no handler has handled. It has one
    /// reader.
    pub(crate) fn local(&self) -> &Mailbox {
        &self.local
    }

    /// Exchanges signals with the other processes of the database, over separate connections; never returns.
    pub(crate) async fn exchange(self, connect: PgConnectOptions) {
        bridge::relay_signals(connect, self).await;
    }
}

type Handler = Arc<dyn Fn(&Signal) + Send + Sync>;
type LossHandler = Arc<dyn Fn() + Send + Sync>;

/// Functions that handle signals of some topics as soon as they arrive, instead of keeping them for the local reader.
/// They must not wait.
#[derive(Clone, Default)]
pub struct SignalHandlers {
    handlers: Vec<(&'static str, Handler)>,
    on_loss: Vec<LossHandler>,
    deferred: Vec<SignalTopic>,
}

impl SignalHandlers {
    /// Calls `handle` for each signal whose topic has this name.
    #[must_use]
    pub fn on(mut self, name: &'static str, handle: impl Fn(&Signal) + Send + Sync + 'static) -> Self {
        self.handlers.push((name, Arc::new(handle)));
        self
    }

    /// Calls `handle` when signals may have been lost.
    #[must_use]
    pub fn on_loss(mut self, handle: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_loss.push(Arc::new(handle));
        self
    }

    /// Publishes signals of this topic to other processes less often, since no user interface waits for them.
    #[must_use]
    pub fn defer(mut self, topic: SignalTopic) -> Self {
        self.deferred.push(topic);
        self
    }

    /// Returns whether a handler handled the signal.
    fn handle(&self, signal: &Signal) -> bool {
        let of_topic = self.handlers.iter().filter(|(name, _)| *name == signal.topic.name());
        let mut handled = false;
        for (_, handle) in of_topic {
            handle(signal);
            handled = true;
        }
        handled
    }

    fn handle_loss(&self) {
        for handle in &self.on_loss {
            handle();
        }
    }
}

impl std::fmt::Debug for SignalHandlers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.handlers.iter().map(|(name, _)| name))
            .finish()
    }
}
