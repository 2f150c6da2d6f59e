//! Wakes the relay and the workers of a process, and passes on requests to cancel sessions.

use std::sync::Arc;

use tokio::sync::{Notify, broadcast};
use uuid::Uuid;

use crate::events::{WORK, WORK_NAME};
use crate::signals::SignalHandlers;
use crate::tenancy::SignalTopic;

/// Signal: job sessions of a team have begun, ended, or have new actions.
pub(crate) const JOB_SESSIONS: SignalTopic = SignalTopic::new(JOB_SESSIONS_NAME);
/// The name of [`JOB_SESSIONS`].
pub(crate) const JOB_SESSIONS_NAME: &str = "job_sessions";
const CANCELLED: &str = "cancelled";

/// Signal: cancellation of this session was requested.
pub(super) const fn cancelled(session_id: Uuid) -> SignalTopic {
    SignalTopic::of(CANCELLED, session_id)
}

/// Wakes the tasks of this process when there may be work, or when a session is to be cancelled. The signal may come
/// from another process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Notifier {
    work: Arc<Notify>,
    cancelled: broadcast::Sender<Uuid>,
}

impl Default for Notifier {
    fn default() -> Self {
        Self {
            work: Arc::default(),
            cancelled: broadcast::Sender::new(64),
        }
    }
}

impl Notifier {
    /// Adds the signal handlers that wake this notifier's tasks.
    pub(crate) fn handle(&self, handlers: SignalHandlers) -> SignalHandlers {
        let (on_work, on_cancelled, on_loss) = (self.clone(), self.clone(), self.clone());
        handlers
            .defer(WORK)
            .on(WORK_NAME, move |_| on_work.notify_work())
            .on(CANCELLED, move |signal| {
                if let Some(session_id) = signal.topic.id() {
                    on_cancelled.cancel(session_id);
                }
            })
            .on_loss(move || on_loss.notify_work())
    }

    /// Notifies that there may be work. Several notifications without a waiting task are merged into one.
    pub fn notify_work(&self) {
        self.work.notify_one();
    }

    /// Waits until there may be work.
    pub async fn work(&self) {
        self.work.notified().await;
    }

    /// Notifies this process that a session is to be cancelled.
    pub fn cancel(&self, session_id: Uuid) {
        // There may be no receiver.
        let _ = self.cancelled.send(session_id);
    }

    /// Returns a receiver of the ids of sessions that are to be cancelled. It receives the ids that are sent after this
    /// call.
    pub fn cancelled(&self) -> broadcast::Receiver<Uuid> {
        self.cancelled.subscribe()
    }
}
