//! Asking for a job, in the transaction of what it is for.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::Query;
use uuid::Uuid;

use super::action::has_nul;
use super::job::{Due, Job, JobOptions};
use super::registry::Jobs;
use crate::error::{Error, Result};
use crate::json::refuse_too_deep;
use crate::tenancy::moments::{MUST_BE_WRITABLE, is_writable};
use crate::tenancy::{Context, Moved, TeamTx};

/// How large a job's input may be, as JSON.
pub const MAX_INPUT_BYTES: usize = 256 * 1024;
/// How long the name of a queue and a unique key may be. The queue's own limit is 128, with the team before it.
const MAX_KEY_BYTES: usize = 90;
/// How far off a job may be put.
const TEN_YEARS_US: i64 = 3_653 * 86_400 * 1_000_000;

/// Jobs that commit with the transaction, or not at all.
pub trait Enqueue {
    /// Asks for a job at once. Returns its id, which all its sessions have.
    ///
    /// # Errors
    /// [`Error::Internal`] for a job that is not registered; [`Error::Invalid`] for an input that is no JSON or larger
    /// than [`MAX_INPUT_BYTES`], or deeper than [`MAX_JSON_DEPTH`](crate::json::MAX_JSON_DEPTH).
    fn enqueue<J: Job>(&self, job: J) -> impl Future<Output = Result<Uuid>> + Send;

    /// As [`Enqueue::enqueue`]: later, before others, one after the other, or one for all that ask.
    ///
    /// # Errors
    /// As [`Enqueue::enqueue`], and [`Error::Invalid`] for options that can't be.
    fn enqueue_with<J: Job>(&self, job: J, options: JobOptions) -> impl Future<Output = Result<Uuid>> + Send;

    /// Asks for many jobs in one statement.
    ///
    /// # Errors
    /// As [`Enqueue::enqueue_with`]; then none of them is asked for.
    fn enqueue_all<J: Job>(&self, jobs: Vec<J>, options: JobOptions) -> impl Future<Output = Result<Vec<Uuid>>> + Send;
}

impl Enqueue for TeamTx {
    async fn enqueue<J: Job>(&self, job: J) -> Result<Uuid> {
        self.enqueue_with(job, JobOptions::new()).await
    }

    async fn enqueue_with<J: Job>(&self, job: J, options: JobOptions) -> Result<Uuid> {
        let asked = Asked::of::<J>(self, &options)?;
        let id = Uuid::now_v7();
        asked.insert(self, id, input(&job)?).await?;
        Ok(id)
    }

    async fn enqueue_all<J: Job>(&self, jobs: Vec<J>, options: JobOptions) -> Result<Vec<Uuid>> {
        let asked = Asked::of::<J>(self, &options)?;
        let inputs = jobs.iter().map(input).collect::<Result<Vec<_>>>()?;
        let ids: Vec<Uuid> = inputs.iter().map(|_| Uuid::now_v7()).collect();
        if !ids.is_empty() {
            asked.insert_all(self, &ids, &inputs).await?;
        }
        Ok(ids)
    }
}

fn input(job: &impl Job) -> Result<Value> {
    let input = serde_json::to_value(job).map_err(|error| Error::invalid("input", format!("is no JSON: {error}")))?;
    if has_nul(&input) {
        return Err(Error::invalid("input", "has U+0000 in it, which no row can hold"));
    }
    refuse_too_deep("input", &input)?;
    let size = input.to_string().len();
    if size > MAX_INPUT_BYTES {
        return Err(Error::invalid(
            "input",
            format!("is {size} bytes long, more than {MAX_INPUT_BYTES}; keep what is long where the job can read it"),
        ));
    }
    Ok(input)
}

/// What is asked for, beside the input.
struct Asked<'a> {
    name: &'static str,
    options: &'a JobOptions,
    due_at: Option<DateTime<Utc>>,
    delay_us: i64,
    max_attempts: i16,
}

impl<'a> Asked<'a> {
    fn of<J: Job>(tx: &TeamTx, options: &'a JobOptions) -> Result<Self> {
        tx.extension::<Jobs>()
            .ok_or_else(|| Error::internal("this database carries no jobs: App::equip gives them to it"))?
            .registered(J::NAME)?;
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
                .filter(|us| *us <= TEN_YEARS_US)
                .ok_or_else(|| Error::invalid("after", "must be ten years or less"))?,
            max_attempts,
        })
    }

    /// In whose name, and caused by which event: the one whose consumer runs, or the last that the transaction recorded.
    fn context(tx: &TeamTx) -> Result<Value> {
        let context = Context {
            causation_id: tx.cause().or_else(|| tx.last_recorded()),
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

    /// Runs an insert whose parameters up to the input are there, and says that there is work.
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
        tx.hint(Moved::Work);
        Ok(())
    }
}
