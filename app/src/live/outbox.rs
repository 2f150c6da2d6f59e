//! The short queue from the service's task to a socket's own task. The service never waits for room in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::{Notify, mpsc};
use uuid::Uuid;

use super::frames::ThreadFrame;
use super::hub::TeamTopic;
use crate::threads::Cursor;

/// Maximum number of deliveries that wait for a socket. A socket that is further behind reads for itself, at its own
/// pace.
const MAX_QUEUED_DELIVERIES: usize = 32;

/// A delivery to a socket.
#[derive(Debug, Clone)]
pub(super) enum QueuedDelivery {
    /// The changes of a thread between two positions.
    Thread {
        id: Uuid,
        from: Cursor,
        to: Cursor,
        frames: Arc<[ThreadFrame]>,
    },
    /// The topic has changed: the socket must read it itself.
    Changed(TeamTopic),
}

/// A signal that reaches a socket even if its queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ControlSignal {
    /// A delivery was dropped: read all topics.
    DeliveryLost = 1,
    /// The member is no longer in the team.
    NotAMember = 2,
    /// The service stops.
    GoingAway = 4,
}

#[derive(Debug, Default)]
struct PendingControl {
    signals: AtomicU8,
    changed: Notify,
}

/// The sender, held by the service's task.
#[derive(Debug)]
pub(super) struct SocketOutbox {
    queue: mpsc::Sender<QueuedDelivery>,
    control: Arc<PendingControl>,
}

/// The receiver, held by the socket's task.
#[derive(Debug)]
pub(super) struct SocketInbox {
    queue: mpsc::Receiver<QueuedDelivery>,
    control: Arc<PendingControl>,
}

/// What a socket receives from its inbox.
#[derive(Debug)]
pub(super) enum InboxItem {
    Delivery(QueuedDelivery),
    Control(Vec<ControlSignal>),
}

pub(super) fn pair() -> (SocketOutbox, SocketInbox) {
    let (sender, receiver) = mpsc::channel(MAX_QUEUED_DELIVERIES);
    let control = Arc::<PendingControl>::default();
    (
        SocketOutbox {
            queue: sender,
            control: control.clone(),
        },
        SocketInbox {
            queue: receiver,
            control,
        },
    )
}

impl SocketOutbox {
    pub(super) fn deliver(&self, delivery: QueuedDelivery) {
        if self.queue.try_send(delivery).is_err() {
            self.control(ControlSignal::DeliveryLost);
        }
    }

    pub(super) fn control(&self, signal: ControlSignal) {
        self.control.signals.fetch_or(signal as u8, Ordering::AcqRel);
        self.control.changed.notify_one();
    }
}

impl SocketInbox {
    /// Waits for the next item. Cancel-safe.
    pub(super) async fn next(&mut self) -> InboxItem {
        tokio::select! {
            biased;
            () = self.control.changed.notified() => {
                let control = self.control.signals.swap(0, Ordering::AcqRel);
                let all = [ControlSignal::GoingAway, ControlSignal::NotAMember, ControlSignal::DeliveryLost];
                InboxItem::Control(all.into_iter().filter(|signal| control & *signal as u8 != 0).collect())
            }
            delivery = self.queue.recv() => match delivery {
                Some(delivery) => InboxItem::Delivery(delivery),
                // The service's task has ended.
                None => InboxItem::Control(vec![ControlSignal::GoingAway]),
            },
        }
    }
}
