//! One attempt at a job of the queue: its context restored, its work run as a session.

use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use chrono::{DateTime, Utc};
use graphile_worker::{IntoTaskHandlerResult, TaskHandler, WorkerContext};
use serde::de::Deserializer;
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::jobs::job::Job;
use crate::jobs::outcome::JobResult;
use crate::jobs::sentence::Sentence;
use crate::jobs::session::{CANCELLED, JobSession, with_job_session};
use crate::jobs::spec::SessionSpec;
use crate::tenancy::{Context, Database, SYSTEM_TEAM};

/// What the queue keeps of a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Envelope {
    /// All its attempts have it. None of a scheduled one, whose every run is a job of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) job_id: Option<Uuid>,
    pub(super) input: Value,
    /// Of a scheduled job there is none: nobody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) context: Option<Context>,
    /// What the queue adds to scheduled jobs.
    #[serde(rename = "_cron", default, skip_serializing_if = "Option::is_none")]
    cron: Option<Value>,
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

/// What attempts need beside the job.
#[derive(Debug, Clone)]
pub(super) struct Floor {
    pub(super) database: Database,
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
        let Some(floor) = worker.get_ext::<Floor>() else {
            return Err("the worker has no database".to_owned());
        };
        let parse = |input: &Value| {
            serde_json::from_value::<J>(input.clone())
                .map_err(|error| Error::invalid("input", format!("does not fit the job {} any more: {error}", J::NAME)))
        };
        attempt(floor, worker.job(), J::NAME, parse, |job, session| async move {
            job.run(&session).await
        })
        .await
    }
}

/// Runs one attempt. What it returns is the queue's to keep, which is not under row-level security: it names the session
/// and nothing of what is in it.
async fn attempt<J: Job, F>(
    floor: &Floor,
    job: &graphile_worker::Job,
    name: &str,
    parse: impl FnOnce(&Value) -> Result<J>,
    run: impl FnOnce(J, JobSession) -> F,
) -> Result<(), String>
where
    F: Future<Output = JobResult>,
{
    let (spec, input) = spec(job, name)?;
    let job = parse(&input);
    let spec = match &job {
        // A panic there must not leave the attempt untold.
        Ok(job) => match catch_unwind(AssertUnwindSafe(|| {
            (job.session_name(), Sentence::of(|| job.sentence()))
        })) {
            Ok((name, sentence)) => spec.named(name).told_as(sentence),
            Err(_) => spec,
        },
        Err(_) => spec,
    };
    let outcome = with_job_session(&floor.database, spec, |session| async move { run(job?, session).await }).await;
    match outcome {
        Ok(()) => Ok(()),
        // Asked for, so that it is not tried again.
        Err(error)
            if error
                .downcast_ref::<Error>()
                .is_some_and(|error| error.code() == CANCELLED) =>
        {
            Ok(())
        }
        Err(_) => Err("the attempt failed: its job session says why".to_owned()),
    }
}

fn spec(job: &graphile_worker::Job, name: &str) -> Result<(SessionSpec, Value), String> {
    let envelope = Envelope::deserialize(job.payload())
        .map_err(|error| format!("the queue's payload is none of Daybook's: {error}"))?;
    let context = match (envelope.context, envelope.cron) {
        (Some(context), _) => context,
        (None, Some(_)) => Context::system(SYSTEM_TEAM, "schedule"),
        (None, None) => return Err("the queue's payload has no context: nobody would act".to_owned()),
    };
    let job_id = envelope
        .job_id
        .unwrap_or_else(|| scheduled_id(*job.id(), *job.created_at()));
    let spec = SessionSpec::new(name)
        .input(&envelope.input)
        .context(context)
        .attempt(job_id, i32::from(*job.attempts()), i32::from(*job.max_attempts()))
        .queued(*job.id(), *job.run_at());
    Ok((spec, envelope.input))
}

/// The same for all attempts at one run of a schedule.
pub(super) fn scheduled_id(queue_job_id: i64, created_at: DateTime<Utc>) -> Uuid {
    let millis = u64::try_from(created_at.timestamp_millis()).unwrap_or_default();
    let since_epoch = Duration::from_millis(millis);
    let mut random = [0; 10];
    random[2..].copy_from_slice(&queue_job_id.to_be_bytes());
    uuid::Builder::from_unix_timestamp_millis(u64::try_from(since_epoch.as_millis()).unwrap_or_default(), &random)
        .into_uuid()
}
