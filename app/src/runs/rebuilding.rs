//! Rebuilds summaries from logs.

use daybook_run_log::RunKey;
use uuid::Uuid;

use super::registry::Runs;
use super::status::RunStatus;
use super::store::{self, RunFilter};
use crate::error::{Error, Result};
use crate::tenancy::{Context, Database};

/// The number of runs that are read at once.
const PAGE: u64 = 500;

/// The result of rebuilding a summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rebuilt {
    /// The new summary has the same bytes as the stored one.
    Same,
    /// The new summary differs from the stored one.
    Differs,
    /// The log is not in this storage, or was deleted.
    NoLog,
}

impl Runs {
    /// Returns the runs that have ended and have a log, the newest first.
    ///
    /// # Errors
    /// Any database error.
    pub async fn ended(&self, database: &Database, context: &Context) -> Result<Vec<Uuid>> {
        let mut ended = Vec::new();
        let mut after = None;
        loop {
            let tx = database.read(context).await?;
            let page = store::list(&tx, &RunFilter::default(), after, PAGE).await?;
            tx.commit().await?;
            let is_last = u64::try_from(page.len()).unwrap_or_default() <= PAGE;
            after = page.last().map(|run| run.id);
            let done = page
                .into_iter()
                .filter(|run| run.completed_at.is_some() && run.log_state != "deleted");
            ended.extend(done.map(|run| run.id));
            if is_last {
                return Ok(ended);
            }
        }
    }

    /// Computes a run's summary from its log again. If the summary differs and `write` is true, stores it.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] for a run that has not ended.
    pub async fn rebuild_summary(
        &self,
        database: &Database,
        context: &Context,
        run_id: Uuid,
        write: bool,
    ) -> Result<Rebuilt> {
        let run = RunKey {
            team_id: context.team_id,
            run_id,
        };
        let tx = database.read(context).await?;
        let row = store::get(&tx, run_id).await?;
        let stored = store::summary(&tx, run_id).await?;
        tx.commit().await?;
        if !row.status.parse::<RunStatus>()?.is_final() {
            return Err(Error::conflict("no-summary-yet", format!("run {run_id} has not ended")));
        }
        let (text, summary, _) = match self.summarise(run).await {
            Err(Error::NotFound { .. }) => return Ok(Rebuilt::NoLog),
            summarised => summarised?,
        };
        if stored.as_deref() == Some(text.as_str()) {
            return Ok(Rebuilt::Same);
        }
        if write {
            let tx = database.begin(context).await?;
            store::set_summary(&tx, run_id, &text, &summary).await?;
            tx.commit().await?;
        }
        Ok(Rebuilt::Differs)
    }
}
