//! The topics of this slice's signals.

use uuid::Uuid;

use crate::tenancy::SignalTopic;

/// The name of [`thread_signal`].
pub(crate) const THREAD_NAME: &str = "thread";
/// The name of [`THREADS`].
pub(crate) const THREADS_NAME: &str = "threads";

/// The topic of signals that threads have new or changed messages, if there are too many threads to name.
pub(crate) const THREADS: SignalTopic = SignalTopic::new(THREADS_NAME);

/// Returns the topic of signals that a thread has new or changed messages.
pub(crate) const fn thread_signal(thread_id: Uuid) -> SignalTopic {
    SignalTopic::of(THREAD_NAME, thread_id)
}
