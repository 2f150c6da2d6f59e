//! Ends a run: writes its last line with the summary, and then its row.
//!
//! The line is written first. If the process dies before it has updated the row, the process that acquires the log next
//! finds the last line and updates the row.

use std::sync::Arc;

use crate::runs::entity::Model;
use crate::runs::log_error::log_error;
use daybook_run_log::{COMPLETED, IncomingLine, LineReader, Log, RunKey, Source, StoredLine, format_time};
use serde::Deserialize;
use serde_json::Value;
use serde_json::json;
use serde_json::value::RawValue;

use super::errors::not_here;
use super::open_log::{LogLocation, OpenLog};
use super::runs::Runs;
use super::slot::raw_json;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::runs::incoming::SERVICE_SOURCE;
use crate::runs::new_run::RunOutcome;
use crate::runs::status::RunStatus;
use crate::runs::store::{self, FinalState};
use crate::runs::summary::{Fold, RunSummary};
use crate::tenancy::{Context, Database};

/// The result of ending a run.
#[derive(Debug)]
pub(in crate::runs) enum EndOutcome {
    /// This call has ended the run.
    Ended(Box<Model>),
    /// The run had ended before.
    AlreadyEnded(Box<Model>),
    /// Another process writes the log; it is reached at this URL.
    Elsewhere(String),
}

/// The payload of a run's last line.
#[derive(Debug, Deserialize)]
struct CompletedPayload {
    status: String,
    exit_code: Option<i32>,
    failure: Option<Value>,
    reason: Option<String>,
    #[serde(default)]
    output_paths: Value,
}

impl Runs {
    /// Ends a run on behalf of `context`: the log accepts no more lines, the summary is computed, and the row is
    /// updated. A run that has already ended is not changed.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] for a final status that can't follow the run's status;
    /// [`Error::Unavailable`] when the log can't be written: then the run continues.
    pub(in crate::runs) async fn end(
        &self,
        database: &Database,
        context: &Context,
        run: RunKey,
        ending: RunOutcome,
    ) -> Result<EndOutcome> {
        let slot = self.slot(run);
        let _turn = slot.ending.lock().await;
        let open = match self.find(database, run).await? {
            LogLocation::Open(open) => open,
            LogLocation::Elsewhere(url) => return Ok(EndOutcome::Elsewhere(url)),
            LogLocation::Closed => return self.ended_run(database, run).await,
            LogLocation::NotHere => return Err(not_here()),
        };
        // An earlier call wrote the last line, but could not update the row.
        if open.log.has_ended() {
            self.end_from_log(database, run, &open.log).await?;
            return self.ended_run(database, run).await;
        }
        let tx = database.read(&Context::system(run.team_id, "run logs")).await?;
        let now: RunStatus = store::get(&tx, run.run_id).await?.status.parse()?;
        tx.commit().await?;
        now.moved_to(ending.status)?;

        let ended = match self.write_end(database.clock(), run, &open, &ending).await {
            Ok(ended) => ended,
            Err(error) => {
                open.log.reopen();
                self.report_degraded(database, run);
                return Err(error);
            }
        };
        let (model, ended_now) = self.record_end(database, context, run, &open.log, &ended).await?;
        let model = Box::new(model);
        Ok(if ended_now {
            EndOutcome::Ended(model)
        } else {
            EndOutcome::AlreadyEnded(model)
        })
    }

    async fn ended_run(&self, database: &Database, run: RunKey) -> Result<EndOutcome> {
        let tx = database.read(&Context::system(run.team_id, "run logs")).await?;
        let ended = store::get(&tx, run.run_id).await?;
        tx.commit().await?;
        Ok(EndOutcome::AlreadyEnded(Box::new(ended)))
    }

    /// Ends a run without its log, which is not in this storage. Returns whether this call has ended it.
    ///
    /// # Errors
    /// Any database error.
    pub(super) async fn end_without_log(&self, database: &Database, run: RunKey, ending: &RunOutcome) -> Result<bool> {
        let tx = database.begin(&Context::system(run.team_id, "run logs")).await?;
        let ended = FinalState {
            status: ending.status,
            exit_code: ending.exit_code,
            failure: ending.failure_json(),
            output_paths: json!([]),
            completed_at: database.clock().now(),
            reason: ending.reason.clone(),
            summary: None,
        };
        let (_, ended_now) = store::end(&tx, run.run_id, &ended, None).await?;
        tx.commit().await?;
        Ok(ended_now)
    }

    /// Writes the last line, after all accepted lines are durable.
    async fn write_end(&self, clock: &Clock, run: RunKey, open: &OpenLog, ending: &RunOutcome) -> Result<FinalState> {
        let log = &open.log;
        log.close().await.map_err(log_error)?;
        let completed_at = clock.now();
        let mut payload = json!({
            "status": ending.status,
            "exit_code": ending.exit_code,
            "failure": ending.failure,
            "reason": ending.reason,
            "output_paths": ending.output_paths,
        });
        let bytes = log.durable().borrow().bytes;
        let mut fold = self.fold(run, Some(bytes)).await?;
        fold.take(COMPLETED, &format_time(completed_at), &raw_json(&payload));
        let summary = fold.finish();
        let text = serde_json::to_string(&summary)?;
        payload["summary"] = serde_json::to_value(RawValue::from_string(text.clone())?)?;
        let payload = raw_json(&payload);
        let mut line = IncomingLine::new(COMPLETED, Some(&payload));
        line.created_at = Some(format_time(completed_at).into());
        let node = open.node_lease.node();
        node.append_last(log, line, SERVICE_SOURCE).await.map_err(log_error)?;
        Ok(FinalState {
            status: ending.status,
            exit_code: ending.exit_code,
            failure: ending.failure_json(),
            output_paths: json!(ending.output_paths),
            completed_at,
            reason: ending.reason.clone(),
            summary: Some((text, summary)),
        })
    }

    /// Ends a run whose log already has its last line.
    ///
    /// # Errors
    /// Any database error.
    pub(super) async fn end_from_log(&self, database: &Database, run: RunKey, log: &Arc<Log>) -> Result<()> {
        let (text, summary, last) = self.summarise(run).await?;
        let payload: CompletedPayload = serde_json::from_str(last.as_deref().unwrap_or("{}"))?;
        let completed_at = summary.completed_at.as_deref().and_then(|at| at.parse().ok());
        let ended = FinalState {
            status: payload.status.parse()?,
            exit_code: payload.exit_code,
            failure: payload.failure,
            output_paths: if payload.output_paths.is_array() {
                payload.output_paths
            } else {
                json!([])
            },
            completed_at: completed_at.unwrap_or_else(|| database.clock().now()),
            reason: payload.reason,
            summary: Some((text, summary)),
        };
        let context = Context::system(run.team_id, "run logs");
        self.record_end(database, &context, run, log, &ended).await?;
        Ok(())
    }

    /// Syncs the log's own file, writes the final state into the run's row, ends the readers' streams and releases the
    /// log. Returns the run, and whether this call has ended it.
    async fn record_end(
        &self,
        database: &Database,
        context: &Context,
        run: RunKey,
        log: &Arc<Log>,
        ended: &FinalState,
    ) -> Result<(Model, bool)> {
        let log_to_sync = log.clone();
        // The write-ahead log is not replayed for a run that has ended.
        let synced = tokio::task::spawn_blocking(move || log_to_sync.sync())
            .await
            .map_err(Error::internal)?
            .map_err(log_error)?;
        let tx = database.begin(context).await?;
        let ended = store::end(&tx, run.run_id, ended, Some(synced)).await?;
        tx.commit().await?;
        log.complete();
        self.slots().remove(&run);
        Ok(ended)
    }

    /// Computes a log's summary from its lines. Returns the summary as text, the summary itself, and the payload of the
    /// last line if that line ends the run.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a log that is not in this storage; [`Error::Unavailable`].
    pub(in crate::runs) async fn summarise(&self, run: RunKey) -> Result<(String, RunSummary, Option<String>)> {
        let mut source = self.source(run)?;
        tokio::task::spawn_blocking(move || {
            let mut fold = Fold::default();
            let mut lines = LineReader::new(0, source.length());
            let mut last = None;
            while let Some(line) = lines.next(&mut source).map_err(Error::internal)? {
                fold.line(line);
                last = StoredLine::parse(line)
                    .filter(|stored| stored.kind == COMPLETED)
                    .map(|stored| stored.payload.get().to_owned());
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
            let mut lines = LineReader::new(0, end.unwrap_or_else(|| source.length()));
            while let Some(line) = lines.next(&mut source).map_err(Error::internal)? {
                fold.line(line);
            }
            Ok(fold)
        })
        .await
        .map_err(Error::internal)?
    }

    /// Opens a run's log for reading.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a log that is not in this storage; [`Error::Unavailable`].
    pub(in crate::runs) fn source(&self, run: RunKey) -> Result<Source> {
        match self.storage().open(run) {
            Ok(Some(source)) => Ok(source),
            Ok(None) => Err(Error::not_found("run log")),
            Err(error) => {
                tracing::warn!(run = %run.run_id, "could not read a run's log: {error}");
                Err(Error::Unavailable {
                    detail: "the run's log can't be read now".into(),
                    source: Some(error.into()),
                })
            }
        }
    }
}
