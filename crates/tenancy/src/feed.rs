//! Reads the rows of a team that became visible between two snapshots, so that a client can follow them.

use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::Query;
use uuid::Uuid;

use super::Snapshot;

/// A position in a team's rows, in the order in which they are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FeedPosition {
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
    pub after: FeedPosition,
}

impl FeedWindow {
    /// Binds `$1` to `$9`: the team; the next id and the open ids of `since`, and of `until`; the three parts of the
    /// position; and the limit.
    pub fn bind<'q>(
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

/// SQL, as a literal for `concat!`, after `SELECT …`: the rows of a [`FeedWindow`] as `m`, beside the statement's
/// snapshot in `now`. There is one row without an `m` if the window is empty. The parameters are those of
/// [`FeedWindow::bind`].
///
/// It takes one or more tables, each with the columns to select and with SQL for its [`FeedPosition`]. The selected
/// columns begin with those of the position.
///
/// It reads two ranges of each table's index: the transactions that had not begun at the window's start, and those that
/// were open then.
#[macro_export]
#[doc(hidden)]
macro_rules! from_window {
    (@table ($name:literal, $columns:literal, $position:literal)) => {
        concat!(
            $crate::from_window!(@range $name, $columns, $position, ">= $2"),
            " UNION ALL ",
            $crate::from_window!(@range $name, $columns, $position, "= ANY ($3)")
        )
    };
    (@range $name:literal, $columns:literal, $position:literal, $transactions:literal) => {
        concat!(
            "
             (SELECT ", $columns, " FROM ", $name, "
              WHERE team_id = $1 AND transaction_id ", $transactions, "
                  AND transaction_id < now.until AND transaction_id <> ALL ($5) AND (", $position, ") > ($6, $7, $8)
              ORDER BY 1, 2, 3 LIMIT $9)"
        )
    };
    ($first:tt $(, $table:tt)*) => {
        concat!(
            " FROM (SELECT pg_current_snapshot()::text AS snapshot,
             -- No program writes a row with the number of a transaction that has not begun. Such a row would stay new
             -- for ever.
             least($4, pg_snapshot_xmax(pg_current_snapshot())::text::bigint) AS until) now
         LEFT JOIN LATERAL (",
            $crate::from_window!(@table $first),
            $(" UNION ALL ", $crate::from_window!(@table $table),)*
            " ORDER BY 1, 2, 3 LIMIT $9
         ) m ON true "
        )
    };
}
