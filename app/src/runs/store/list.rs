//! Lists of runs.

use crate::runs::entity::{Column, Entity, Model};
use chrono::{DateTime, Utc};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, Iterable as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, Select,
};
use uuid::Uuid;

use crate::error::Result;
use crate::runs::status::RunStatus;
use crate::runs::view::LISTED_OUTPUTS;
use crate::tenancy::TeamTx;

/// Selects runs for lists ([`RunView::listed`](crate::runs::view::RunView::listed)): of a run's outputs, only the first
/// [`LISTED_OUTPUTS`], and one more if there are more.
pub(super) fn select_listed() -> Select<Entity> {
    let outputs = format!("jsonb_path_query_array(output_paths, '$[0 to {LISTED_OUTPUTS}]')");
    Entity::find()
        .select_only()
        .columns(Column::iter().filter(|column| !matches!(column, Column::OutputPaths)))
        .column_as(Expr::cust(outputs), Column::OutputPaths)
}

/// The filter of a list of runs.
#[derive(Debug, Default)]
pub(in crate::runs) struct RunFilter {
    pub(in crate::runs) status: Option<RunStatus>,
    pub(in crate::runs) configuration_id: Option<String>,
    pub(in crate::runs) job_session_id: Option<Uuid>,
    pub(in crate::runs) correlation_id: Option<Uuid>,
    pub(in crate::runs) since: Option<DateTime<Utc>>,
    pub(in crate::runs) until: Option<DateTime<Utc>>,
    pub(in crate::runs) exit_code: Option<i32>,
    /// The severities that match: the requested one and all higher ones.
    pub(in crate::runs) severity: Option<&'static [&'static str]>,
    pub(in crate::runs) min_rows: Option<i64>,
    pub(in crate::runs) min_tables: Option<i32>,
    pub(in crate::runs) min_files: Option<i32>,
}

/// Returns runs, the newest first. Returns `limit` + 1 runs if there are more than `limit`.
///
/// # Errors
/// Any database error.
pub(in crate::runs) async fn list(
    tx: &TeamTx,
    filter: &RunFilter,
    after: Option<Uuid>,
    limit: u64,
) -> Result<Vec<Model>> {
    let mut found = select_listed().filter(Column::TeamId.eq(tx.team_id()));
    let conditions = [
        after.map(|id| Column::Id.lt(id)),
        filter.status.map(|status| Column::Status.eq(status.as_str())),
        filter
            .configuration_id
            .as_ref()
            .map(|id| Column::ConfigurationId.eq(id.clone())),
        filter.job_session_id.map(|id| Column::JobSessionId.eq(id)),
        filter.correlation_id.map(|id| Column::CorrelationId.eq(id)),
        filter.since.map(|at| Column::CreatedAt.gte(at)),
        filter.until.map(|at| Column::CreatedAt.lt(at)),
        filter.exit_code.map(|code| Column::ExitCode.eq(code)),
        filter
            .severity
            .map(|severities| Column::MaxValidationSeverity.is_in(severities.iter().copied())),
        filter.min_rows.map(|rows| Column::RowCount.gte(rows)),
        filter.min_tables.map(|tables| Column::TableCount.gte(tables)),
        filter.min_files.map(|files| Column::InputFileCount.gte(files)),
    ];
    for condition in conditions.into_iter().flatten() {
        found = found.filter(condition);
    }
    Ok(found.order_by_desc(Column::Id).limit(limit + 1).all(tx).await?)
}
