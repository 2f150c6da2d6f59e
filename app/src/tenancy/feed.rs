//! Windows on what became visible between two moments: how a team's rows are followed.

use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::Query;
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

impl FeedWindow {
    /// Binds `$1` to `$9`: the team, what follows `since` and what was open then, the same of `until`, the three of the
    /// place, and the limit.
    pub(crate) fn bind<'q>(
        &self,
        query: Query<'q, Postgres, PgArguments>,
        team_id: Uuid,
        limit: i64,
    ) -> Query<'q, Postgres, PgArguments> {
        query
            .bind(team_id)
            .bind(self.since.next())
            .bind(self.since.open().to_vec())
            .bind(self.until.next())
            .bind(self.until.open().to_vec())
            .bind(self.after.transaction_id)
            .bind(self.after.id)
            .bind(self.after.seq)
            .bind(limit)
    }
}
