//! One attempt at a job of the queue: its context restored, its work run as a session.

use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

use graphile_worker::{IntoTaskHandlerResult, TaskHandler, WorkerContext};
use serde::de::Deserializer;
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::jobs::job::Job;
use crate::jobs::sentence::Sentence;
use crate::jobs::session::{CANCELLED, with_job_session};
use crate::jobs::spec::SessionSpec;
use crate::json::{MAX_JSON_DEPTH, Unreadable, is_too_deep, refuse_too_deep};
use crate::tenancy::{Context, Database, SYSTEM_TEAM};

/// What the queue keeps of a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Envelope {
    /// All its attempts have it. None of a scheduled one, whose every run is a job of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    job_id: Option<Uuid>,
    input: Value,
    /// Of a scheduled job there is none: nobody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    context: Option<Context>,
    /// What the queue adds to scheduled jobs.
    #[serde(rename = "_cron", default, skip_serializing_if = "Option::is_none")]
    cron: Option<Value>,
}

impl Envelope {
    /// The job's team.
    pub(super) fn team_id(&self) -> Uuid {
        self.context.as_ref().map_or(SYSTEM_TEAM, |context| context.team_id)
    }

    /// The same for all attempts: of a scheduled job, made of the queue's number and the time of its run.
    pub(super) fn job_id(&self, job: &graphile_worker::Job) -> Uuid {
        self.job_id.unwrap_or_else(|| {
            let created_ms = u64::try_from(job.created_at().timestamp_millis()).unwrap_or_default();
            let mut number = [0; 10];
            number[2..].copy_from_slice(&job.id().to_be_bytes());
            uuid::Builder::from_unix_timestamp_millis(created_ms, &number).into_uuid()
        })
    }
}

/// What the queue is to keep of a job.
pub(in crate::jobs) fn payload(job_id: Uuid, context: &Context, job: &impl Job) -> Result<Value> {
    let envelope = Envelope {
        job_id: Some(job_id),
        input: serde_json::to_value(job)?,
        context: Some(context.clone()),
        cron: None,
    };
    Ok(serde_json::to_value(envelope)?)
}

/// The queue's handler of `J`.
pub(in crate::jobs) struct Attempt<J>(PhantomData<J>);

impl<J> fmt::Debug for Attempt<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Attempt")
    }
}

// The queue hands payloads to handlers by serde. The envelope is read where its failure can be told in a session.
impl<J> Serialize for Attempt<J> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de, J> Deserialize<'de> for Attempt<J> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer)?;
        Ok(Self(PhantomData))
    }
}

impl<J: Job> TaskHandler for Attempt<J> {
    const IDENTIFIER: &'static str = J::NAME;

    async fn run(self, worker: WorkerContext) -> impl IntoTaskHandlerResult {
        match worker.get_ext::<Database>() {
            Some(database) => attempt::<J>(database, worker.job()).await,
            None => Err("the worker has no database".to_owned()),
        }
    }
}

/// Runs one attempt. What it returns is the queue's to keep, which is not under row-level security: it names the session
/// and nothing of what is in it.
async fn attempt<J: Job>(database: &Database, job: &graphile_worker::Job) -> Result<(), String> {
    let (spec, input) = spec(job, J::NAME)?;
    // An older version has taken it, or somebody's SQL.
    let parsed = refuse_too_deep("input", &input).and_then(|()| {
        serde_json::from_value::<J>(input)
            .map_err(|error| Error::invalid("input", format!("does not fit the job {} any more: {error}", J::NAME)))
    });
    // A panic there must not leave the attempt untold.
    let told = parsed.as_ref().ok().and_then(|job| {
        catch_unwind(AssertUnwindSafe(|| {
            (job.session_name(), Sentence::of(|| job.sentence()))
        }))
        .ok()
    });
    let spec = match told {
        Some((name, sentence)) => spec.named(name).told_as(sentence),
        None => spec,
    };
    let outcome = with_job_session(database, spec, |session| async move { parsed?.run(&session).await }).await;
    match outcome {
        Ok(()) => Ok(()),
        // Asked for, so that it is not tried again.
        Err(error) if is_cancelled(error.as_ref()) => Ok(()),
        Err(_) => Err("the attempt failed: its job session says why".to_owned()),
    }
}

fn is_cancelled(error: &(dyn std::error::Error + 'static)) -> bool {
    error
        .downcast_ref::<Error>()
        .is_some_and(|error| error.code() == CANCELLED)
}

fn spec(job: &graphile_worker::Job, name: &str) -> Result<(SessionSpec, Value), String> {
    let envelope = Envelope::deserialize(job.payload())
        .map_err(|error| format!("the queue's payload is none of Daybook's: {error}"))?;
    let job_id = envelope.job_id(job);
    let context = match (envelope.context, envelope.cron) {
        (Some(context), _) => context,
        (None, Some(_)) => Context::system(SYSTEM_TEAM, "schedule"),
        (None, None) => return Err("the queue's payload has no context: nobody would act".to_owned()),
    };
    let kept = match is_too_deep(&envelope.input, MAX_JSON_DEPTH) {
        true => &Unreadable::TOO_DEEP.placeholder(),
        false => &envelope.input,
    };
    let spec = SessionSpec::new(name)
        .input(kept)
        .context(context)
        .attempt(job_id, i32::from(*job.attempts()), i32::from(*job.max_attempts()))
        .queued(*job.id(), *job.run_at());
    Ok((spec, envelope.input))
}
