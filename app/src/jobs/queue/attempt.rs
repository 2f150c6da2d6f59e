//! Runs one attempt at a job of the queue as a session, in the context of the request.

use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

use graphile_worker::{IntoTaskHandlerResult, TaskHandler, WorkerContext};
use serde::de::Deserializer;
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::jobs::job::Job;
use crate::jobs::payload::Envelope;
use crate::jobs::sentence::JobSentence;
use crate::jobs::session::{CANCELLED, with_job_session};
use crate::jobs::spec::SessionSpec;
use crate::json::{MAX_JSON_DEPTH, Unreadable, is_too_deep, refuse_too_deep};
use crate::tenancy::{Context, Database, SYSTEM_TEAM};

/// The queue's handler for the job `J`.
pub(in crate::jobs) struct Attempt<J>(PhantomData<J>);

impl<J> fmt::Debug for Attempt<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Attempt")
    }
}

// The queue deserialises a payload into its handler. The payload is read later instead, so that an error is recorded in
// a session.
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

/// Runs one attempt.
///
/// # Errors
/// A text that the queue stores. The queue's tables are not separated by team, so the text has nothing of the session's
/// content.
async fn attempt<J: Job>(database: &Database, job: &graphile_worker::Job) -> Result<(), String> {
    let (spec, input) = spec(job, J::NAME)?;
    // An older version, or SQL by hand, may have put a deeper input there.
    let parsed = refuse_too_deep("input", &input).and_then(|()| {
        serde_json::from_value::<J>(input)
            .map_err(|error| Error::invalid("input", format!("does not match the job {}: {error}", J::NAME)))
    });
    // If the job's own functions panic here, the attempt must still be recorded.
    let name_and_sentence = parsed.as_ref().ok().and_then(|job| {
        catch_unwind(AssertUnwindSafe(|| {
            (job.session_name(), JobSentence::of(|| job.sentence()))
        }))
        .ok()
    });
    let spec = match name_and_sentence {
        Some((name, sentence)) => spec.named(name).with_sentence(sentence),
        None => spec,
    };
    let outcome = with_job_session(database, spec, |session| async move { parsed?.run(&session).await }).await;
    match outcome {
        Ok(()) => Ok(()),
        // The queue must not try it again.
        Err(error) if is_cancelled(error.as_ref()) => Ok(()),
        Err(_) => Err("the attempt failed: its job session has the error".to_owned()),
    }
}

fn is_cancelled(error: &(dyn std::error::Error + 'static)) -> bool {
    error
        .downcast_ref::<Error>()
        .is_some_and(|error| error.code() == CANCELLED)
}

fn spec(job: &graphile_worker::Job, name: &str) -> Result<(SessionSpec, Value), String> {
    let envelope = Envelope::deserialize(job.payload())
        .map_err(|error| format!("the payload was not written by Daybook: {error}"))?;
    let job_id = envelope.job_id(job);
    let context = match (envelope.context, envelope.cron) {
        (Some(context), _) => context,
        (None, Some(_)) => Context::system(SYSTEM_TEAM, "schedule"),
        (None, None) => return Err("the payload has no context, so the job has no team and no actor".to_owned()),
    };
    let recorded = match is_too_deep(&envelope.input, MAX_JSON_DEPTH) {
        true => &Unreadable::TOO_DEEP.placeholder(),
        false => &envelope.input,
    };
    let spec = SessionSpec::new(name)
        .input(recorded)
        .context(context)
        .attempt(job_id, i32::from(*job.attempts()), i32::from(*job.max_attempts()))
        .queued(*job.id(), *job.run_at());
    Ok((spec, envelope.input))
}
