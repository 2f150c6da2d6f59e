//! `daybook serve`: database, migrations, pool, listener; and all of it down again in order.

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::Outcome;
use super::service::{Server, ensure_token_key};
use crate::app::App;
use crate::auth::Authenticator;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::events::Consumers;
use crate::http::AppState;
use crate::tenancy::{Database, Pending};

pub(super) async fn run(app: App, mut config: Config) -> Outcome {
    ensure_token_key(&mut config)?;
    let stop = stop_signal()?;
    let server = Server::start(&config).await?;
    let served = serve(app, &config, &server, stop, async |_, _| Ok(())).await;
    server.stop().await?;
    Ok(served?)
}

/// Serves until `stop`. `ready` runs once the database is, with the address that the service listens on.
pub(super) async fn serve(
    app: App,
    config: &Config,
    server: &Server,
    stop: impl Future<Output = ()> + Send + 'static,
    ready: impl AsyncFnOnce(&Database, SocketAddr) -> Result<()>,
) -> Result<()> {
    // First of all: a port that is taken should not cost a migration.
    let listener = TcpListener::bind(config.http.bind).await.map_err(|error| {
        Error::internal(format!(
            "DAYBOOK_BIND={}: {error}; set it to a free address",
            config.http.bind
        ))
    })?;
    let address = listener.local_addr().map_err(Error::internal)?;

    let pending = migrate_or_tell(&app, config, server).await?;
    let database = server.open(&app).await?;
    if pending.is_none() {
        database.ensure_partitions().await?;
    }
    if let Some(consumers) = database.extension::<Consumers>() {
        tracing::info!("consumers: {}", consumers.names().collect::<Vec<_>>().join(", "));
    }
    ready(&database, address).await?;

    let keeper = tokio::spawn(keep_partitions_ahead(database.clone()));
    let state = AppState::new(
        database.clone(),
        Authenticator::new(&config.auth)?,
        config.http.clone(),
        pending,
    );
    tracing::info!("listening on http://{address}");
    let served = axum::serve(listener, app.into_router(state))
        .with_graceful_shutdown(stop)
        .await;
    keeper.abort();
    database.close().await;
    served.map_err(Error::internal)
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

/// A service that runs for months needs next season's partitions; made ahead, no write ever waits for one.
async fn keep_partitions_ahead(database: Database) {
    let mut day = tokio::time::interval(std::time::Duration::from_hours(24));
    day.tick().await;
    loop {
        day.tick().await;
        if let Err(error) = database.ensure_partitions().await {
            tracing::error!("partitions could not be made ahead: {error}");
        }
    }
}

/// Ends at SIGINT or SIGTERM.
pub(super) fn stop_signal() -> Result<impl Future<Output = ()> + Send + 'static> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::internal)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::internal)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("stopping");
    })
}
