//! Enqueues jobs in a transaction.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::Query;
use uuid::Uuid;

use super::action::has_nul;
use super::job::{Due, Job, JobOptions};
use super::parts::JobsParts;
use crate::error::{Error, Result};
use crate::events::WORK;
use crate::json::refuse_too_deep;
use crate::tenancy::timestamps::{MUST_BE_WRITABLE, is_writable};
use crate::tenancy::{Context, TeamTx};

/// Maximum size of a job's input as JSON, in bytes.
pub const MAX_INPUT_BYTES: usize = 256 * 1024;
/// Maximum length of a queue's name and of a deduplication key, in bytes. The relay puts the team's id before both, and
/// `graphile_worker` allows 128 characters for the name of a queue.
const MAX_KEY_BYTES: usize = 90;
/// Maximum delay of a job: ten years, in microseconds.
const MAX_DELAY_US: i64 = 3_653 * 86_400 * 1_000_000;

/// Enqueues jobs that commit together with the transaction, or not at all.
pub trait Enqueue {
    /// Enqueues a job that is due immediately. Returns its id, which all its sessions have.
    ///
    /// # Errors
    /// [`Error::Internal`] for a job that is not registered; [`Error::Invalid`] for an input that can't be serialised
    /// as JSON, contains U+0000, is larger than [`MAX_INPUT_BYTES`], or deeper than
    /// [`MAX_JSON_DEPTH`](crate::json::MAX_JSON_DEPTH).
    fn enqueue<J: Job>(&self, job: J) -> impl Future<Output = Result<Uuid>> + Send;

    /// Enqueues a job with options: a later time, a priority, a queue, or a deduplication key.
    ///
    /// # Errors
    /// As [`Enqueue::enqueue`], and [`Error::Invalid`] for invalid options.
    fn enqueue_with<J: Job>(&self, job: J, options: JobOptions) -> impl Future<Output = Result<Uuid>> + Send;

    /// Enqueues many jobs in one statement.
    ///
    /// # Errors
    /// As [`Enqueue::enqueue_with`]; then none of them is enqueued.
    fn enqueue_all<J: Job>(&self, jobs: Vec<J>, options: JobOptions) -> impl Future<Output = Result<Vec<Uuid>>> + Send;
}

impl Enqueue for TeamTx {
    async fn enqueue<J: Job>(&self, job: J) -> Result<Uuid> {
        self.enqueue_with(job, JobOptions::new()).await
    }

    async fn enqueue_with<J: Job>(&self, job: J, options: JobOptions) -> Result<Uuid> {
        let request = JobRequest::of::<J>(self, &options)?;
        let id = Uuid::now_v7();
        request.insert(self, id, input(&job)?).await?;
        Ok(id)
    }

    async fn enqueue_all<J: Job>(&self, jobs: Vec<J>, options: JobOptions) -> Result<Vec<Uuid>> {
        let request = JobRequest::of::<J>(self, &options)?;
        let inputs = jobs.iter().map(input).collect::<Result<Vec<_>>>()?;
        let ids: Vec<Uuid> = inputs.iter().map(|_| Uuid::now_v7()).collect();
        if !ids.is_empty() {
            request.insert_all(self, &ids, &inputs).await?;
        }
        Ok(ids)
    }
}

fn input(job: &impl Job) -> Result<Value> {
    let input = serde_json::to_value(job)
        .map_err(|error| Error::invalid("input", format!("can't be serialised as JSON: {error}")))?;
    if has_nul(&input) {
        return Err(Error::invalid("input", "contains U+0000, which can't be stored"));
    }
    refuse_too_deep("input", &input)?;
    let size = input.to_string().len();
    if size > MAX_INPUT_BYTES {
        return Err(Error::invalid(
            "input",
            format!("is {size} bytes long, more than {MAX_INPUT_BYTES}; store long content where the job can read it"),
        ));
    }
    Ok(input)
}

/// A request for a job, without the input.
struct JobRequest<'a> {
    name: &'static str,
    options: &'a JobOptions,
    due_at: Option<DateTime<Utc>>,
    delay_us: i64,
    max_attempts: i16,
}

impl<'a> JobRequest<'a> {
    fn of<J: Job>(tx: &TeamTx, options: &'a JobOptions) -> Result<Self> {
        JobsParts::of_tx(tx)?.jobs.registered(J::NAME)?;
        for (field, key) in [("queue", &options.queue), ("unique", &options.unique)] {
            if let Some(key) = key
                && (key.is_empty() || key.len() > MAX_KEY_BYTES || key.contains('\0'))
            {
                return Err(Error::invalid(
                    field,
                    format!("must be 1 to {MAX_KEY_BYTES} bytes long, without NUL"),
                ));
            }
        }
        let max_attempts = options.max_attempts.unwrap_or(J::MAX_ATTEMPTS);
        if max_attempts < 1 {
            return Err(Error::invalid("max_attempts", "must be 1 or more"));
        }
        let (due_at, delay) = match options.due {
            Due::Now => (None, Duration::ZERO),
            Due::After(delay) => (None, delay),
            Due::At(at) if !is_writable(&at) => return Err(Error::invalid("at", MUST_BE_WRITABLE)),
            Due::At(at) => (Some(at), Duration::ZERO),
        };
        Ok(Self {
            name: J::NAME,
            options,
            due_at,
            delay_us: i64::try_from(delay.as_micros())
                .ok()
                .filter(|us| *us <= MAX_DELAY_US)
                .ok_or_else(|| Error::invalid("after", "must be ten years or less"))?,
            max_attempts,
        })
    }

    /// Returns the context of the request. Its cause is the event whose consumer is running, or the last event that the
    /// transaction recorded.
    fn context(tx: &TeamTx) -> Result<Value> {
        let context = Context {
            causation_id: tx.causation_id().or_else(|| tx.last_recorded()),
            ..tx.context().clone()
        };
        Ok(serde_json::to_value(context)?)
    }

    async fn insert(&self, tx: &TeamTx, id: Uuid, input: Value) -> Result<()> {
        let query = sqlx::query(
            "INSERT INTO job_requests (team_id, id, job_name, job_id, input, context, queue_name, unique_key, run_at,
                priority, max_attempts)
             VALUES ($1, $2, $3, $2, $4, $5, $6, $7,
                coalesce($8, clock_timestamp() + $9 * interval '1 microsecond'), $10, $11)",
        )
        .bind(tx.team_id())
        .bind(id)
        .bind(self.name)
        .bind(input);
        self.finish(tx, query, [id]).await
    }

    async fn insert_all(&self, tx: &TeamTx, ids: &[Uuid], inputs: &[Value]) -> Result<()> {
        let query = sqlx::query(
            "INSERT INTO job_requests (team_id, id, job_name, job_id, input, context, queue_name, unique_key, run_at,
                priority, max_attempts)
             SELECT $1, a.id, $3, a.id, a.input, $5, $6, $7,
                coalesce($8, clock_timestamp() + $9 * interval '1 microsecond'), $10, $11
             FROM unnest($2::uuid[], $4::jsonb[]) AS a (id, input)",
        )
        .bind(tx.team_id())
        .bind(ids)
        .bind(self.name)
        .bind(inputs);
        self.finish(tx, query, ids.iter().copied()).await
    }

    /// Binds the remaining parameters of an insert, runs it, and signals that there is work. The parameters up to the
    /// input are bound already.
    async fn finish(
        &self,
        tx: &TeamTx,
        query: Query<'_, Postgres, PgArguments>,
        ids: impl IntoIterator<Item = Uuid>,
    ) -> Result<()> {
        let query = query
            .bind(Self::context(tx)?)
            .bind(self.options.queue.clone())
            .bind(self.options.unique.clone())
            .bind(self.due_at)
            .bind(self.delay_us)
            .bind(self.options.priority)
            .bind(self.max_attempts);
        tx.execute_sql(query).await?;
        tx.note_queued(ids);
        tx.signal(WORK);
        Ok(())
    }
}
