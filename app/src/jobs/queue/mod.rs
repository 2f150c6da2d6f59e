//! The workers of a process: jobs of the queue, run as sessions.
//!
//! The queue is [`graphile_worker`], in the same PostgreSQL. Nothing here is in anybody's transaction: what a team's
//! transaction asked for is handed over by the [relay](super::relay).

mod attempt;
mod quarantine;
mod recovery;

use std::time::Duration;

use graphile_worker::{
    JobRecovery, LocalQueueConfig, RefetchDelayConfig, Worker, WorkerOptions as QueueOptions, WorkerRecoveryConfig,
    WorkerShutdownConfig,
};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub(super) use self::attempt::{Attempt, payload};
pub(super) use self::quarantine::QUARANTINED;
use self::quarantine::Scope;
use super::registry::Jobs;
use super::relay::Relay;
use super::session::Heartbeat;
use super::watch::LastWatched;
use crate::error::{Error, Result};
use crate::tenancy::{Database, WorkerDatabase};
use daybook_migration::queue::SCHEMA;

/// Before something that ended badly is begun anew.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a finished job may wait for others to be told to the queue together.
const TOGETHER: Duration = Duration::from_millis(2);
/// How long at most until is asked again when there was nothing to do.
const IDLE: Duration = Duration::from_millis(100);
/// How often is looked how the queue stands, for `/metrics`.
const WATCH: Duration = Duration::from_secs(15);

/// How a process works.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// How many jobs run at the same time.
    pub concurrency: usize,
    /// After which silence a worker is dead, and a session lost.
    pub lost_after: Duration,
    /// How long jobs that run may go on when the process is to stop. Then they are cancelled, and begin anew elsewhere.
    pub grace: Duration,
    /// How often at least is looked for work that no hint told of.
    pub poll: Duration,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            concurrency: 10,
            lost_after: Duration::from_secs(60),
            grace: Duration::from_secs(10),
            poll: Duration::from_secs(1),
        }
    }
}

impl WorkerOptions {
    /// How often who lives says so.
    pub fn heartbeat(&self) -> Heartbeat {
        Heartbeat::within(self.lost_after)
    }

    /// How many connections the workers need beside those of their jobs: one listens, the others are for short statements.
    pub const CONNECTIONS: u32 = 10;
}

/// The workers of a process, until they are stopped.
#[derive(Debug)]
pub struct Workers {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    workers: WorkerDatabase,
}

impl Workers {
    /// Starts to run the jobs that `database` carries, to hand over what transactions ask for, and to look after what dead
    /// workers left. Durable consumers that are new begin before this returns: what is recorded from then on is theirs.
    ///
    /// # Errors
    /// As any statement.
    pub async fn start(database: &Database, workers: &WorkerDatabase, options: &WorkerOptions) -> Result<Self> {
        let database = database
            .clone()
            .with_extension(options.heartbeat())
            .with_extension(workers.clone());
        let stop = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        let queue = Queue {
            jobs: database.extension::<Jobs>().cloned().unwrap_or_default(),
            database: database.clone(),
            workers: workers.clone(),
            options: options.clone(),
        };
        let mut relay = Relay::new(&database, workers, options.poll);
        relay.begin().await?;
        tasks.spawn(until(stop.subscribe(), relay.run()));
        let sweeping = sweep(database.clone(), workers.clone(), options.clone());
        tasks.spawn(until(stop.subscribe(), sweeping));
        let watching = database.extension::<LastWatched>().cloned().unwrap_or_default();
        tasks.spawn(until(
            stop.subscribe(),
            watching.keep(workers.clone(), WATCH, options.lost_after),
        ));
        tasks.spawn(queue.run(stop.subscribe()));
        Ok(Self {
            stop,
            tasks,
            workers: workers.clone(),
        })
    }

    /// The workers' connections, which see across teams what has to be looked after.
    pub fn database(&self) -> &WorkerDatabase {
        &self.workers
    }

    /// Lets jobs that run end, within the grace, and stops. Nothing is lost: what was not done is done elsewhere.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
        self.workers.close().await;
    }
}

async fn until(mut stop: watch::Receiver<bool>, work: impl Future<Output = ()>) {
    tokio::select! {
        () = work => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

async fn sweep(database: Database, workers: WorkerDatabase, options: WorkerOptions) {
    let mut turns = tokio::time::interval(options.heartbeat().0);
    loop {
        turns.tick().await;
        if let Err(error) = quarantine::pass(&database, &workers, Scope::Locked).await {
            tracing::warn!("jobs: unreadable jobs could not be looked for: {error}");
        }
        match recovery::sweep(&workers, options.lost_after).await {
            Ok(0) => {}
            Ok(lost) => tracing::warn!("jobs: {lost} sessions whose workers are silent were told as lost"),
            Err(error) => tracing::warn!("jobs: lost sessions could not be looked for: {error}"),
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
            // Before the first fetch, which an unreadable job would fail.
            if let Err(error) = quarantine::pass(&self.database, &self.workers, Scope::All).await {
                tracing::warn!("jobs: unreadable jobs could not be looked for: {error}");
            }
            let ended = match self.worker(stop.clone()).await {
                Ok(worker) => worker.run().await.map_err(Error::internal),
                Err(error) => Err(error),
            };
            if let Err(error) = ended {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!("jobs: the queue's worker begins anew: {}", cause.unwrap_or_default());
                // In case that it ended for a plan which its connections would keep.
                self.workers.discard_plans();
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        }
    }

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
        // Without a delay the queue asks again at once when there was nothing, for ever. A hint of work ends it early, but for
        // one that comes while it asks: that one waits for the whole of it.
        let delay = RefetchDelayConfig::default()
            .with_duration(IDLE.min(options.poll))
            .with_max_abort_threshold(1);
        let fetched = LocalQueueConfig::default()
            .with_size(options.concurrency * 4)
            .with_refetch_delay(delay);
        let workers_of_hook = workers.clone();
        let worker = QueueOptions::default()
            .pg_pool(workers.pool().clone())
            .schema(SCHEMA)
            .concurrency(options.concurrency)
            .poll_interval(options.poll)
            .local_queue(fetched)
            .complete_job_batch_delay(TOGETHER)
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
