//! Runs a session.

use std::fmt::Display;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use serde::Serialize;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, broadcast};
use tokio::task::AbortHandle;
use uuid::Uuid;

use super::action::RenderedAction;
use super::outcome::{JobResult, Status, error_json, event_error, panic_json};
use super::parts::JobsParts;
use super::spec::SessionSpec;
use super::store::{self, HeartbeatReply};
use crate::error::{Error, Result};
use crate::tenancy::{ADVICE, Actor, Context, Database, Deferred, DroppedWrites, NumberedRows, Owner, Person, TeamTx};
use crate::wide_events::{EventError, Outcome, RequestIds, WideEvent};

/// The error code of a cancelled session.
pub(super) const CANCELLED: &str = "job-cancelled";

/// A running session, to which its work adds actions. Cheap to clone, so that parts of the work may run concurrently.
#[derive(Debug, Clone)]
pub struct JobSession(Arc<SessionInner>);

#[derive(Debug)]
struct SessionInner {
    id: Uuid,
    job_id: Uuid,
    attempt: i32,
    /// The database for the session's work. Actions wait for the end of the transactions that are begun with it.
    database: Database,
    /// The database for the session's own row and its actions, outside the work's transactions.
    outside: Database,
    /// The context in which the session's work acts.
    context: Context,
    actions: Arc<NumberedRows<RenderedAction>>,
    /// Notified when the cancellation is requested.
    cancel: Notify,
}

/// Runs `work` as a session. Its row is written before the work begins, and the outcome after it: the result, a panic
/// (which is caught), or `cancelled` if this future is dropped before its end. If the [`Database`] has
/// [`JobsParts::wide_events`], the session is also a wide event of kind `job`.
///
/// ```no_run
/// # use daybook::prelude::*;
/// # #[derive(Serialize)]
/// # enum RosterAction { Synced { players: u32 } }
/// # impl std::fmt::Display for RosterAction {
/// #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
/// #         let Self::Synced { players } = self;
/// #         write!(f, "Synced {players} players")
/// #     }
/// # }
/// # async fn sync(database: Database, context: Context, input: String) -> JobResult {
/// let spec = SessionSpec::new("sync_roster").context(context).input(&input);
/// with_job_session(&database, spec, |session| async move {
///     session.add_action(&RosterAction::Synced { players: 40 }).await?;
///     Ok(())
/// })
/// .await
/// # }
/// ```
///
/// # Errors
/// The error of `work`; [`Error::Invalid`] for a name or an input that can't be stored; an error of the database. If
/// the latter occurs at the beginning, `work` is not called. If it occurs at the end, the outcome isn't written, and
/// the session counts as lost later.
pub async fn with_job_session<T, F>(
    database: &Database,
    spec: SessionSpec,
    work: impl FnOnce(JobSession) -> F,
) -> JobResult<T>
where
    F: Future<Output = JobResult<T>>,
{
    let (spec, input) = spec.validated()?;
    let parts = JobsParts::of(database)?;
    let id = Uuid::now_v7();
    store::begin(database, id, &spec, &input).await?;
    let team_id = spec.context.team_id;
    let actions = NumberedRows::new(Owner { team_id, id });
    let session = JobSession(Arc::new(SessionInner {
        id,
        job_id: spec.job_id.unwrap_or(id),
        attempt: spec.attempt,
        database: database.clone().with_deferred(Deferred::of(&actions)),
        outside: database.clone(),
        context: session_context(id, &spec),
        actions,
        cancel: Notify::new(),
    }));
    let ids = RequestIds::of_story(spec.context.request_id.clone(), spec.context.correlation_id);
    let attempt = attempt(session, spec.name, parts.clone(), work);
    match &parts.wide_events {
        Some(wide_events) => wide_events.unit("job", ids, attempt).await,
        None => attempt.await,
    }
}

/// Runs the work, and writes its outcome into the session's row and into the wide event of this attempt.
async fn attempt<T, F>(
    session: JobSession,
    name: String,
    parts: JobsParts,
    work: impl FnOnce(JobSession) -> F,
) -> JobResult<T>
where
    F: Future<Output = JobResult<T>>,
{
    let event = WideEvent::current();
    event.tag("team_id", session.context().team_id);
    event.set("job.name", name);
    event.set("job.session_id", session.id());
    event.set("job.attempt", session.attempt());
    let mut running = RunningSession {
        heartbeats: tokio::spawn(send_heartbeats(session.clone(), parts)).abort_handle(),
        session: session.clone(),
        finished: false,
    };
    let dropped = DroppedWrites::default();
    let working = async {
        let done = dropped.around(work(session.clone())).await?;
        JobResult::Ok((done, dropped.forgotten(&session.0.database)))
    };
    let working = AssertUnwindSafe(working).catch_unwind();
    let outcome = tokio::select! {
        outcome = working => outcome,
        () = session.0.cancel.notified() => {
            running.finished = true;
            session.end(Status::Cancelled, None).await?;
            return Err(cancelled().into());
        }
    };
    running.finished = true;
    event.set("job.actions", session.0.actions.count().await);
    let (status, error, outcome) = match outcome {
        Ok(Ok((done, forgotten))) => {
            if forgotten > 0 {
                report_forgotten_commits(&event, forgotten);
            }
            (Status::Succeeded, None, Ok(done))
        }
        Ok(Err(error)) => {
            event.mark_error(event_error(error.as_ref()));
            (Status::Failed, Some(error_json(error.as_ref())), Err(error))
        }
        Err(panic) => {
            let details = panic_json(panic.as_ref());
            let error = Error::internal(format!(
                "the job panicked: {}",
                details["message"].as_str().unwrap_or_default()
            ));
            event.mark_outcome(Outcome::Panic).mark_error(event_error(&error));
            (Status::Failed, Some(details), Err(error.into()))
        }
    };
    session.end(status, error).await?;
    outcome
}

/// Reports that the work succeeded, but that it lost writes because it did not commit them.
fn report_forgotten_commits(event: &WideEvent, forgotten: u64) {
    let detail = format!("{forgotten} transactions wrote and were dropped: {ADVICE}");
    tracing::warn!("jobs: a job succeeded, but {detail}");
    event.set("database.forgotten_commits", forgotten);
    event.mark_error(EventError::new("ForgottenCommit", detail).code("forgotten-commit"));
}

impl JobSession {
    /// Returns the session's id.
    pub fn id(&self) -> Uuid {
        self.0.id
    }

    /// Returns the job's id, which is the same for all attempts. Other systems can use it to recognise what they have
    /// received before.
    pub fn job_id(&self) -> Uuid {
        self.0.job_id
    }

    /// Returns the database, with the program's own values ([`Database::extension`]).
    pub fn database(&self) -> &Database {
        &self.0.database
    }

    /// Returns the program's value of this type, if [`App::extension`](crate::App::extension) added one.
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.0.database.extension()
    }

    /// Returns the number of the attempt, from 1.
    pub fn attempt(&self) -> i32 {
        self.0.attempt
    }

    /// Returns the context in which the work acts: as the job, on behalf of the person who requested it, in the same
    /// story.
    pub fn context(&self) -> &Context {
        &self.0.context
    }

    /// Begins a transaction in the session's team. Its events have the session as their actor.
    ///
    /// # Errors
    /// As [`Database::begin`]. [`Error::Conflict`] if this task has another transaction of the session open: work that
    /// holds a connection must not wait for a second one.
    pub async fn begin(&self) -> Result<TeamTx> {
        self.0.database.begin(&self.0.context).await
    }

    /// Returns the database outside the session's transactions: for code with its own transactions in the background.
    ///
    /// # Errors
    /// [`Error::Conflict`] if this task has a transaction of the session open.
    pub(crate) fn outside(&self) -> Result<&Database> {
        if let Some(deferred) = self.0.database.deferred() {
            deferred.refuse_second()?;
        }
        Ok(&self.0.outside)
    }

    /// Adds an action of any type that implements `Serialize` and `Display`. Its `Display` output is stored as the
    /// sentence. The action's type is the variant of an enum, the field `type`, or else the name of the Rust type.
    /// Returns the action's number, from 1 without gaps, also if actions are added concurrently.
    ///
    /// Without an open transaction of the session, the action is written before this returns, in one round trip.
    /// Otherwise it is written when the transaction ends, through the same connection: in the same commit, or right
    /// after the rollback. It is kept after a rollback, too, because an action says what was done, and not what was
    /// stored. If the process dies before that, the action is lost with the transaction.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it can't be serialised as JSON, contains U+0000, is nested too deep, or is larger than
    /// [`MAX_PAYLOAD_BYTES`](super::MAX_PAYLOAD_BYTES): write long content to a run's log. [`Error::Conflict`] if
    /// 10,000 actions, or 8 MiB, already wait for the end of a transaction.
    pub async fn add_action(&self, action: &(impl Serialize + Display)) -> Result<i64> {
        let rendered = RenderedAction::of(action)?;
        self.0.actions.add(&self.0.outside, vec![rendered]).await
    }

    /// Adds several actions in order, in one statement. Returns the last one's number.
    ///
    /// # Errors
    /// As [`JobSession::add_action`]; then none of them is written.
    pub async fn add_actions<A: Serialize + Display>(&self, actions: &[A]) -> Result<i64> {
        let rendered: Vec<_> = actions.iter().map(RenderedAction::of).collect::<Result<_>>()?;
        self.0.actions.add(&self.0.outside, rendered).await
    }

    async fn end(&self, status: Status, error: Option<Value>) -> Result<()> {
        let SessionInner {
            id, outside, context, ..
        } = &*self.0;
        // Writes the actions of a transaction that the work has passed to another task.
        self.0.actions.flush(outside).await?;
        if !store::end(outside, context, *id, status, error).await? {
            tracing::warn!(session = %id, "a job's session ended as {status}, but it was marked as lost before and keeps that status");
        }
        Ok(())
    }
}

/// Returns the context of a session's work: the job itself, on behalf of the person who requested it.
fn session_context(id: Uuid, spec: &SessionSpec) -> Context {
    let requested = &spec.context;
    let person = match &requested.actor {
        Actor::User { id, name } => Some(Person {
            id: *id,
            name: name.clone(),
        }),
        _ => None,
    };
    Context {
        actor: Actor::Job {
            id,
            name: spec.name.clone(),
        },
        on_behalf_of: requested.on_behalf_of.clone().or(person),
        via: Some("job".to_owned()),
        ..requested.clone()
    }
}

/// Returns the error of a cancelled session.
fn cancelled() -> Error {
    Error::conflict(CANCELLED, "the job was cancelled")
}

async fn send_heartbeats(session: JobSession, parts: JobsParts) {
    let mut ticks = tokio::time::interval(parts.heartbeat.0);
    ticks.tick().await;
    let mut cancelled = parts.notifier.cancelled();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = wait_for_cancellation(&mut cancelled, session.id()) => {}
        }
        let SessionInner {
            id, outside, context, ..
        } = &*session.0;
        match store::heartbeat(outside, context, *id).await {
            Ok(HeartbeatReply::Continue) => {}
            Ok(HeartbeatReply::Cancel) => session.0.cancel.notify_one(),
            // The session has ended in some other way. For example, it was marked as lost.
            Ok(HeartbeatReply::Ended) => return,
            Err(error) => tracing::warn!(session = %id, "could not send the heartbeat of a job's session: {error}"),
        }
    }
}

/// Waits until the cancellation of this session is requested. If messages were missed, it returns too, so that the
/// caller checks the session's row.
async fn wait_for_cancellation(cancelled: &mut broadcast::Receiver<Uuid>, session_id: Uuid) {
    loop {
        match cancelled.recv().await {
            Ok(id) if id != session_id => {}
            Ok(_) | Err(RecvError::Lagged(_)) => return,
            // All senders are dropped.
            Err(RecvError::Closed) => return std::future::pending().await,
        }
    }
}

/// Guards a running session: if it is dropped before the work ends, the session was cancelled.
struct RunningSession {
    session: JobSession,
    heartbeats: AbortHandle,
    finished: bool,
}

impl Drop for RunningSession {
    fn drop(&mut self) {
        self.heartbeats.abort();
        if self.finished {
            return;
        }
        let session = self.session.clone();
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = session.end(Status::Cancelled, None).await {
                    tracing::warn!(session = %session.id(), "could not end the session of a cancelled job: {error}");
                }
            });
        }
    }
}
