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
use super::new_run::{NewRun, RunOutcome};
use super::registry::{EndOutcome, LogLocation, Runs};
use super::view::RunView;
use crate::error::{Error, Result};
use crate::jobs::JobSession;
use crate::runs::log_error::log_error;
use crate::tenancy::{Context, Database};

/// The heartbeat interval of a writer.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// The maximum number of attempts to write a line, before the job gets the error.
const MAX_ATTEMPTS: u32 = 4;

/// Writes a run's log from a job. If it is dropped before the run was ended, the run fails.
#[derive(Debug)]
pub struct RunWriter {
    runs: Runs,
    database: Database,
    session: JobSession,
    context: Context,
    run: RunKey,
    numbers: tokio::sync::Mutex<LineNumbers>,
    heartbeat: AbortHandle,
    ended: bool,
}

/// The numbers of a writer's lines, so that a line that is sent again is stored once.
#[derive(Debug)]
struct LineNumbers {
    epoch: u64,
    /// The number of the next line.
    seq: u64,
    /// Whether the last line may be in the log although its call did not succeed.
    is_last_uncertain: bool,
}

impl LineNumbers {
    fn new() -> Self {
        Self {
            epoch: 1,
            seq: 1,
            is_last_uncertain: false,
        }
    }

    /// Returns the epoch and the number of the next line. The line is uncertain until [`LineNumbers::confirm`] is
    /// called, also if its future is dropped meanwhile.
    ///
    /// An uncertain line may have its number in the log already, and a line with the same number would be treated as a
    /// duplicate and lost. The next line therefore begins a new epoch, which the log accepts in both cases.
    fn begin(&mut self) -> (u64, u64) {
        if self.is_last_uncertain {
            self.epoch += 1;
            self.seq = 1;
        }
        self.is_last_uncertain = true;
        (self.epoch, self.seq)
    }

    /// Records that the line is in the log.
    fn confirm(&mut self) {
        self.is_last_uncertain = false;
        self.seq += 1;
    }
}

/// Creates a run that belongs to a job session: it is linked to the session, in the same story, with the same actor.
///
/// ```no_run
/// # use daybook::prelude::*;
/// # use daybook::runs::{RunOutcome, NewRun};
/// # use serde_json::json;
/// # async fn import(session: &JobSession) -> JobResult {
/// let run = daybook::runs::start(session, NewRun::new("nightly import")).await?;
/// run.console("info", "reading a.csv").await?;
/// run.line("run.table.summary", &json!({"file": "a.csv", "row_count": 40})).await?;
/// run.end(RunOutcome::succeeded().exit_code(0)).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::Invalid`] with all invalid fields; [`Error::Unavailable`] in a process without run logs;
/// [`Error::Conflict`] if the team has too many unfinished runs, or while a transaction of the session is open in this
/// task, because a run has transactions of its own.
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
    // The log is opened here, so that writing a line needs no database connection. The session may have a transaction
    // open when it writes a line.
    if let Err(error) = runs.find(&database, run).await {
        tracing::warn!(run = %run.run_id, "could not open a run's log, which is tried again when a line is written: {error}");
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
        numbers: tokio::sync::Mutex::new(LineNumbers::new()),
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
    /// After `Ok` the line is in the log once. After an error, or if the future is dropped, it is in the log once or
    /// not at all, and the next line is stored in both cases.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an invalid line; [`Error::Conflict`] if the run has ended (for example, because a person
    /// has cancelled it), if another process has the log, or if the log must be opened again while a transaction of the
    /// session is open in this task; [`Error::Unavailable`] if the log can't be written.
    pub async fn line(&self, kind: &str, payload: &(impl Serialize + Sync)) -> Result<()> {
        let text = json!({"type": kind, "payload": to_raw_value(payload)?}).to_string();
        let incoming = parse_line(text.as_bytes(), self.runs.max_line_bytes(), None)?;
        let mut numbers = self.numbers.lock().await;
        let (epoch, seq) = numbers.begin();
        let writer = Writer {
            id: format!("job-{}", self.context.actor.id().unwrap_or_default().simple()),
            epoch,
            seq,
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
                LogLocation::Closed => Err(log_error(LogError::Ended)),
                LogLocation::Elsewhere(_) | LogLocation::NotHere => Err(log_error(LogError::Held)),
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
        numbers.confirm();
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
    /// [`Error::Conflict`] if the run has ended with another status, or if another process has its log. Also
    /// [`Error::Conflict`] while a transaction of the session is open in this task: then the run fails.
    /// [`Error::Unavailable`] if the log can't be written.
    pub async fn end(mut self, ending: RunOutcome) -> Result<RunView> {
        self.session.outside()?;
        let status = ending.status;
        let ended = self.runs.end(&self.database, &self.context, self.run, ending).await?;
        self.ended = true;
        match ended {
            EndOutcome::Ended(run) | EndOutcome::AlreadyEnded(run) if run.status == status.as_str() => {
                Ok((*run).into())
            }
            EndOutcome::Ended(_) | EndOutcome::AlreadyEnded(_) => Err(log_error(LogError::Ended)),
            EndOutcome::Elsewhere(_) => Err(log_error(LogError::Held)),
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
        let ending = RunOutcome::failed("writer-dropped", "its job ended without ending the run");
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = runs.end(&database, &context, run, ending).await {
                    tracing::warn!(run = %run.run_id, "could not end a run whose writer was dropped: {error}");
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use daybook_run_log::{IncomingLine, LineReader, Storage, StoredLine, WriterNode, WriterNodeOptions};

    use super::*;

    #[tokio::test]
    async fn a_line_after_an_uncertain_one_is_stored_whether_that_is_there_or_not() {
        let folder = tempfile::TempDir::new().unwrap();
        let storage = Storage::new(folder.path());
        let options = WriterNodeOptions::default().segment_bytes(1 << 20);
        let node = WriterNode::start(&storage, options, || true).unwrap();
        let run = RunKey {
            team_id: Uuid::from_u128(1),
            run_id: Uuid::from_u128(2),
        };
        let log = node.open(run, 1, None).unwrap().log;
        let mut numbers = LineNumbers::new();
        let mut expected = Vec::new();
        // Whether the line reaches the log, and whether the writer gets to know it.
        let cases = [
            (true, true),
            (true, false),
            (true, true),
            (false, false),
            (true, false),
            (false, false),
            (true, true),
        ];
        for (index, (reaches_log, is_confirmed)) in cases.into_iter().enumerate() {
            let (epoch, seq) = numbers.begin();
            let kind = format!("line.{index}");
            if reaches_log {
                let writer = Writer {
                    id: "job".to_owned(),
                    epoch,
                    seq,
                };
                let lines = [IncomingLine::new(kind.as_str(), None)];
                let appended = node.append(&log, &lines, "job", Some(&writer)).await.unwrap();
                assert_eq!((appended.appended, appended.duplicates), (1, 0), "{kind}");
                // A repetition within the same call has the same number.
                let again = node.append(&log, &lines, "job", Some(&writer)).await.unwrap();
                assert_eq!((again.appended, again.duplicates), (0, 1), "{kind}");
                expected.push(kind);
            }
            if is_confirmed {
                numbers.confirm();
            }
        }
        node.shut_down();
        let mut source = storage.open(run).unwrap().unwrap();
        let mut lines = LineReader::new(0, source.length());
        let mut stored = Vec::new();
        while let Some(line) = lines.next(&mut source).unwrap() {
            stored.push(StoredLine::parse(line).unwrap().kind.into_owned());
        }
        assert_eq!(stored, expected);
    }
}
