//! A run that a job writes: its lines go into the log without HTTP.

use std::time::Duration;

use daybook_run_log::{LogError, RunKey, Writer};
use serde::Serialize;
use serde_json::json;
use serde_json::value::to_raw_value;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use uuid::Uuid;

use super::incoming::parse_line;
use super::new_run::{Ending, NewRun};
use super::registry::{EndOutcome, LogLocation, Runs};
use super::view::RunView;
use crate::error::{Error, Result};
use crate::jobs::JobSession;
use crate::tenancy::{Context, Database};

/// The heartbeat interval of a writer.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// The maximum number of attempts to write a line, before the job gets the error.
const MAX_ATTEMPTS: u32 = 4;

/// A run's writer. If it is dropped before the run was ended, the run fails.
#[derive(Debug)]
pub struct RunWriter {
    runs: Runs,
    database: Database,
    session: JobSession,
    context: Context,
    run: RunKey,
    /// The number of the next line, so that a line that is sent again is stored once.
    seq: tokio::sync::Mutex<u64>,
    heartbeat: AbortHandle,
    ended: bool,
}

/// Creates a run that belongs to a job session: it is linked to the session, in the same story, with the same actor.
///
/// ```ignore
/// let run = daybook::runs::start(session, NewRun::new("nightly import")).await?;
/// run.console("info", "reading a.csv").await?;
/// run.line("run.table.summary", &json!({"file": "a.csv", "row_count": 40})).await?;
/// run.end(Ending::succeeded().exit_code(0)).await?;
/// ```
///
/// # Errors
/// [`Error::Invalid`]; [`Error::Unavailable`] in a process without run logs; [`Error::Conflict`] while a transaction of
/// the session is open in this task, because a run has transactions of its own.
pub async fn start(session: &JobSession, new: NewRun) -> Result<RunWriter> {
    let database = session.outside()?.clone();
    let runs = Runs::of(&database)?.clone();
    let new = new.checked()?;
    let tx = session.begin().await?;
    let row = runs.begin(&tx, &new).await?;
    tx.commit().await?;
    let run = RunKey {
        team_id: row.team_id,
        run_id: row.id,
    };
    // The log is opened now, so that lines need no connection. The session may have a transaction open when a line is
    // written.
    if let Err(error) = runs.find(&database, run).await {
        tracing::warn!(run = %run.run_id, "could not open a run's log: {error}");
    }
    let heartbeat = tokio::spawn({
        let runs = runs.clone();
        async move {
            let mut ticks = tokio::time::interval(HEARTBEAT_INTERVAL);
            loop {
                ticks.tick().await;
                runs.record_activity(run);
            }
        }
    });
    Ok(RunWriter {
        runs,
        database,
        session: session.clone(),
        context: session.context().clone(),
        run,
        seq: tokio::sync::Mutex::new(1),
        heartbeat: heartbeat.abort_handle(),
        ended: false,
    })
}

impl RunWriter {
    /// Returns the run's id.
    pub fn id(&self) -> Uuid {
        self.run.run_id
    }

    /// Appends a line, and waits until it is durable on disk. `payload` must serialize to a JSON object.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an invalid line; [`Error::Conflict`] if the run has ended (for example, because a person
    /// has cancelled it), or if the log must be opened again while a transaction of the session is open in this task;
    /// [`Error::Unavailable`] if the log can't be written.
    pub async fn line(&self, kind: &str, payload: &(impl Serialize + Sync)) -> Result<()> {
        let text = json!({"type": kind, "payload": to_raw_value(payload)?}).to_string();
        let incoming = parse_line(text.as_bytes(), self.runs.max_line_bytes(), None)?;
        let mut seq = self.seq.lock().await;
        let writer = Writer {
            id: format!("job-{}", self.context.actor.id().unwrap_or_default().simple()),
            epoch: 1,
            seq: *seq,
        };
        let mut pause = Duration::from_millis(50);
        for attempt in 1.. {
            // An open log is written without the database.
            if !self.runs.is_open(self.run).await {
                self.session.outside()?;
            }
            let appended = match self.runs.find(&self.database, self.run).await? {
                LogLocation::Open(open) => {
                    let lines = std::slice::from_ref(&incoming);
                    self.runs
                        .append(&self.database, self.run, &open, lines, "job", Some(&writer))
                        .await
                }
                LogLocation::Closed => Err(LogError::Ended.into()),
                LogLocation::Elsewhere(_) | LogLocation::NotHere => Err(LogError::Held.into()),
            };
            match appended {
                Err(Error::Unavailable { .. }) if attempt < MAX_ATTEMPTS => {
                    tokio::time::sleep(pause).await;
                    pause *= 4;
                }
                appended => {
                    appended?;
                    break;
                }
            }
        }
        *seq += 1;
        Ok(())
    }

    /// Appends a console line.
    ///
    /// # Errors
    /// The errors of [`RunWriter::line`].
    pub async fn console(&self, level: &str, message: &str) -> Result<()> {
        let payload = json!({"stream": "stdout", "level": level, "message": message});
        self.line("console.line", &payload).await
    }

    /// Ends the run.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the run has ended with another status, or while a transaction of the session is open in
    /// this task: then the run fails. [`Error::Unavailable`] if the log can't be written.
    pub async fn end(mut self, ending: Ending) -> Result<RunView> {
        self.session.outside()?;
        let status = ending.status;
        let ended = self.runs.end(&self.database, &self.context, self.run, ending).await?;
        self.ended = true;
        match ended {
            EndOutcome::Ended(run) | EndOutcome::AlreadyEnded(run) if run.status == status.as_str() => {
                Ok((*run).into())
            }
            EndOutcome::Ended(_) | EndOutcome::AlreadyEnded(_) => Err(LogError::Ended.into()),
            EndOutcome::Elsewhere(_) => Err(LogError::Held.into()),
        }
    }
}

impl Drop for RunWriter {
    fn drop(&mut self) {
        self.heartbeat.abort();
        if self.ended {
            return;
        }
        let (runs, database, context, run) = (self.runs.clone(), self.database.clone(), self.context.clone(), self.run);
        let ending = Ending::failed("writer-dropped", "its job ended without ending the run");
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = runs.end(&database, &context, run, ending).await {
                    tracing::warn!(run = %run.run_id, "could not end a run whose writer was dropped: {error}");
                }
            });
        }
    }
}
