//! Windows on what became visible between two moments: how a team's rows are followed.

use uuid::Uuid;

use super::Snapshot;

/// A place among a team's rows, in the order in which they are told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FeedPlace {
    /// The transaction that wrote it.
    pub transaction_id: i64,
    /// What it belongs to: its thread, its session.
    pub id: Uuid,
    /// Its place there.
    pub seq: i64,
}

/// Which of a team's rows to read.
#[derive(Debug, Clone)]
pub struct FeedWindow {
    /// What was visible then has been read.
    pub since: Snapshot,
    /// What was not visible then is for later; [`Snapshot::EVERYTHING`] for what is visible now.
    pub until: Snapshot,
    /// Of these, those after this place.
    pub after: FeedPlace,
}
