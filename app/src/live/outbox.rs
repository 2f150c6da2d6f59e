//! The way from the task that hears hints to a socket's own task: short, and never waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::{Notify, mpsc};
use uuid::Uuid;

use super::frames::Step;
use super::hub::Subject;
use crate::threads::Cursor;

/// Deliveries that may wait for a socket. One that is further behind reads for itself, at its own pace.
const QUEUED: usize = 32;

/// Something for a socket.
#[derive(Debug, Clone)]
pub(super) enum Delivery {
    /// What happened in a thread from one place to another.
    Thread {
        id: Uuid,
        from: Cursor,
        to: Cursor,
        steps: Arc<[Step]>,
    },
    /// Look for yourself.
    Look(Subject),
}

/// What is said to a socket whatever waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ring {
    /// A delivery was lost: look at everything.
    Lost = 1,
    /// Its member is none any longer.
    NoMember = 2,
    /// The service stops.
    GoingAway = 4,
}

#[derive(Debug, Default)]
struct Bell {
    rings: AtomicU8,
    rung: Notify,
}

/// The task's end.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: mpsc::Sender<Delivery>,
    bell: Arc<Bell>,
}

/// The socket's end.
#[derive(Debug)]
pub(super) struct Inbox {
    queue: mpsc::Receiver<Delivery>,
    bell: Arc<Bell>,
}

/// What a socket finds in its inbox.
#[derive(Debug)]
pub(super) enum Found {
    Delivery(Delivery),
    Rings(Vec<Ring>),
}

pub(super) fn pair() -> (Outbox, Inbox) {
    let (sender, receiver) = mpsc::channel(QUEUED);
    let bell = Arc::<Bell>::default();
    (
        Outbox {
            queue: sender,
            bell: bell.clone(),
        },
        Inbox { queue: receiver, bell },
    )
}

impl Outbox {
    pub(super) fn deliver(&self, delivery: Delivery) {
        if self.queue.try_send(delivery).is_err() {
            self.ring(Ring::Lost);
        }
    }

    pub(super) fn ring(&self, ring: Ring) {
        self.bell.rings.fetch_or(ring as u8, Ordering::AcqRel);
        self.bell.rung.notify_one();
    }
}

impl Inbox {
    /// Waits for the next thing; safe to be given up.
    pub(super) async fn next(&mut self) -> Found {
        tokio::select! {
            biased;
            () = self.bell.rung.notified() => {
                let rings = self.bell.rings.swap(0, Ordering::AcqRel);
                let all = [Ring::GoingAway, Ring::NoMember, Ring::Lost];
                Found::Rings(all.into_iter().filter(|ring| rings & *ring as u8 != 0).collect())
            }
            delivery = self.queue.recv() => match delivery {
                Some(delivery) => Found::Delivery(delivery),
                // The task has ended, and the service with it.
                None => Found::Rings(vec![Ring::GoingAway]),
            },
        }
    }
}
