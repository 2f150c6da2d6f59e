//! The database that needs no set-up: a PostgreSQL of the service's own, for `make run` without a
//! `DATABASE_URL`.
//!
//! Its life, from start to end ([`PrivatePostgres::start`]):
//!
//! 1. **Hold the data folder.** A lock on `postgres.lock`; a second service on it is refused by name.
//! 2. **Settle the place** (`place`): cluster, socket and log in folders that only the server's user can enter.
//!    As root that user is another, since PostgreSQL refuses root (`account`).
//! 3. **Adopt** (`server`) the server that a killed service left behind. What it says of itself is checked,
//!    never `postmaster.pid` alone (`postmaster`).
//! 4. Else **find the programs** (`programs`), on the machine or on the net; **make the cluster** (`cluster`)
//!    if there is none, whole or not at all; **start** `postgres` and wait until it answers.
//! 5. **Look after the role and the database**, so that what follows can migrate.
//! 6. **Stop** ([`PrivatePostgres::stop`]): fast shutdown, waited for.
//!
//! **Invariant:** what the server acknowledged is on disk: fsync and full_page_writes are on and can't be turned
//! off from within. **Invariant:** the only door is a Unix socket in a folder with mode 0700; there is no TCP.
//!
//! Deliberately absent: upgrades between major versions (a cluster is run by the version that made it),
//! backups, tuning. Who needs those has a server, and sets `DATABASE_URL`.

mod account;
mod cluster;
mod error;
mod place;
mod postmaster;
mod programs;
mod server;

use std::path::{Path, PathBuf};

use sqlx::postgres::PgConnectOptions;

use self::place::{FolderLock, Place};
use self::programs::Programs;
use self::server::Server;

pub use self::error::StartError;
pub use self::programs::SearchPath;

/// Part of the socket's file name and nothing else: nothing listens on a network.
const PORT: u16 = 5432;
const OWNER: &str = "daybook_owner";
const DATABASE: &str = "daybook";

/// A running private server and the lock on its data folder.
///
/// Call [`stop`](Self::stop) at the end. Dropped without it, the server is asked to shut down and not waited
/// for. Killed with the service (`kill -9`), nobody asks it: it runs on, and the next start adopts it.
#[derive(Debug)]
pub struct PrivatePostgres {
    // Before the lock, so that a drop asks the server to end before another service may look at it.
    server: Server,
    home: PathBuf,
    _lock: FolderLock,
}

impl PrivatePostgres {
    /// Starts or adopts the server that keeps its data for `data_dir`, which is made if need be, with the
    /// programs of [`SearchPath::from_env`].
    ///
    /// # Errors
    ///
    /// See [`StartError`]; each says what would help.
    pub async fn start(data_dir: &Path) -> Result<Self, StartError> {
        Self::start_with(data_dir, &SearchPath::from_env()).await
    }

    /// [`start`](Self::start) with PostgreSQL's programs looked for elsewhere.
    ///
    /// # Errors
    ///
    /// See [`StartError`]; each says what would help.
    pub async fn start_with(data_dir: &Path, search: &SearchPath) -> Result<Self, StartError> {
        std::fs::create_dir_all(data_dir).map_err(StartError::file("create", data_dir))?;
        let data_dir = data_dir.canonicalize().map_err(StartError::file("find", data_dir))?;
        let lock = place::lock(&data_dir)?;
        let place = Place::settle(&data_dir)?;
        let server = match Server::adopt(&place).await? {
            Some(server) => server,
            None => {
                let made_by = cluster::major_version(&place.cluster);
                let programs = Programs::find(search, place.account, made_by, &place.programs).await?;
                if made_by.is_none() {
                    cluster::create(&place, &programs).await?;
                }
                Server::start(&place, &programs).await?
            }
        };
        let running = Self {
            server,
            home: place.home,
            _lock: lock,
        };
        cluster::ensure_owner(&running.superuser_options()).await?;
        Ok(running)
    }

    /// Connects as `daybook_owner` to the database `daybook`, which it owns: for migrations. It may
    /// make neither roles nor databases; it is no superuser and row security binds it.
    pub fn owner_options(&self) -> PgConnectOptions {
        self.superuser_options().username(OWNER).database(DATABASE)
    }

    /// Connects as the cluster's superuser `postgres` to the database `postgres`: for making and dropping
    /// whole databases.
    pub fn superuser_options(&self) -> PgConnectOptions {
        server::superuser(&self.server.socket_dir, self.server.port)
    }

    /// What [`owner_options`](Self::owner_options) says, for `psql` and for `DATABASE_URL`.
    pub fn url(&self) -> String {
        // The user as a parameter: libpq takes one before an empty host too, sqlx's URL parser does not.
        let socket_dir = percent_encode(self.socket_dir());
        format!(
            "postgres:///{DATABASE}?host={socket_dir}&port={}&user={OWNER}",
            self.port()
        )
    }

    /// The folder of the server's socket.
    pub fn socket_dir(&self) -> &Path {
        &self.server.socket_dir
    }

    /// The number in the socket's name, which clients ask for as the port.
    pub fn port(&self) -> u16 {
        self.server.port
    }

    /// The server's process.
    pub fn pid(&self) -> u32 {
        self.server.pid
    }

    /// Where the server's files are: the cluster in `cluster`, the log in `postgres.log`.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Stops the server and waits until it has ended, adopted or not; then frees the data folder. Every
    /// session is ended and its open transaction rolled back.
    ///
    /// # Errors
    ///
    /// `TimedOut` when the server runs on in spite of a fast and an immediate shutdown.
    pub async fn stop(self) -> std::io::Result<()> {
        let Self { server, home: _, _lock } = self;
        server.stop().await
    }
}

/// A path as the value of a URL's parameter.
fn percent_encode(path: &Path) -> String {
    use std::fmt::Write as _;
    use std::os::unix::ffi::OsStrExt as _;

    let mut encoded = String::new();
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(byte) {
            encoded.push(char::from(*byte));
        } else {
            // Writing to a String can't fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// What a program said last, indented, for an error's message.
fn last_lines(said: &[u8]) -> String {
    const LINES: usize = 12;
    let said = String::from_utf8_lossy(said);
    let lines: Vec<&str> = said.lines().collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    format!("  {}", last.join("\n  "))
}
