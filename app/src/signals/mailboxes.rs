//! The mailboxes of a database.

use std::collections::HashSet;
use std::sync::Arc;

use super::handlers::SignalHandlers;
use super::mailbox::Mailbox;
use crate::tenancy::{Signal, SignalSink, SignalTopic};

/// The signals of a database's transactions, until their readers take them. It is a part of the
/// [`Database`](crate::tenancy::Database). Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    pub(super) local: Mailbox,
    pub(super) remote: Mailbox,
    /// Deferred signals for other processes, which are published less often.
    pub(super) remote_deferred: Mailbox,
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
    pub(super) fn sink(&self) -> SignalSink {
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
}
