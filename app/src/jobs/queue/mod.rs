//! The workers of a process, which run the jobs of the queue as sessions.
//!
//! The queue is [`graphile_worker`], in the same PostgreSQL. Workers take no part in the transactions that enqueue
//! jobs: the [relay](super::relay) hands over what has committed.

mod attempt;
mod by_priority;
mod quarantine;
mod recovery;

use std::time::Duration;

use graphile_worker::{
    Database as QueueDatabase, JobRecovery, LocalQueueConfig, RefetchDelayConfig, Worker,
    WorkerOptions as QueueOptions, WorkerRecoveryConfig, WorkerShutdownConfig,
};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub(super) use self::attempt::Attempt;
use self::by_priority::ByPriority;
use self::quarantine::Scope;
use super::parts::JobsParts;
use super::read_queue_state::poll_queue_state;
use super::registry::Jobs;
use super::relay::Relay;
use super::worker_options::WorkerOptions;
use crate::error::{Error, Result};
use crate::tenancy::{Database, WorkerDatabase};
use daybook_migration::queue::SCHEMA;

/// Maximum time for stopping, in addition to the grace period.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Delay before the queue's worker is started again after it has ended.
const RESTART_DELAY: Duration = Duration::from_secs(1);
/// How long a finished job waits for others, so that the queue removes them in one statement.
const COMPLETION_BATCH_DELAY: Duration = Duration::from_millis(2);
/// Delay before the next fetch if the last one returned nothing.
const IDLE_FETCH_DELAY: Duration = Duration::from_millis(100);
/// Interval at which the figures of `/metrics` about the queue are read.
const QUEUE_STATE_INTERVAL: Duration = Duration::from_secs(15);

/// The running workers of a process.
#[derive(Debug)]
pub struct Workers {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    workers: WorkerDatabase,
    grace: Duration,
}

impl Workers {
    /// Starts workers for the jobs that are registered with `database`, the relay, and the recovery of dead workers'
    /// jobs. When this returns, every durable consumer has a cursor: it receives all events that are recorded from then
    /// on.
    ///
    /// # Errors
    /// [`Error::Internal`] for a database without [`JobsParts`]; those of any database statement.
    pub async fn start(database: &Database, workers: &WorkerDatabase, options: &WorkerOptions) -> Result<Self> {
        let database = JobsParts::update(database.clone(), |parts| parts.heartbeat = options.heartbeat())?
            .with_workers(workers.clone());
        let parts = JobsParts::of(&database)?;
        let stop = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        let queue = Queue {
            jobs: parts.jobs.clone(),
            database: database.clone(),
            workers: workers.clone(),
            options: options.clone(),
        };
        let mut relay = Relay::new(&database, workers, options.poll)?;
        relay.begin().await?;
        tasks.spawn(until(stop.subscribe(), relay.run()));
        let sweeping = sweep(database.clone(), workers.clone(), options.clone());
        tasks.spawn(until(stop.subscribe(), sweeping));
        let polling = poll_queue_state(
            parts.last_queue_state.clone(),
            workers.clone(),
            QUEUE_STATE_INTERVAL,
            options.lost_after,
            database.clock().clone(),
        );
        tasks.spawn(until(stop.subscribe(), polling));
        tasks.spawn(queue.run(stop.subscribe()));
        Ok(Self {
            stop,
            tasks,
            workers: workers.clone(),
            grace: options.grace,
        })
    }

    /// Returns the workers' database. Its role may read the queue, and the envelopes of all teams' sessions and events.
    pub fn database(&self) -> &WorkerDatabase {
        &self.workers
    }

    /// Waits for running jobs, no longer than [`WorkerOptions::grace`], and stops. Jobs that were fetched or
    /// interrupted go back to the queue.
    ///
    /// If another database session has locked the rows of these jobs, this waits for it, for at most 5 s. After that,
    /// the jobs go back as soon as the rows are free, or another process recovers them after
    /// [`WorkerOptions::lost_after`].
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        let stopping = async {
            while self.tasks.join_next().await.is_some() {}
            self.workers.close().await;
        };
        let limit = self.grace.saturating_add(STOP_TIMEOUT);
        if tokio::time::timeout(limit, stopping).await.is_err() {
            tracing::warn!(
                "jobs: the workers did not stop within {} s: one of their statements waits, probably for a lock (see pg_locks)",
                limit.as_secs_f32()
            );
        }
    }
}

/// Runs `work` until it ends or the workers are stopped.
async fn until(mut stop: watch::Receiver<bool>, work: impl Future<Output = ()>) {
    tokio::select! {
        () = work => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

/// Quarantines unreadable jobs, and marks sessions without a heartbeat as lost, at intervals.
async fn sweep(database: Database, workers: WorkerDatabase, options: WorkerOptions) {
    let mut turns = tokio::time::interval(options.heartbeat().0);
    loop {
        turns.tick().await;
        if let Err(error) = quarantine::pass(&database, &workers, Scope::Locked).await {
            tracing::warn!("jobs: could not search the queue for unreadable jobs: {error}");
        }
        match recovery::sweep(&workers, options.lost_after).await {
            Ok(0) => {}
            Ok(lost) => tracing::warn!("jobs: {lost} sessions without a heartbeat were marked as lost"),
            Err(error) => tracing::warn!("jobs: could not search for sessions without a heartbeat: {error}"),
        }
    }
}

struct Queue {
    jobs: Jobs,
    database: Database,
    workers: WorkerDatabase,
    options: WorkerOptions,
}

impl Queue {
    async fn run(self, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            // An unreadable job would make the first fetch fail.
            if let Err(error) = quarantine::pass(&self.database, &self.workers, Scope::All).await {
                tracing::warn!("jobs: could not search the queue for unreadable jobs: {error}");
            }
            let ended = match self.worker(stop.clone()).await {
                Ok(worker) => worker.run().await.map_err(Error::internal),
                Err(error) => Err(error),
            };
            if let Err(error) = ended {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(
                    "jobs: the queue's worker ended and is started again: {}",
                    cause.unwrap_or_default()
                );
                // The cause may have been an invalid plan, which its connections would keep.
                self.workers.discard_plans();
            }
            tokio::select! {
                () = tokio::time::sleep(RESTART_DELAY) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        }
    }

    /// Creates a worker of the queue.
    async fn worker(&self, mut stop: watch::Receiver<bool>) -> Result<Worker> {
        let Self {
            jobs,
            database,
            workers,
            options,
        } = self;
        let stopping = async move {
            let _ = stop.wait_for(|stop| *stop).await;
        };
        let shutdown = WorkerShutdownConfig::default()
            .listen_os_shutdown_signals(false)
            .grace_period(options.grace)
            .interrupted_job_retry_delay(Duration::ZERO)
            .shutdown_signal(stopping);
        let recovery = WorkerRecoveryConfig::default()
            .heartbeat_interval(options.heartbeat().0)
            .sweep_interval(options.heartbeat().0)
            .sweep_threshold(options.lost_after)
            .recovery_delay(Duration::ZERO);
        // Without a delay, a worker without jobs would fetch all the time. The queue's notification of a new job ends
        // the delay, unless it arrives during a fetch.
        let delay = RefetchDelayConfig::default()
            .with_duration(IDLE_FETCH_DELAY.min(options.poll))
            .with_max_abort_threshold(1);
        let fetched = LocalQueueConfig::default()
            .with_size(options.concurrency * 4)
            .with_refetch_delay(delay);
        let workers_of_hook = workers.clone();
        let worker = QueueOptions::default()
            .database(QueueDatabase::new(ByPriority::new(workers.pool().clone())))
            .schema(SCHEMA)
            .concurrency(options.concurrency)
            .poll_interval(options.poll)
            .local_queue(fetched)
            .complete_job_batch_delay(COMPLETION_BATCH_DELAY)
            .worker_recovery(recovery)
            .worker_shutdown(shutdown)
            .add_extension(database.clone())
            .on(JobRecovery, move |recovery| {
                let workers = workers_of_hook.clone();
                async move { recovery::recover(&workers, &recovery).await }
            })
            .define_jobs(jobs.definitions())
            .with_crons(jobs.crontabs())
            .init()
            .await
            .map_err(Error::internal)?;
        Ok(worker)
    }
}
