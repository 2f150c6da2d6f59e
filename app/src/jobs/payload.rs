//! The payload of a job in the queue.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::job::Job;
use crate::error::Result;
use crate::tenancy::{Context, SYSTEM_TEAM};

/// The payload of a job in the queue.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Envelope {
    /// The job's id, the same for all attempts. `None` for a scheduled job: each of its runs is a job of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    job_id: Option<Uuid>,
    pub(super) input: Value,
    /// `None` for a scheduled job, which has no requester.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) context: Option<Context>,
    /// Added by the queue to scheduled jobs.
    #[serde(rename = "_cron", default, skip_serializing_if = "Option::is_none")]
    pub(super) cron: Option<Value>,
}

impl Envelope {
    /// Returns the job's team: the system team for a scheduled job.
    pub(super) fn team_id(&self) -> Uuid {
        self.context.as_ref().map_or(SYSTEM_TEAM, |context| context.team_id)
    }

    /// Returns the job's id, the same for all attempts. For a scheduled job it is derived from the queue's id and the
    /// time at which the run was added.
    pub(super) fn job_id(&self, job: &graphile_worker::Job) -> Uuid {
        self.job_id.unwrap_or_else(|| {
            let created_ms = u64::try_from(job.created_at().timestamp_millis()).unwrap_or_default();
            let mut number = [0; 10];
            number[2..].copy_from_slice(&job.id().to_be_bytes());
            uuid::Builder::from_unix_timestamp_millis(created_ms, &number).into_uuid()
        })
    }
}

/// Makes the payload for a job.
///
/// # Errors
/// [`Error::Internal`](crate::Error::Internal) if the job can't be serialised.
pub(super) fn payload(job_id: Uuid, context: &Context, job: &impl Job) -> Result<Value> {
    let envelope = Envelope {
        job_id: Some(job_id),
        input: serde_json::to_value(job)?,
        context: Some(context.clone()),
        cron: None,
    };
    Ok(serde_json::to_value(envelope)?)
}
