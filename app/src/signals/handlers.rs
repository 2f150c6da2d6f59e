//! Functions that handle signals at once.

use std::sync::Arc;

use crate::tenancy::{Signal, SignalTopic};

type Handler = Arc<dyn Fn(&Signal) + Send + Sync>;
type LossHandler = Arc<dyn Fn() + Send + Sync>;

/// Functions that handle signals of some topics as soon as they arrive, instead of keeping them for the local reader.
/// They must not wait.
#[derive(Clone, Default)]
pub struct SignalHandlers {
    handlers: Vec<(&'static str, Handler)>,
    on_loss: Vec<LossHandler>,
    pub(super) deferred: Vec<SignalTopic>,
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
    pub(super) fn handle(&self, signal: &Signal) -> bool {
        let of_topic = self.handlers.iter().filter(|(name, _)| *name == signal.topic.name());
        let mut handled = false;
        for (_, handle) in of_topic {
            handle(signal);
            handled = true;
        }
        handled
    }

    pub(super) fn handle_loss(&self) {
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
