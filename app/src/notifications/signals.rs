//! The topic of this slice's signals.

use uuid::Uuid;

use crate::tenancy::SignalTopic;

/// The name of [`notifications_signal`].
pub(crate) const NOTIFICATIONS_NAME: &str = "notifications";

/// Returns the topic of signals that a person's notifications have changed.
pub(crate) const fn notifications_signal(user_id: Uuid) -> SignalTopic {
    SignalTopic::of(NOTIFICATIONS_NAME, user_id)
}
