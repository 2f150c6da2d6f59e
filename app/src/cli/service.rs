//! Finds and opens the database, and finds the token secret, for `serve`, `dev` and the other commands.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use rand::Rng as _;
use rand::distr::Alphanumeric;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use uuid::Uuid;

use super::private_server::PrivatePostgres;
use crate::app::App;
use crate::config::{Config, JwtKey, MIN_SECRET_BYTES, Secret, read_secret_file};
use crate::error::{Error, Result};
use crate::housekeeping::Retention;
use crate::jobs::{WorkerOptions, Workers};
use crate::tenancy::{Database, DatabaseOptions, ErasedNames, SYSTEM_TEAM, WorkerDatabase};

/// The file to which a running service writes the address of its private cluster.
const ADDRESS_FILE: &str = "database.url";
const SECRET_FILE: &str = "jwt.secret";

/// A running PostgreSQL server, with the options to connect to it in each role.
pub(super) struct DatabaseServer {
    /// Connects as the role that owns the tables.
    pub(super) owner: PgConnectOptions,
    /// The address for `psql`, without a password. Printed for people.
    pub(super) address: Option<String>,
    app: DatabaseOptions,
    worker: PgConnectOptions,
    private: Option<(PrivatePostgres, PathBuf)>,
}

impl DatabaseServer {
    /// Returns the server in `DATABASE_URL`, or else the private one, which is started if it isn't running.
    pub(super) async fn start(config: &Config) -> Result<Self> {
        if let Some(server) = Self::configured(config)? {
            return Ok(server);
        }
        let private = PrivatePostgres::start(&config.data_dir)
            .await
            .map_err(Error::internal)?;
        let file = config.data_dir.join(ADDRESS_FILE);
        write_private(&file, &private.url()).map_err(|error| at_path(&file, error))?;
        Ok(Self {
            owner: private.owner_options(),
            address: Some(private.url()),
            app: options(config, private.owner_options(), true),
            worker: private.owner_options(),
            private: Some((private, file)),
        })
    }

    /// Returns the server for a command: the one that a running service uses, or else the one that
    /// [`DatabaseServer::start`] returns.
    pub(super) async fn find(config: &Config) -> Result<Self> {
        if let Some(server) = Self::configured(config)? {
            return Ok(server);
        }
        if let Ok(url) = fs::read_to_string(config.data_dir.join(ADDRESS_FILE))
            && let Ok(owner) = PgConnectOptions::from_str(url.trim())
            && let Ok(connection) = owner.connect().await
        {
            connection.close().await?;
            let app = options(config, owner.clone(), true);
            return Ok(Self {
                worker: owner.clone(),
                owner,
                address: Some(url),
                app,
                private: None,
            });
        }
        Self::start(config).await
    }

    fn configured(config: &Config) -> Result<Option<Self>> {
        let Some(url) = &config.database.url else {
            return Ok(None);
        };
        let owner = PgConnectOptions::from_str(url.expose())?;
        let app = match &config.database.app_url {
            Some(url) => options(config, PgConnectOptions::from_str(url.expose())?, false),
            None => options(config, owner.clone(), true),
        };
        let worker = match &config.database.worker_url {
            Some(url) => PgConnectOptions::from_str(url.expose())?,
            None => owner.clone(),
        };
        Ok(Some(Self {
            owner,
            address: None,
            app,
            worker,
            private: None,
        }))
    }

    /// Opens the run-time pool, with the parts of the program.
    pub(super) async fn open(&self, app: &App) -> Result<Database> {
        app.equip(Database::connect(self.app.clone()).await?)
    }

    /// Starts this process's workers. They have separate pools, so that requests don't wait for jobs, and jobs have no
    /// statement timeout.
    pub(super) async fn start_workers(&self, config: &Config, database: &Database) -> Result<(Workers, Database)> {
        let workers = self.workers().await?;
        let concurrency = config.jobs.concurrency;
        let options = self
            .app
            .clone()
            .max_connections(u32::try_from(concurrency).unwrap_or(u32::MAX).saturating_add(2))
            .statement_timeout(None);
        let worker_options = WorkerOptions::default()
            .concurrency(concurrency)
            .lost_after(config.jobs.lost_after)
            .grace(config.jobs.grace);
        let retention = Retention::default()
            .sessions_days(config.jobs.keep_days)
            .seal_runs_after_days(config.runs.seal_after_days)
            .run_logs_days(config.runs.keep_days);
        let database = retention.attach(database.open_second_pool(options).await?);
        let workers = Workers::start(&database, &workers, &worker_options).await?;
        Ok((workers, database))
    }

    /// Opens the workers' connections.
    pub(super) async fn workers(&self) -> Result<WorkerDatabase> {
        WorkerDatabase::connect(self.worker.clone(), WorkerOptions::CONNECTIONS).await
    }

    /// Returns the options for a connection without a pooler, for LISTEN.
    pub(super) fn direct(&self, config: &Config) -> Result<PgConnectOptions> {
        match &config.database.direct_url {
            Some(url) => Ok(PgConnectOptions::from_str(url.expose())?),
            None => Ok(self.app.connect.clone()),
        }
    }

    /// Returns the ids and names of all teams. Only the owner of the tables can list them.
    pub(super) async fn teams(&self) -> Result<Vec<(Uuid, String)>> {
        let mut connection = self.owner.connect().await?;
        let teams = sqlx::query_as("SELECT id, name FROM teams ORDER BY name, id")
            .fetch_all(&mut connection)
            .await?;
        connection.close().await?;
        Ok(teams)
    }

    /// Stops the private cluster, if this process started it.
    pub(super) async fn stop(self) -> Result<()> {
        if let Some((private, file)) = self.private {
            private.stop().await.map_err(Error::internal)?;
            // A stale file does no harm: commands try the address before they use it.
            let _ = fs::remove_file(file);
        }
        Ok(())
    }
}

fn options(config: &Config, connect: PgConnectOptions, assume_app_role: bool) -> DatabaseOptions {
    DatabaseOptions::new(connect)
        .assume_app_role(assume_app_role)
        .max_connections(config.database.pool_size)
        .statement_cache(config.database.statement_cache)
        .strict_roles(config.database.strict_roles)
        .erased_names(match config.database.erased_pseudonyms {
            true => ErasedNames::Pseudonym,
            false => ErasedNames::Keep,
        })
        // The statement of a request that timed out ends in the database, too.
        .statement_timeout(Some(config.http.request_timeout))
}

/// Runs `work` with the program's database. If a server was started for it, that is stopped again.
pub(super) async fn with_database<T>(
    app: &App,
    config: &Config,
    work: impl AsyncFnOnce(&DatabaseServer, &Database) -> Result<T>,
) -> Result<T> {
    let server = DatabaseServer::find(config).await?;
    let outcome = match open_migrated(app, &server).await {
        Ok(database) => {
            let outcome = work(&server, &database).await;
            database.close().await;
            outcome
        }
        Err(error) => Err(error),
    };
    server.stop().await?;
    outcome
}

/// Opens the database, or fails if migrations are pending: a command must not migrate as a side effect, and without the
/// schema even the run-time role may be missing.
async fn open_migrated(app: &App, server: &DatabaseServer) -> Result<Database> {
    let status = app.migrations().status(&server.owner).await?;
    if !status.pending.is_empty() {
        return Err(Error::internal(format!(
            "migrations are pending: run `daybook migrate` (make db-migrate) to apply {}",
            status.pending.join(", ")
        )));
    }
    server.open(app).await
}

/// Does the same as [`with_database`], and passes the id of the team that `--team` gives by id or name, or of the only
/// team.
pub(super) async fn with_team<T>(
    app: &App,
    config: &Config,
    team: Option<&str>,
    work: impl AsyncFnOnce(&DatabaseServer, &Database, Uuid) -> Result<T>,
) -> Result<T> {
    with_database(app, config, async |server: &DatabaseServer, database: &Database| {
        let team_id = find_team(server.teams().await?, team)?;
        work(server, database, team_id).await
    })
    .await
}

fn find_team(teams: Vec<(Uuid, String)>, wanted: Option<&str>) -> Result<Uuid> {
    // As for all settings, an empty DAYBOOK_TEAM counts as not set.
    let wanted = wanted.filter(|wanted| !wanted.trim().is_empty());
    let listed = teams
        .iter()
        .map(|(id, name)| format!("{name} ({id})"))
        .collect::<Vec<_>>()
        .join(", ");
    let mut matching = teams.into_iter().filter(|(id, name)| match wanted {
        Some(wanted) => name == wanted || id.to_string() == wanted,
        None => *id != SYSTEM_TEAM,
    });
    match (matching.next(), matching.next()) {
        (Some((id, _)), None) => Ok(id),
        (None, _) => Err(Error::invalid(
            "--team",
            format!("matches no team; the teams are: {listed}"),
        )),
        _ => Err(Error::invalid("--team", format!("must be one of: {listed}"))),
    }
}

/// Sets the key for tokens. Without a configured key it is the data folder's secret, which is created if missing.
pub(super) fn ensure_token_key(config: &mut Config) -> Result<()> {
    token_key(config, |file| {
        let secret: String = rand::rng().sample_iter(Alphanumeric).take(64).map(char::from).collect();
        write_private(file, &secret).map_err(|error| at_path(file, error))?;
        Ok(secret)
    })
}

/// Sets the key for tokens, and fails if there is none. It creates no secret, because no service would accept a token
/// that is signed with a new one.
pub(super) fn find_token_key(config: &mut Config) -> Result<()> {
    token_key(config, |file| {
        Err(Error::internal(format!(
            "no secret to sign tokens with: DAYBOOK_JWT_SECRET is not set and {} does not exist; \
             run this in the folder of the service, or set DAYBOOK_JWT_SECRET or DAYBOOK_DATA_DIR as for the service",
            std::path::absolute(file).as_deref().unwrap_or(file).display()
        )))
    })
}

/// Fails if `DATABASE_URL` is set without a key for tokens. A secret that each process creates in its data folder would
/// differ between machines, and be lost with the folder.
pub(super) fn require_token_key(config: &Config) -> Result<()> {
    if config.database.url.is_none() || config.auth.key.is_some() {
        return Ok(());
    }
    let created = config.data_dir.join(SECRET_FILE);
    let hint = match created.exists() {
        true => format!(
            "; to keep using the secret of this folder, set DAYBOOK_JWT_SECRET_FILE={}",
            std::path::absolute(&created).unwrap_or(created).display()
        ),
        false => String::new(),
    };
    Err(Error::internal(format!(
        "DATABASE_URL is set without a key to verify tokens: set DAYBOOK_JWT_SECRET or DAYBOOK_JWT_SECRET_FILE \
         (HS256, at least {MIN_SECRET_BYTES} bytes), or DAYBOOK_JWT_PUBLIC_KEY (RS256 or ES256){hint}"
    )))
}

/// Sets the key for tokens if none is configured: to the data folder's secret, or else to what `missing` returns.
fn token_key(config: &mut Config, missing: impl FnOnce(&Path) -> Result<String>) -> Result<()> {
    if config.auth.key.is_some() {
        return Ok(());
    }
    let file = config.data_dir.join(SECRET_FILE);
    let secret = match read_secret_file(&file, MIN_SECRET_BYTES) {
        Ok(secret) => secret,
        Err(error) if error.is_missing() => missing(&file)?,
        Err(error) => return Err(Error::internal(error)),
    };
    config.auth.key = Some(JwtKey::Secret(Secret::new(secret)));
    Ok(())
}

/// Writes a file atomically. Only its owner can read it.
pub(super) fn write_private(file: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let temporary = file.with_extension("new");
    let _ = fs::remove_file(&temporary);
    let mut handle = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;
    handle.write_all(text.as_bytes())?;
    handle.sync_all()?;
    fs::rename(temporary, file)
}

fn at_path(file: &Path, error: io::Error) -> Error {
    Error::internal(format!("{}: {error}", file.display()))
}
