//! Queries of runs for live topics and stories.

use crate::runs::entity::{Column, Model};
use sea_orm::{ColumnTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _};
use sqlx::Row as _;
use uuid::Uuid;

use super::list::select_listed;
use crate::error::{Error, Result};
use crate::runs::view::RunView;
use crate::tenancy::{FeedPosition, FeedWindow, Snapshot, TeamTx, from_window};

/// A page of changes in a team's runs.
#[derive(Debug)]
pub struct RunFeedPage {
    /// The changed runs in their current state.
    pub runs: Vec<RunView>,
    /// The number of rows that were read.
    pub read: usize,
    /// The position of the last row.
    pub last: Option<FeedPosition>,
    /// The current snapshot.
    pub now: Snapshot,
}

/// Returns the next runs that changed in a window, at most `limit`.
///
/// # Errors
/// Any database error.
pub async fn feed(tx: &TeamTx, window: &FeedWindow, limit: i64) -> Result<RunFeedPage> {
    let query = sqlx::query(concat!(
        "SELECT now.snapshot, m.transaction_id, m.id",
        from_window!((
            "runs",
            "transaction_id, id, 0::bigint AS seq",
            "transaction_id, id, 0::bigint"
        )),
        "ORDER BY m.transaction_id, m.id",
    ));
    let rows = tx.fetch_all(window.bind(query, tx.team_id(), limit)).await?;
    let first = rows
        .first()
        .ok_or_else(|| Error::internal("the query returned no snapshot"))?;
    let now = first.try_get::<&str, _>("snapshot")?.parse().map_err(Error::internal)?;
    let mut places = Vec::new();
    for row in &rows {
        if let Some(transaction_id) = row.try_get::<Option<i64>, _>("transaction_id")? {
            places.push(FeedPosition {
                transaction_id,
                id: row.try_get("id")?,
                seq: 0,
            });
        }
    }
    // A run may have changed again after its position was read. Then the next window contains it, too.
    let runs = match places.is_empty() {
        true => Vec::new(),
        false => {
            let ids = places.iter().map(|place| place.id);
            let found = select_listed()
                .filter(Column::TeamId.eq(tx.team_id()))
                .filter(Column::Id.is_in(ids));
            found.all(tx).await?
        }
    };
    let mut runs: Vec<Option<Model>> = runs.into_iter().map(Some).collect();
    let changed = places.iter().filter_map(|place| {
        let run = runs
            .iter_mut()
            .find(|run| run.as_ref().is_some_and(|run| run.id == place.id));
        run.and_then(Option::take).map(RunView::listed)
    });
    Ok(RunFeedPage {
        runs: changed.collect(),
        read: places.len(),
        last: places.last().copied(),
        now,
    })
}

/// Returns the runs of a story in the order in which they were created.
///
/// # Errors
/// Any database error.
pub async fn of_story(tx: &TeamTx, correlation_id: Uuid, limit: u64) -> Result<Vec<RunView>> {
    let found = select_listed()
        .filter(Column::TeamId.eq(tx.team_id()))
        .filter(Column::CorrelationId.eq(correlation_id));
    let runs = found.order_by_asc(Column::Id).limit(limit).all(tx).await?;
    Ok(runs.into_iter().map(RunView::listed).collect())
}
