//! Reads the rows of a team that became visible between two snapshots, so that a client can follow them.

use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::Query;
use uuid::Uuid;

use super::Snapshot;

/// A position in a team's rows, in the order in which they are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FeedPlace {
    /// The transaction that wrote the row.
    pub transaction_id: i64,
    /// The row's thread or session.
    pub id: Uuid,
    /// The row's position there.
    pub seq: i64,
}

/// Which of a team's rows to read.
#[derive(Debug, Clone)]
pub struct FeedWindow {
    /// The rows that were visible at this snapshot have been read.
    pub since: Snapshot,
    /// The rows that were not visible at this snapshot are left for later; [`Snapshot::EVERYTHING`] for all rows that
    /// are visible now.
    pub until: Snapshot,
    /// Only rows after this position are read.
    pub after: FeedPlace,
}

impl FeedWindow {
    /// Binds `$1` to `$9`: the team; the next id and the open ids of `since`, and of `until`; the three parts of the
    /// position; and the limit.
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
