//! `daybook serve`: starts the database, migrations, pool and listener, and stops them in order.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::outcome::Outcome;
use super::service::{DatabaseServer, ensure_token_key, require_token_key};
use crate::app::App;
use crate::auth::Authenticator;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::events::{EventsParts, ensure_partitions};
use crate::jobs::{Heartbeat, JobsParts, Workers};
use crate::live::{Live, LiveOptions};
use crate::runs::{Runs, RunsOptions};
use crate::server::{self, AppState, ConnectionLimits, Connections, raise_descriptor_limit, wide_event_config};
use crate::tenancy::{Database, Pending};
use crate::wide_events::{WideEventConfig, WideEvents};

/// The part of the service that a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ServiceRole {
    /// Serve requests and live sockets. Jobs wait for a worker process.
    Web,
    /// Run jobs, and serve `/healthz`, `/readyz`, `/metrics` and the routes of runs.
    Worker,
}

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Run only a part of the service, as one of several processes. Without it, the process runs everything.
    #[arg(long)]
    role: Option<ServiceRole>,
}

pub(super) async fn run(app: App, mut config: Config, args: Args) -> Outcome {
    require_token_key(&config)?;
    ensure_token_key(&mut config)?;
    let stop = Stop::listen()?;
    let server = DatabaseServer::start(&config).await?;
    let wide_events = wide_event_config(&config.wide_events)?;
    let served = serve(app, &config, &server, args.role, stop, wide_events, async |_, _| Ok(())).await;
    server.stop().await?;
    Ok(served?)
}

/// Returns the run logs' storage and limits, and the address at which other processes reach this one.
fn runs_options(config: &Config, address: SocketAddr, descriptors: u64) -> RunsOptions {
    let storage = config
        .runs
        .storage
        .clone()
        .unwrap_or_else(|| config.data_dir.join("storage"));
    let url = config
        .runs
        .advertise_url
        .clone()
        .unwrap_or_else(|| format!("http://{address}"));
    // Each reader needs a file descriptor in addition to that of its connection.
    let share = usize::try_from(descriptors / 8).unwrap_or(usize::MAX);
    let max_readers = config.runs.max_readers.unwrap_or_else(|| share.clamp(8, MAX_READERS));
    let max_team_readers = config.runs.max_team_readers.unwrap_or(max_readers.div_ceil(2));
    RunsOptions::new(storage, url)
        .limits(config.runs.line_bytes, config.runs.run_bytes)
        .open(config.runs.open_logs, config.runs.open_runs)
        .readers(max_readers, max_team_readers)
}

/// The default limit of concurrent streams and downloads of run logs.
const MAX_READERS: usize = 1_000;

/// The time that a response may take to reach its client after the request timeout.
const RESPONSE_GRACE: Duration = Duration::from_secs(5);

/// The time that writing the last wide events may take.
const WIDE_EVENT_FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a stop waits for the connections to the database to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves until `stop`. Calls `ready` when the database is ready, with the address that the service listens on.
pub(super) async fn serve(
    mut app: App,
    config: &Config,
    server: &DatabaseServer,
    role: Option<ServiceRole>,
    stop: Stop,
    wide_events: WideEventConfig,
    ready: impl AsyncFnOnce(&Database, SocketAddr) -> Result<()>,
) -> Result<()> {
    let wide_events = WideEvents::new(app.wide_event_config(wide_events));
    let descriptors = raise_descriptor_limit();
    // The port is bound before anything else, so that a port in use is reported before a migration runs.
    let listener = TcpListener::bind(config.http.bind).await.map_err(|error| {
        Error::internal(format!(
            "DAYBOOK_BIND={}: {error}; set it to a free address",
            config.http.bind
        ))
    })?;
    let address = listener.local_addr().map_err(Error::internal)?;

    let pending = migrate_or_warn(&app, config, server).await?;
    let database = JobsParts::update(server.open(&app).await?, |parts| {
        // Background work writes wide events, too.
        parts.wide_events = Some(wide_events.clone());
        // Sessions that are begun by hand send heartbeats, too, because the same sweeper checks them.
        parts.heartbeat = Heartbeat::within(config.jobs.lost_after);
    })?;
    let runs = Runs::new(runs_options(config, address, descriptors), database.clock().clone());
    let database = runs.clone().attach(database);
    if pending.is_none() {
        create_partitions(&database).await?;
    }
    let consumers = &EventsParts::of(&database)?.consumers;
    tracing::info!("consumers: {}", consumers.names().collect::<Vec<_>>().join(", "));
    // Workers start before `ready` or a request records an event, so that consumers get it.
    let (workers, jobs) = if pending.is_none() && role != Some(ServiceRole::Web) {
        let (workers, jobs) = server.start_workers(config, &database).await?;
        tokio::spawn(
            runs.clone()
                .watch_for_lost_runs(jobs.clone().with_workers(workers.database().clone())),
        );
        (Some(workers), Some(jobs))
    } else {
        (None, None)
    };
    ready(&database, address).await?;

    let direct = config.live.listen.then(|| server.direct(config)).transpose()?;
    let live = Live::start(
        &database,
        direct,
        LiveOptions::default()
            .max_sockets(config.live.max_sockets)
            .allowed_origins(config.live.allowed_origins.clone()),
    )?;
    let state = AppState::new(
        database.clone(),
        Authenticator::new(&config.auth)?,
        config.http.clone(),
        live.clone(),
        pending,
    )
    .with_wide_events(wide_events.clone());
    let connections = Connections::new(
        ConnectionLimits::new(&config.http, descriptors),
        database.clock().clone(),
    );
    let state = state.with_connections(connections.clone());
    tracing::info!("connections: at most {}", connections.counts().limit);
    tracing::info!("listening on http://{address}");
    let router = match role {
        Some(ServiceRole::Worker) => server::worker_router(state),
        _ => app.into_router(state),
    };
    let grace = config.http.request_timeout + RESPONSE_GRACE;
    let serving = Serving {
        connections,
        listener,
        router,
    };
    let ended = serve_until(stop, grace, serving, &live, &runs, workers).await;
    runs.close(&database).await;
    flush_wide_events(wide_events).await;
    if let Ok(ShutdownResult::Complete) = ended {
        // The timeout is for a statement that waits for a lock: it holds its connection until the process ends.
        let closing = async {
            database.close().await;
            if let Some(jobs) = jobs {
                jobs.close().await;
            }
        };
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, closing).await;
    }
    // Otherwise requests still hold connections, and `close` would wait for them. These connections end with the
    // process.
    ended.map(|_| ())
}

/// The listener and router of the service, with its open connections.
struct Serving {
    connections: Connections,
    listener: TcpListener,
    router: Router,
}

/// How the service ended.
enum ShutdownResult {
    /// Every connection was closed.
    Complete,
    /// Connections were still open.
    CutOff,
}

/// Serves until `stop`, then waits for open connections, at most for `grace` or until a second `stop`.
async fn serve_until(
    mut stop: Stop,
    grace: Duration,
    serving: Serving,
    live: &Live,
    runs: &Runs,
    workers: Option<Workers>,
) -> Result<ShutdownResult> {
    let (finish, finishing) = oneshot::channel::<()>();
    let Serving {
        connections,
        listener,
        router,
    } = serving;
    let mut serving = pin!(connections.serve(listener, router, async {
        // The sender is dropped to stop the server.
        let _ = finishing.await;
    }));
    tokio::select! {
        () = &mut serving => return Ok(ShutdownResult::Complete),
        () = stop.received() => {}
    }
    tracing::info!("stopping; waiting up to {} s for open connections", grace.as_secs());
    drop(finish);
    // Disconnects readers of logs. Writers may finish their current request.
    runs.start_closing();
    // The listener waits only for requests, so live sockets are closed separately.
    let working = async {
        if let Some(workers) = workers {
            workers.stop().await;
        }
    };
    let serving = async { tokio::join!(serving, live.close(grace), working).0 };
    tokio::select! {
        () = serving => Ok(ShutdownResult::Complete),
        () = tokio::time::sleep(grace) => {
            tracing::warn!("connections are still open after {} s; stopping without them", grace.as_secs());
            Ok(ShutdownResult::CutOff)
        }
        () = stop.received() => {
            tracing::warn!("second stop signal; stopping at once, without waiting for open connections");
            Ok(ShutdownResult::CutOff)
        }
    }
}

/// Writes the buffered wide events, if stdout is read.
async fn flush_wide_events(wide_events: WideEvents) {
    let closed = tokio::task::spawn_blocking(move || wide_events.close(WIDE_EVENT_FLUSH_TIMEOUT)).await;
    let Ok(counts) = closed else {
        return;
    };
    if counts.dropped > 0 {
        tracing::warn!(
            "{} of {} wide events were dropped, because stdout was blocked",
            counts.dropped,
            counts.received
        );
    }
    if counts.open > 0 {
        tracing::warn!(
            "{} requests or sockets were still open and have no wide event",
            counts.open
        );
    }
}

/// Applies pending migrations. With `DAYBOOK_MIGRATE=off` it returns them instead, and logs a warning.
async fn migrate_or_warn(app: &App, config: &Config, server: &DatabaseServer) -> Result<Option<Pending>> {
    if config.database.migrate {
        app.migrations().up(&server.owner).await?;
        return Ok(None);
    }
    let status = app.migrations().status(&server.owner).await?;
    if status.pending.is_empty() {
        return Ok(None);
    }
    tracing::warn!(
        "not ready: DAYBOOK_MIGRATE=off and migrations are pending (`daybook migrate` applies them): {}",
        status.pending.join(", ")
    );
    Ok(Some(status))
}

/// Creates the partitions of the next months before the first request. From then on a job does this.
async fn create_partitions(database: &Database) -> Result<()> {
    let strays = ensure_partitions(database).await?;
    if strays > 0 {
        tracing::error!(
            "{strays} events are in events_default and not in a month's partition, because a writer's clock was wrong: \
             check the clocks of the machines that run the service"
        );
    }
    Ok(())
}

/// Receives SIGINT and SIGTERM that arrive after the call of [`Stop::listen`].
pub(super) struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    pub(super) fn listen() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(Error::internal)?,
            terminate: signal(SignalKind::terminate()).map_err(Error::internal)?,
        })
    }

    /// Waits for the next of the two signals.
    async fn received(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
