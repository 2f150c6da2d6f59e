//! Tracks changes of access to teams, so that a cached check of a credential becomes invalid.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

use crate::signals::SignalHandlers;
use crate::tenancy::SignalTopic;

const ACCESS_NAME: &str = "access";
/// The topic of the signals that a member or an API key has lost its access to a team, or part of it.
pub(crate) const ACCESS: SignalTopic = SignalTopic::new(ACCESS_NAME);
/// Number of counters. Teams share them, so that memory use is bounded.
const SLOTS: usize = 256;

/// Counts the changes of access to teams. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AccessEpochs(Arc<[AtomicU64; SLOTS]>);

impl Default for AccessEpochs {
    fn default() -> Self {
        Self(Arc::new([const { AtomicU64::new(0) }; SLOTS]))
    }
}

impl AccessEpochs {
    /// Adds the signal handlers that advance the counters.
    pub(crate) fn handle(&self, handlers: SignalHandlers) -> SignalHandlers {
        let (on_access, on_loss) = (self.clone(), self.clone());
        handlers
            .on(ACCESS_NAME, move |signal| {
                on_access.slot(signal.team_id).fetch_add(1, Ordering::AcqRel);
            })
            .on_loss(move || on_loss.advance_all())
    }

    /// Returns a number that differs after each change of access to this team. A change in another team may change it
    /// too.
    pub fn of(&self, team_id: Uuid) -> u64 {
        self.slot(team_id).load(Ordering::Acquire)
    }

    /// Advances the counters of all teams, because a lost signal may have been about any of them.
    fn advance_all(&self) {
        for slot in self.0.iter() {
            slot.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn slot(&self, team_id: Uuid) -> &AtomicU64 {
        // The last byte of a UUIDv7 is random.
        &self.0[usize::from(team_id.as_bytes()[15]) % SLOTS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signals::Mailbox;

    /// A lost signal may have been about access that has ended.
    #[tokio::test]
    async fn after_lost_signals_the_access_of_every_team_is_checked_again() {
        let epochs = AccessEpochs::default();
        let teams = [Uuid::from_u128(1), Uuid::from_u128(2), Uuid::now_v7()];
        let before = teams.map(|team| epochs.of(team));
        Mailbox::with_handlers(epochs.handle(SignalHandlers::default())).put_everything_changed();
        for (team, before) in teams.iter().zip(before) {
            assert_ne!(epochs.of(*team), before);
        }
    }
}
