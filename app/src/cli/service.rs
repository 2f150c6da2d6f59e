//! What `serve`, `dev` and the commands share: finding the database, opening it, the token secret.

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

use crate::app::App;
use crate::config::{Config, JwtKey, MIN_SECRET_BYTES, Secret, read_secret_file};
use crate::error::{Error, Result};
use crate::housekeeping::Retention;
use crate::jobs::{WorkerOptions, Workers};
use crate::tenancy::postgres::PrivatePostgres;
use crate::tenancy::{Database, DatabaseOptions, ErasedNames, SYSTEM_TEAM, WorkerDatabase};

/// Where a running service leaves the address of its private cluster.
const ADDRESS_FILE: &str = "database.url";
const SECRET_FILE: &str = "jwt.secret";

/// A PostgreSQL server that is there, and how to reach it.
pub(super) struct Server {
    /// As the role that owns the tables.
    pub(super) owner: PgConnectOptions,
    /// For people: what to give `psql`, without a password.
    pub(super) address: Option<String>,
    app: DatabaseOptions,
    worker: PgConnectOptions,
    private: Option<(PrivatePostgres, PathBuf)>,
}

impl Server {
    /// `DATABASE_URL`'s server, or the private one, started if it isn't running.
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

    /// For a command: the server of a service that runs already, else as [`Server::start`].
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

    /// The run-time pool, with what the program's transactions carry.
    pub(super) async fn open(&self, app: &App) -> Result<Database> {
        app.equip(Database::connect(self.app.clone()).await?)
    }

    /// The workers of this process, with pools of their own: jobs must not keep requests waiting, and no request's time is
    /// theirs.
    pub(super) async fn work(&self, config: &Config, database: &Database) -> Result<(Workers, Database)> {
        let workers = self.workers().await?;
        let concurrency = config.jobs.concurrency;
        let options = DatabaseOptions {
            max_connections: u32::try_from(concurrency).unwrap_or(u32::MAX).saturating_add(2),
            statement_timeout: None,
            ..self.app.clone()
        };
        let options_of_workers = WorkerOptions {
            concurrency,
            lost_after: config.jobs.lost_after,
            grace: config.jobs.grace,
            ..WorkerOptions::default()
        };
        let database = database.beside(options).await?.with_extension(Retention {
            sessions_days: config.jobs.keep_days,
            seal_runs_after_days: config.runs.seal_after_days,
            run_logs_days: config.runs.keep_days,
        });
        let workers = Workers::start(&database, &workers, &options_of_workers).await?;
        Ok((workers, database))
    }

    /// The workers' connections.
    pub(super) async fn workers(&self) -> Result<WorkerDatabase> {
        WorkerDatabase::connect(self.worker.clone(), WorkerOptions::CONNECTIONS).await
    }

    /// Past any pooler, for LISTEN.
    pub(super) fn direct(&self, config: &Config) -> Result<PgConnectOptions> {
        match &config.database.direct_url {
            Some(url) => Ok(PgConnectOptions::from_str(url.expose())?),
            None => Ok(self.app.connect.clone()),
        }
    }

    /// All teams, by id and name. Only the tables' owner may ask.
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
            // Only a hint for commands, which try it before they believe it.
            let _ = fs::remove_file(file);
        }
        Ok(())
    }
}

fn options(config: &Config, connect: PgConnectOptions, assume_app_role: bool) -> DatabaseOptions {
    DatabaseOptions {
        assume_app_role,
        max_connections: config.database.pool_size,
        statement_cache: config.database.statement_cache,
        strict_roles: config.database.strict_roles,
        erased_names: match config.database.erased_pseudonyms {
            true => ErasedNames::Pseudonym,
            false => ErasedNames::Keep,
        },
        // A request that was given up ends in the database, too.
        statement_timeout: Some(config.http.request_timeout),
        ..DatabaseOptions::new(connect)
    }
}

/// Runs `work` with the program's database, and stops what was started for it.
pub(super) async fn with_database<T>(
    app: &App,
    config: &Config,
    work: impl AsyncFnOnce(&Server, &Database) -> Result<T>,
) -> Result<T> {
    let server = Server::find(config).await?;
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

/// Commands don't migrate by the way; without the schema, not even the run-time role need be there.
async fn open_migrated(app: &App, server: &Server) -> Result<Database> {
    let status = app.migrations().status(&server.owner).await?;
    if !status.pending.is_empty() {
        return Err(Error::internal(format!(
            "migrations are pending: run `daybook migrate` (make db-migrate) to apply {}",
            status.pending.join(", ")
        )));
    }
    server.open(app).await
}

/// [`with_database`], in the team that was named by id or name, or in the only one.
pub(super) async fn with_team<T>(
    app: &App,
    config: &Config,
    team: Option<&str>,
    work: impl AsyncFnOnce(&Server, &Database, Uuid) -> Result<T>,
) -> Result<T> {
    with_database(app, config, async |server: &Server, database: &Database| {
        let team_id = named_team(server.teams().await?, team)?;
        work(server, database, team_id).await
    })
    .await
}

fn named_team(teams: Vec<(Uuid, String)>, wanted: Option<&str>) -> Result<Uuid> {
    // DAYBOOK_TEAM is like all settings: an empty variable counts as one that isn't set.
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
            format!("names none of the teams there are: {listed}"),
        )),
        _ => Err(Error::invalid("--team", format!("must name one of: {listed}"))),
    }
}

/// Without a configured key, tokens are signed with a secret of the data folder's own, made at first need.
pub(super) fn ensure_token_key(config: &mut Config) -> Result<()> {
    token_key(config, |file| {
        let secret: String = rand::rng().sample_iter(Alphanumeric).take(64).map(char::from).collect();
        write_private(file, &secret).map_err(|error| at_path(file, error))?;
        Ok(secret)
    })
}

/// The key that there is: a token that is signed with a secret made for it would open nothing.
pub(super) fn find_token_key(config: &mut Config) -> Result<()> {
    token_key(config, |file| {
        Err(Error::internal(format!(
            "nothing to sign tokens with: DAYBOOK_JWT_SECRET is not set and there is no {}; \
             run this where the service runs, or set DAYBOOK_JWT_SECRET or DAYBOOK_DATA_DIR as it has them",
            std::path::absolute(file).as_deref().unwrap_or(file).display()
        )))
    })
}

/// Whoever names a database of their own says whose tokens are believed, too: a secret that each process invented for its
/// own folder would be another one on each machine, and gone with the folder.
pub(super) fn require_token_key(config: &Config) -> Result<()> {
    if config.database.url.is_none() || config.auth.key.is_some() {
        return Ok(());
    }
    let invented = config.data_dir.join(SECRET_FILE);
    let kept = match invented.exists() {
        true => format!(
            "; to go on with the secret that was made for this folder, DAYBOOK_JWT_SECRET_FILE={}",
            std::path::absolute(&invented).unwrap_or(invented).display()
        ),
        false => String::new(),
    };
    Err(Error::internal(format!(
        "DATABASE_URL is set and nothing says whose tokens are believed: set DAYBOOK_JWT_SECRET or DAYBOOK_JWT_SECRET_FILE \
         (HS256, at least {MIN_SECRET_BYTES} bytes), or DAYBOOK_JWT_PUBLIC_KEY (RS256 or ES256){kept}"
    )))
}

/// The configured key, else the data folder's secret, else what `missing` gives for its file.
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

/// Writes a file that only its owner can read, whole or not at all.
pub(super) fn write_private(file: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let half = file.with_extension("new");
    let _ = fs::remove_file(&half);
    let mut handle = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&half)?;
    handle.write_all(text.as_bytes())?;
    handle.sync_all()?;
    fs::rename(half, file)
}

fn at_path(file: &Path, error: io::Error) -> Error {
    Error::internal(format!("{}: {error}", file.display()))
}
