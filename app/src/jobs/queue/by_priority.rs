//! The queue's connection to the database, which keeps fetched jobs in the order of their priorities.
//!
//! `graphile_worker` 0.14 selects the jobs of a fetch by priority, locks them with `UPDATE … RETURNING`, and runs them
//! in the order in which that statement returns them. PostgreSQL promises no order there: depending on the plan of the
//! join, it is the order of the jobs' ids or of a hash table. The crate has no place where fetched jobs could be
//! sorted, but it takes any [`DatabaseDriver`]. So this driver sorts them.

use std::any::Any;
use std::cmp::Ordering;

use chrono::{DateTime, Utc};
use graphile_worker::{
    BoxFuture, Database, DatabaseDriver, DbError, DbExecutor, DbParams, DbRow, DbTransaction, NotificationStream,
};

/// Wraps another driver. Rows that are jobs are returned by priority, then by the time at which they are due, then by
/// id.
#[derive(Debug)]
pub(super) struct ByPriority(Database);

impl ByPriority {
    pub(super) fn new(database: impl Into<Database>) -> Self {
        Self(database.into())
    }
}

impl DatabaseDriver for ByPriority {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn begin(&self) -> BoxFuture<'_, Result<DbTransaction, DbError>> {
        Box::pin(self.0.begin())
    }

    fn listen<'a>(&'a self, channel: &'a str) -> BoxFuture<'a, Result<Option<NotificationStream>, DbError>> {
        Box::pin(self.0.listen(channel))
    }
}

impl DbExecutor for ByPriority {
    fn execute<'a>(&'a self, sql: &'a str, params: DbParams) -> BoxFuture<'a, Result<u64, DbError>> {
        self.0.execute(sql, params)
    }

    fn fetch_all<'a>(&'a self, sql: &'a str, params: DbParams) -> BoxFuture<'a, Result<Vec<DbRow>, DbError>> {
        Box::pin(async move {
            let mut rows = self.0.fetch_all(sql, params).await?;
            sort(&mut rows);
            Ok(rows)
        })
    }
}

/// Sorts jobs. Leaves other rows as they are.
fn sort(rows: &mut [DbRow]) {
    let key = |row: &DbRow| -> Option<(i16, DateTime<Utc>, i64)> {
        Some((
            row.try_get("priority").ok()?,
            row.try_get("run_at").ok()?,
            row.try_get("id").ok()?,
        ))
    };
    // The sort is stable. The rows of one statement have the same columns.
    rows.sort_by(|a, b| match (key(a), key(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => Ordering::Equal,
    });
}

#[cfg(test)]
mod tests {
    use graphile_worker::DbCell;
    use graphile_worker::row_mapping::cells;

    use super::*;

    fn job(priority: i16, due_ms: i64, id: i64) -> DbRow {
        cells([
            ("id", DbCell::I64(id)),
            ("priority", DbCell::I16(priority)),
            (
                "run_at",
                DbCell::TimestampTz(DateTime::from_timestamp_millis(due_ms).unwrap()),
            ),
        ])
    }

    fn ids(rows: &[DbRow]) -> Vec<i64> {
        rows.iter().map(|row| row.try_get("id").unwrap()).collect()
    }

    #[test]
    fn jobs_are_sorted_by_priority_then_due_time_then_id() {
        let mut rows = [job(9, 1, 1), job(1, 5, 2), job(-3, 9, 3), job(1, 4, 5), job(1, 4, 4)];
        sort(&mut rows);
        assert_eq!(ids(&rows), [3, 4, 5, 2, 1]);
    }

    #[test]
    fn other_rows_stay_as_they_are() {
        let mut rows = [3, 1, 2].map(|id| cells([("id", DbCell::I64(id))]));
        sort(&mut rows);
        assert_eq!(ids(&rows), [3, 1, 2]);
    }
}
