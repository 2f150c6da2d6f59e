//! A session while it runs.

use std::fmt::Display;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use serde::Serialize;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, broadcast};
use tokio::task::AbortHandle;
use uuid::Uuid;

use super::action::Told;
use super::outcome::{JobResult, Status, error_json, event_error, panic_json};
use super::spec::SessionSpec;
use super::store::{self, Beat};
use crate::error::{Error, Result};
use crate::tenancy::{
    ADVICE, Actor, Bell, Context, Database, Deferred, DroppedWrites, NumberedRows, Owner, Person, TeamTx,
};
use crate::wide_events::{EventError, Outcome, RequestIds, WideEvent, WideEvents};

/// How often sessions say that their worker lives: an extension of the [`Database`].
#[derive(Debug, Clone, Copy)]
pub struct Heartbeat(pub Duration);

impl Heartbeat {
    /// Several times within the time after which a session counts as lost.
    pub fn within(lost_after: Duration) -> Self {
        Self(lost_after / 4)
    }
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self(Duration::from_secs(10))
    }
}

/// The code of the error that a cancelled session's work is taken to have returned.
pub(super) const CANCELLED: &str = "job-cancelled";

/// A session that runs: where its work says what it does. Cheap to clone, so that parts of it may be done at the
/// same time.
#[derive(Debug, Clone)]
pub struct JobSession(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    id: Uuid,
    job_id: Uuid,
    attempt: i32,
    /// For the session's work. Actions wait for the transactions that are begun with it.
    database: Database,
    /// For the session's own row and its actions, beside the work.
    outside: Database,
    /// As what the session's own work acts.
    context: Context,
    actions: Arc<NumberedRows<Told>>,
    /// Somebody has asked for its end.
    cancel: Notify,
}

/// Runs `work` as a session: its row is there when it begins, and says how it ended when it is over: with what it
/// returned, with a panic (which goes no further), or cancelled, when this future is dropped before its end. It is a
/// wide event of kind `job`, too, where the [`Database`] carries [`WideEvents`].
///
/// ```ignore
/// let spec = SessionSpec::new("sync_roster").input(&input);
/// with_job_session(&database, spec, |session| async move {
///     session.add_action(&RosterAction::Synced { players: 40 }).await?;
///     Ok(())
/// }).await?;
/// ```
///
/// # Errors
/// What `work` failed with; [`Error::Invalid`] for a name or an input that no row can hold, and what the
/// database says: then `work` was not begun, or its end isn't written and will be told as lost.
pub async fn with_job_session<T, F>(
    database: &Database,
    spec: SessionSpec,
    work: impl FnOnce(JobSession) -> F,
) -> JobResult<T>
where
    F: Future<Output = JobResult<T>>,
{
    let (spec, input) = spec.checked()?;
    let id = Uuid::now_v7();
    store::begin(database, id, &spec, &input).await?;
    let team_id = spec.context.team_id;
    let actions = NumberedRows::new(Owner { team_id, id });
    let session = JobSession(Arc::new(Parts {
        id,
        job_id: spec.job_id.unwrap_or(id),
        attempt: spec.attempt,
        database: database.clone().with_extension(Deferred::of(&actions)),
        outside: database.clone(),
        context: acting(id, &spec),
        actions,
        cancel: Notify::new(),
    }));
    let ids = RequestIds::of_story(spec.context.request_id.clone(), spec.context.correlation_id);
    let attempt = attempt(session, spec.name, work);
    match database.extension::<WideEvents>() {
        Some(wide_events) => wide_events.unit("job", ids, attempt).await,
        None => attempt.await,
    }
}

/// Runs the work, and writes how it ended: into the session's row, and into the wide event of this attempt.
async fn attempt<T, F>(session: JobSession, name: String, work: impl FnOnce(JobSession) -> F) -> JobResult<T>
where
    F: Future<Output = JobResult<T>>,
{
    let event = WideEvent::current();
    event.tag("team_id", session.context().team_id);
    event.set("job.name", name);
    event.set("job.session_id", session.id());
    event.set("job.attempt", session.attempt());
    let mut running = Running {
        heart: tokio::spawn(keep_beating(session.clone())).abort_handle(),
        session: session.clone(),
        over: false,
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
            running.over = true;
            session.end(Status::Cancelled, None).await?;
            return Err(cancelled().into());
        }
    };
    running.over = true;
    event.set("job.actions", session.0.actions.count().await);
    let (status, error, outcome) = match outcome {
        Ok(Ok((done, forgotten))) => {
            if forgotten > 0 {
                tell_of_forgotten_commits(&event, forgotten);
            }
            (Status::Succeeded, None, Ok(done))
        }
        Ok(Err(error)) => {
            event.mark_error(event_error(error.as_ref()));
            (Status::Failed, Some(error_json(error.as_ref())), Err(error))
        }
        Err(panic) => {
            let told = panic_json(panic.as_ref());
            let error = Error::internal(format!(
                "the job panicked: {}",
                told["message"].as_str().unwrap_or_default()
            ));
            event.mark_outcome(Outcome::Panic).mark_error(event_error(&error));
            (Status::Failed, Some(told), Err(error.into()))
        }
    };
    session.end(status, error).await?;
    outcome
}

/// The work has succeeded, and what it wrote is lost.
fn tell_of_forgotten_commits(event: &WideEvent, forgotten: u64) {
    let words = format!("{forgotten} transactions wrote and were dropped: {ADVICE}");
    tracing::warn!("jobs: a job succeeded, and {words}");
    event.set("database.forgotten_commits", forgotten);
    event.mark_error(EventError::new("ForgottenCommit", words).code("forgotten-commit"));
}

impl JobSession {
    /// Its id.
    pub fn id(&self) -> Uuid {
        self.0.id
    }

    /// The job's, which all attempts at it have: for another side, to recognise what it has had.
    pub fn job_id(&self) -> Uuid {
        self.0.job_id
    }

    /// The database, with what the program gave it: [`Database::extension`].
    pub fn database(&self) -> &Database {
        &self.0.database
    }

    /// Which attempt it is, from 1 on.
    pub fn attempt(&self) -> i32 {
        self.0.attempt
    }

    /// As what it acts: the job, in the name of the person who asked for it, in the same story.
    pub fn context(&self) -> &Context {
        &self.0.context
    }

    /// Begins a transaction in the session's team. Its events name the session as their actor.
    ///
    /// # Errors
    /// As [`Database::begin`]. [`Error::Conflict`] if this task has another transaction of the session open: work that holds
    /// a connection must not wait for a second one.
    pub async fn begin(&self) -> Result<TeamTx> {
        self.0.database.begin(&self.0.context).await
    }

    /// The database beside the session's transactions: for what has transactions of its own in the background.
    ///
    /// # Errors
    /// [`Error::Conflict`] if this task has a transaction of the session open.
    pub(crate) fn outside(&self) -> Result<&Database> {
        if let Some(deferred) = self.0.database.extension::<Deferred>() {
            deferred.refuse_second()?;
        }
        Ok(&self.0.outside)
    }

    /// Says what was done: any type that serialises and has words. Its `Display` is the sentence, kept as it is now;
    /// its variant the type. Returns its place, counted from 1 without gaps, also when actions are added at the same
    /// time.
    ///
    /// It is written when this returns; one round trip. While a transaction of the session is open, it is written when that
    /// ends, through the transaction's own connection: in one commit with it, or right after its rollback, since an
    /// action says what was done and not what was kept. If the process dies before, it is lost with the transaction.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is larger than [`MAX_PAYLOAD_BYTES`](super::MAX_PAYLOAD_BYTES): what is long belongs
    /// into a run's log. [`Error::Conflict`] if 10,000 actions, or 8 MiB, wait for the end of a transaction.
    pub async fn add_action(&self, action: &(impl Serialize + Display)) -> Result<i64> {
        let told = Told::of(action)?;
        self.0.actions.add(&self.0.outside, vec![told]).await
    }

    /// Says many things at once, in order: one statement. Returns the last one's place.
    ///
    /// # Errors
    /// As [`JobSession::add_action`]; then none of them is written.
    pub async fn add_actions<A: Serialize + Display>(&self, actions: &[A]) -> Result<i64> {
        let told: Vec<_> = actions.iter().map(Told::of).collect::<Result<_>>()?;
        self.0.actions.add(&self.0.outside, told).await
    }

    async fn end(&self, status: Status, error: Option<Value>) -> Result<()> {
        let Parts {
            id, outside, context, ..
        } = &*self.0;
        // Of a transaction that its work has left to somebody else.
        self.0.actions.flush(outside).await?;
        if !store::end(outside, context, *id, status, error).await? {
            tracing::warn!(session = %id, "a job's session was taken for lost before it {status}");
        }
        Ok(())
    }
}

/// As what a session's work acts: the job itself, in the name of the person who asked for it.
fn acting(id: Uuid, spec: &SessionSpec) -> Context {
    let asked = &spec.context;
    let person = match &asked.actor {
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
        on_behalf_of: asked.on_behalf_of.clone().or(person),
        via: Some("job".to_owned()),
        ..asked.clone()
    }
}

/// What the work of a session returns when somebody has asked for its end.
fn cancelled() -> Error {
    Error::conflict(CANCELLED, "the job was cancelled")
}

async fn keep_beating(session: JobSession) {
    let every = session.0.database.extension::<Heartbeat>().copied().unwrap_or_default();
    let mut beats = tokio::time::interval(every.0);
    beats.tick().await;
    let bell = session.0.database.extension::<Bell>().cloned().unwrap_or_default();
    let mut cancelled = bell.cancelled();
    loop {
        tokio::select! {
            _ = beats.tick() => {}
            () = is_cancelled(&mut cancelled, session.id()) => {}
        }
        let Parts {
            id, outside, context, ..
        } = &*session.0;
        match store::beat(outside, context, *id).await {
            Ok(Beat::On) => {}
            Ok(Beat::Cancel) => session.0.cancel.notify_one(),
            // In whatever way, as when it was taken for lost.
            Ok(Beat::Over) => return,
            Err(error) => tracing::warn!(session = %id, "a job's session could not say that it lives: {error}"),
        }
    }
}

/// Waits until somebody asks for this session's end; who hears too late to know which, looks.
async fn is_cancelled(cancelled: &mut broadcast::Receiver<Uuid>, session_id: Uuid) {
    loop {
        match cancelled.recv().await {
            Ok(id) if id != session_id => {}
            Ok(_) | Err(RecvError::Lagged(_)) => return,
            // Nobody can ask any more.
            Err(RecvError::Closed) => return std::future::pending().await,
        }
    }
}

/// A session under way. Dropped before its work is over, it was cancelled.
struct Running {
    session: JobSession,
    heart: AbortHandle,
    over: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.heart.abort();
        if self.over {
            return;
        }
        let session = self.session.clone();
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = session.end(Status::Cancelled, None).await {
                    tracing::warn!(session = %session.id(), "a cancelled job's session could not be ended: {error}");
                }
            });
        }
    }
}
