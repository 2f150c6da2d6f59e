//! The end of a run: its last line with the summary, and then its row.
//!
//! The line comes first. If the process dies between the two, who takes the log up finds its end there, and tells the
//! database.

use std::sync::Arc;

use chrono::Utc;
use daybook_entity::run::Model;
use serde::Deserialize;
use serde_json::Value;
use serde_json::json;
use serde_json::value::RawValue;

use super::slot::{own, raw};
use super::{Found, OpenLog, Runs, not_here};
use crate::error::{Error, Result};
use crate::runs::log::{Lines, Log, Read, RunKey, Source, moment};
use crate::runs::new_run::Ending;
use crate::runs::status::RunStatus;
use crate::runs::store::{self, Ended};
use crate::runs::summary::{Fold, RunSummary};
use crate::tenancy::{Context, Database};

/// The type of a run's last line.
const COMPLETED: &str = "run.completed";

/// What became of an end.
#[derive(Debug)]
pub(in crate::runs) enum Over {
    /// The run, which this call has ended.
    Now(Box<Model>),
    /// The run, as it had ended before.
    Before(Box<Model>),
    /// Its log is another process's: there.
    Elsewhere(String),
}

/// What a run's last line says of its end.
#[derive(Debug, Deserialize)]
struct Completed {
    status: String,
    exit_code: Option<i32>,
    failure: Option<Value>,
    reason: Option<String>,
    #[serde(default)]
    output_paths: Value,
}

impl Runs {
    /// Ends a run as `context`: no line is taken any more, the summary is made, and both are told. One that has ended
    /// stays as it is.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] for an end that may not come now; [`Error::Unavailable`] when the log can't
    /// be written: then the run goes on.
    pub(in crate::runs) async fn end(
        &self,
        database: &Database,
        context: &Context,
        run: RunKey,
        ending: Ending,
    ) -> Result<Over> {
        let slot = self.slot(run);
        let _turn = slot.ending.lock().await;
        let open = match self.find(database, run).await? {
            Found::Open(open) => open,
            Found::Elsewhere(url) => return Ok(Over::Elsewhere(url)),
            Found::Closed => return self.as_it_ended(database, run).await,
            Found::NotHere => return Err(not_here()),
        };
        // The line was written before, and could not be told.
        if open.log.has_ended() {
            self.end_as_the_log_says(database, run, &open.log).await?;
            return self.as_it_ended(database, run).await;
        }
        let tx = database.read(&Context::system(run.team_id, "run logs")).await?;
        let now: RunStatus = store::get(&tx, run.run_id).await?.status.parse()?;
        tx.commit().await?;
        now.moved_to(ending.status)?;

        let ended = match self.write_end(run, &open, &ending).await {
            Ok(ended) => ended,
            Err(error) => {
                open.log.reopen();
                self.degraded(database, run);
                return Err(error);
            }
        };
        let (model, now) = self.tell_end(database, context, run, &open.log, &ended).await?;
        let model = Box::new(model);
        Ok(if now { Over::Now(model) } else { Over::Before(model) })
    }

    async fn as_it_ended(&self, database: &Database, run: RunKey) -> Result<Over> {
        let tx = database.read(&Context::system(run.team_id, "run logs")).await?;
        let ended = store::get(&tx, run.run_id).await?;
        tx.commit().await?;
        Ok(Over::Before(Box::new(ended)))
    }

    /// Ends a run whose log is not here, without it. Returns whether this call has ended it.
    ///
    /// # Errors
    /// As any statement.
    pub(super) async fn end_without_log(&self, database: &Database, run: RunKey, ending: &Ending) -> Result<bool> {
        let tx = database.begin(&Context::system(run.team_id, "run logs")).await?;
        let ended = Ended {
            status: ending.status,
            exit_code: ending.exit_code,
            failure: ending.failure_json(),
            output_paths: json!([]),
            completed_at: Utc::now(),
            reason: ending.reason.clone(),
            summary: None,
            log_bytes: 0,
        };
        let (_, now) = store::end(&tx, run.run_id, &ended).await?;
        tx.commit().await?;
        Ok(now)
    }

    /// Writes the last line. Before it every line that was taken is safe.
    async fn write_end(&self, run: RunKey, open: &OpenLog, ending: &Ending) -> Result<Ended> {
        let log = &open.log;
        log.close_when_safe().await?;
        let completed_at = Utc::now();
        let mut payload = json!({
            "status": ending.status,
            "exit_code": ending.exit_code,
            "failure": ending.failure,
            "reason": ending.reason,
            "output_paths": ending.output_paths,
        });
        let bytes = log.durable().borrow().bytes;
        let mut fold = self.fold(run, Some(bytes)).await?;
        fold.take(COMPLETED, &moment(completed_at), &raw(&payload));
        let summary = fold.finish();
        let text = serde_json::to_string(&summary)?;
        payload["summary"] = serde_json::to_value(RawValue::from_string(text.clone())?)?;
        let said = raw(&payload);
        let mut line = own(COMPLETED, Some(&said));
        line.created_at = Some(moment(completed_at).into());
        open.settled.home().append_own(log, line, true).await?;
        Ok(Ended {
            status: ending.status,
            exit_code: ending.exit_code,
            failure: ending.failure_json(),
            output_paths: json!(ending.output_paths),
            completed_at,
            reason: ending.reason.clone(),
            summary: Some((text, summary)),
            log_bytes: 0,
        })
    }

    /// Ends a run whose log has its end already.
    ///
    /// # Errors
    /// As any statement.
    pub(super) async fn end_as_the_log_says(&self, database: &Database, run: RunKey, log: &Arc<Log>) -> Result<()> {
        let (text, summary, last) = self.summarise(run).await?;
        let said: Completed = serde_json::from_str(last.as_deref().unwrap_or("{}"))?;
        let completed_at = summary.completed_at.as_deref().and_then(|at| at.parse().ok());
        let ended = Ended {
            status: said.status.parse()?,
            exit_code: said.exit_code,
            failure: said.failure,
            output_paths: if said.output_paths.is_array() {
                said.output_paths
            } else {
                json!([])
            },
            completed_at: completed_at.unwrap_or_else(Utc::now),
            reason: said.reason,
            summary: Some((text, summary)),
            log_bytes: 0,
        };
        let context = Context::system(run.team_id, "run logs");
        self.tell_end(database, &context, run, log, &ended).await?;
        Ok(())
    }

    /// Makes the log's file safe by itself, writes the end into the run's row, and lets readers and the log go. Returns the run
    /// with whether this call has ended it.
    async fn tell_end(
        &self,
        database: &Database,
        context: &Context,
        run: RunKey,
        log: &Arc<Log>,
        ended: &Ended,
    ) -> Result<(Model, bool)> {
        let syncing = log.clone();
        let safe_bytes = tokio::task::spawn_blocking(move || syncing.sync())
            .await
            .map_err(Error::internal)??;
        let ended = Ended {
            log_bytes: i64::try_from(safe_bytes).unwrap_or(i64::MAX),
            ..ended.clone()
        };
        let tx = database.begin(context).await?;
        let ended = store::end(&tx, run.run_id, &ended).await?;
        tx.commit().await?;
        log.complete();
        self.slots().remove(&run);
        Ok(ended)
    }

    /// A log's summary, made from its lines: as text, and what its last line says if that is the run's end.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a log that is not here; [`Error::Unavailable`].
    pub(in crate::runs) async fn summarise(&self, run: RunKey) -> Result<(String, RunSummary, Option<String>)> {
        let mut source = self.source(run)?;
        tokio::task::spawn_blocking(move || {
            let mut fold = Fold::default();
            let mut lines = Lines::new(0, source.length());
            let mut last = None;
            while let Some(line) = lines.next(&mut source).map_err(Error::internal)? {
                fold.line(line);
                last = Read::of(line)
                    .filter(|read| read.kind == COMPLETED)
                    .map(|read| read.payload.get().to_owned());
            }
            let summary = fold.finish();
            Ok((serde_json::to_string(&summary)?, summary, last))
        })
        .await
        .map_err(Error::internal)?
    }

    async fn fold(&self, run: RunKey, end: Option<u64>) -> Result<Fold> {
        let mut source = self.source(run)?;
        tokio::task::spawn_blocking(move || {
            let mut fold = Fold::default();
            let mut lines = Lines::new(0, end.unwrap_or_else(|| source.length()));
            while let Some(line) = lines.next(&mut source).map_err(Error::internal)? {
                fold.line(line);
            }
            Ok(fold)
        })
        .await
        .map_err(Error::internal)?
    }

    /// A run's log as it can be read here.
    ///
    /// # Errors
    /// [`Error::NotFound`] for one that is not here; [`Error::Unavailable`].
    pub(in crate::runs) fn source(&self, run: RunKey) -> Result<Source> {
        match self.storage().open(run) {
            Ok(Some(source)) => Ok(source),
            Ok(None) => Err(Error::not_found("run log")),
            Err(error) => {
                tracing::warn!(run = %run.run_id, "a run's log can't be read: {error}");
                Err(Error::Unavailable {
                    detail: "the run's log can't be read now".into(),
                    source: Some(error.into()),
                })
            }
        }
    }
}
