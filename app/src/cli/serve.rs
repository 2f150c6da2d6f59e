//! `daybook serve`: database, migrations, pool, listener; and all of it down again in order.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::Outcome;
use super::service::{Server, ensure_token_key, require_token_key};
use crate::app::App;
use crate::auth::Authenticator;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::events::Consumers;
use crate::jobs::{Heartbeat, Workers};
use crate::live::{Live, LiveOptions};
use crate::runs::{Runs, RunsOptions};
use crate::server::{self, AppState, ConnectionLimits, Connections, raise_descriptor_limit, wide_event_config};
use crate::tenancy::{Database, Pending};
use crate::wide_events::{WideEventConfig, WideEvents};

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ServiceRole {
    /// Serves requests and live sockets. Jobs wait for a process that works.
    Web,
    /// Runs jobs, and serves `/healthz`, `/readyz` and `/metrics`.
    Worker,
}

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Do only a part of it, as one of several processes. Without it, everything.
    #[arg(long)]
    role: Option<ServiceRole>,
}

pub(super) async fn run(app: App, mut config: Config, args: Args) -> Outcome {
    require_token_key(&config)?;
    ensure_token_key(&mut config)?;
    let stop = Stop::listen()?;
    let server = Server::start(&config).await?;
    let wide_events = wide_event_config(&config.wide_events)?;
    let served = serve(app, &config, &server, args.role, stop, wide_events, async |_, _| Ok(())).await;
    server.stop().await?;
    Ok(served?)
}

/// Where this process keeps run logs, and where others reach it.
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
    // Each has a descriptor of its own, beside its connection's.
    let share = usize::try_from(descriptors / 8).unwrap_or(usize::MAX);
    let max_readers = config.runs.max_readers.unwrap_or_else(|| share.clamp(8, MAX_READERS));
    let max_team_readers = config.runs.max_team_readers.unwrap_or(max_readers.div_ceil(2));
    RunsOptions::new(storage, url)
        .limits(config.runs.line_bytes, config.runs.run_bytes)
        .open(config.runs.open_logs, config.runs.open_runs)
        .readers(max_readers, max_team_readers)
}

/// Streams and downloads of run logs at the same time, where nothing is set.
const MAX_READERS: usize = 1_000;

/// How long an answer may take to reach its client, beyond the time that its request may take.
const LEAVE: Duration = Duration::from_secs(5);

/// How long the last wide events may take to be written.
const LAST_EVENTS: Duration = Duration::from_secs(2);

/// Serves until `stop`. `ready` runs once the database is, with the address that the service listens on.
pub(super) async fn serve(
    mut app: App,
    config: &Config,
    server: &Server,
    role: Option<ServiceRole>,
    stop: Stop,
    wide_events: WideEventConfig,
    ready: impl AsyncFnOnce(&Database, SocketAddr) -> Result<()>,
) -> Result<()> {
    let wide_events = WideEvents::new(app.wide_event_config(wide_events));
    let descriptors = raise_descriptor_limit();
    // First of all: a port that is taken should not cost a migration.
    let listener = TcpListener::bind(config.http.bind).await.map_err(|error| {
        Error::internal(format!(
            "DAYBOOK_BIND={}: {error}; set it to a free address",
            config.http.bind
        ))
    })?;
    let address = listener.local_addr().map_err(Error::internal)?;

    let pending = migrate_or_tell(&app, config, server).await?;
    // Work in the background has wide events, too.
    let database = server
        .open(&app)
        .await?
        .with_extension(wide_events.clone())
        // Of sessions by hand, which the same sweeper looks after.
        .with_extension(Heartbeat::within(config.jobs.lost_after))
        .with_extension(Runs::new(runs_options(config, address, descriptors)));
    if pending.is_none() {
        partitions_ahead(&database).await?;
    }
    if let Some(consumers) = database.extension::<Consumers>() {
        tracing::info!("consumers: {}", consumers.names().collect::<Vec<_>>().join(", "));
    }
    // Before anything is recorded that consumers may want.
    let (workers, jobs) = if pending.is_none() && role != Some(ServiceRole::Web) {
        let (workers, jobs) = server.work(config, &database).await?;
        if let Some(runs) = database.extension::<Runs>() {
            tokio::spawn(
                runs.clone()
                    .watch_for_lost_runs(jobs.clone().with_extension(workers.database().clone())),
            );
        }
        (Some(workers), Some(jobs))
    } else {
        (None, None)
    };
    ready(&database, address).await?;

    let direct = config.live.listen.then(|| server.direct(config)).transpose()?;
    let live = Live::start(
        &database,
        direct,
        LiveOptions {
            max_sockets: config.live.max_sockets,
            allowed_origins: config.live.allowed_origins.clone(),
            ..LiveOptions::default()
        },
    );
    let state = AppState::new(
        database.clone(),
        Authenticator::new(&config.auth)?,
        config.http.clone(),
        live.clone(),
        pending,
    )
    .with_wide_events(wide_events.clone());
    let connections = Connections::new(ConnectionLimits::new(&config.http, descriptors));
    let state = state.with_connections(connections.clone());
    tracing::info!("connections: at most {}", connections.counts().limit);
    tracing::info!("listening on http://{address}");
    let router = match role {
        Some(ServiceRole::Worker) => server::worker_router(state),
        _ => app.into_router(state),
    };
    let runs = database.extension::<Runs>().cloned();
    let grace = config.http.request_timeout + LEAVE;
    let serving = Serving {
        connections,
        listener,
        router,
    };
    let ended = serve_until(stop, grace, serving, &live, runs.as_ref(), workers).await;
    if let Some(runs) = runs {
        runs.close(&database).await;
    }
    write_last(wide_events).await;
    if let Ok(Ended::Whole) = ended {
        database.close().await;
        if let Some(jobs) = jobs {
            jobs.close().await;
        }
    }
    // Else requests hold connections that `close` would wait for; they end with the process.
    ended.map(|_| ())
}

/// What is served, and where.
struct Serving {
    connections: Connections,
    listener: TcpListener,
    router: Router,
}

/// How the service ended.
enum Ended {
    /// Every connection was over.
    Whole,
    /// Connections were still open.
    CutShort,
}

/// Serves until `stop`, then waits for open connections, though no longer than `grace` or until `stop` again.
async fn serve_until(
    mut stop: Stop,
    grace: Duration,
    serving: Serving,
    live: &Live,
    runs: Option<&Runs>,
    workers: Option<Workers>,
) -> Result<Ended> {
    let (finish, finishing) = oneshot::channel::<()>();
    let Serving {
        connections,
        listener,
        router,
    } = serving;
    let mut serving = pin!(connections.serve(listener, router, async {
        // Sent or dropped, it means the same.
        let _ = finishing.await;
    }));
    tokio::select! {
        () = &mut serving => return Ok(Ended::Whole),
        () = stop.asked() => {}
    }
    tracing::info!("stopping; waiting up to {} s for open connections", grace.as_secs());
    drop(finish);
    // Readers of logs go; who writes one may end what it is at.
    if let Some(runs) = runs {
        runs.begin_to_close();
    }
    // The listener doesn't wait for sockets: they are no requests any longer.
    let working = async {
        if let Some(workers) = workers {
            workers.stop().await;
        }
    };
    let serving = async { tokio::join!(serving, live.close(grace), working).0 };
    tokio::select! {
        () = serving => Ok(Ended::Whole),
        () = tokio::time::sleep(grace) => {
            tracing::warn!("connections are still open after {} s; ending without them", grace.as_secs());
            Ok(Ended::CutShort)
        }
        () = stop.asked() => {
            tracing::warn!("asked to stop again; ending at once, without waiting for open connections");
            Ok(Ended::CutShort)
        }
    }
}

/// Writes the wide events that wait, if somebody reads them.
async fn write_last(wide_events: WideEvents) {
    let closed = tokio::task::spawn_blocking(move || wide_events.close(LAST_EVENTS)).await;
    let Ok(counts) = closed else {
        return;
    };
    if counts.dropped > 0 {
        tracing::warn!("{} of {} wide events were dropped", counts.dropped, counts.received);
    }
    if counts.open > 0 {
        tracing::warn!(
            "{} requests or sockets were cut off and have no wide event",
            counts.open
        );
    }
}

async fn migrate_or_tell(app: &App, config: &Config, server: &Server) -> Result<Option<Pending>> {
    if config.database.migrate {
        app.migrations().up(&server.owner).await?;
        return Ok(None);
    }
    let status = app.migrations().status(&server.owner).await?;
    if status.pending.is_empty() {
        return Ok(None);
    }
    tracing::warn!(
        "not ready: DAYBOOK_MIGRATE=off and migrations are pending: {}",
        status.pending.join(", ")
    );
    Ok(Some(status))
}

/// Before the first request; from then on it is a job.
async fn partitions_ahead(database: &Database) -> Result<()> {
    let strays = database.ensure_partitions().await?;
    if strays > 0 {
        tracing::error!(
            "{strays} events are in no month's partition but in events_default: a clock that writes them is wrong"
        );
    }
    Ok(())
}

/// SIGINT and SIGTERM, from the moment that they are listened for.
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

    /// Ends at the next of either.
    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
