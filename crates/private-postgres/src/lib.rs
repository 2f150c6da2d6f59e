#![doc = include_str!("../README.md")]
//!
//! # The life of a server
//!
//! From start to end ([`PrivatePostgres::start`]):
//!
//! 1. **Lock the data folder** with a lock on `postgres.lock`. A second program is refused, with the pid of the first.
//! 2. **Prepare the folders** (`layout`) for cluster, socket and log, which only the server's user can enter. If the
//!    program runs as root, that is another user, because PostgreSQL refuses root (`account`).
//! 3. **Adopt** (`server`) the server that a killed program left running. `postmaster.pid` alone is not trusted: the
//!    process and the answer at the socket are checked, too (`postmaster`).
//! 4. Otherwise **find the programs** (`programs`) on the machine, or download them; **create the cluster** (`cluster`)
//!    if there is none, completely or not at all; **start** `postgres` and wait until it answers.
//! 5. **Ensure the owner role and the database**, and run the program's own set-up ([`Settings::set_up`]).
//! 6. **Stop** ([`PrivatePostgres::stop`]): request a fast shutdown and wait for it.
//!
//! **Invariant:** every transaction that the server has acknowledged is on disk. fsync and full_page_writes are on, and
//! no session can turn them off. **Invariant:** the only access is a Unix socket in a folder with mode 0700; there is
//! no TCP.
//!
//! Deliberately absent: upgrades between major versions (a cluster is run by the version that made it), backups,
//! tuning. For these, run a server and set `DATABASE_URL`.

#![deny(missing_docs)]

mod account;
mod cluster;
mod error;
mod layout;
mod machine_time;
mod postmaster;
mod programs;
mod server;
mod settings;

use std::path::{Path, PathBuf};

use sqlx::postgres::PgConnectOptions;

use self::layout::{FolderLock, Layout};
use self::programs::Programs;
use self::server::Server;
use self::settings::Name;

pub use self::error::StartError;
pub use self::programs::SearchPath;
pub use self::settings::Settings;

/// The port. It is only a part of the socket's file name: the server doesn't listen on a network.
const PORT: u16 = 5432;

/// A running private server and the lock on its data folder.
///
/// Call [`stop`](Self::stop) at the end. A drop without it requests a shutdown and doesn't wait for it. If the service
/// is killed (`kill -9`), the server keeps running, and the next start adopts it.
#[derive(Debug)]
pub struct PrivatePostgres {
    // Declared before the lock, so that a drop requests the shutdown before another service can lock the folder.
    server: Server,
    name: Name,
    home: PathBuf,
    _lock: FolderLock,
}

impl PrivatePostgres {
    /// Starts or adopts the server of `data_dir`. Creates the folder if it is missing.
    ///
    /// # Errors
    ///
    /// See [`StartError`]. Each message says what to do.
    pub async fn start(data_dir: &Path, settings: &Settings) -> Result<Self, StartError> {
        let name = Name::new(&settings.name)?;
        std::fs::create_dir_all(data_dir).map_err(StartError::file("create", data_dir))?;
        let data_dir = data_dir.canonicalize().map_err(StartError::file("find", data_dir))?;
        let lock = layout::lock(&data_dir, &name)?;
        let layout = Layout::prepare(&data_dir, &name)?;
        let server = match Server::adopt(&layout).await? {
            Some(server) => server,
            None => {
                let made_by = cluster::major_version(&layout.cluster);
                let search = settings.search.clone();
                let search = search.unwrap_or_else(|| SearchPath::from_env(&name.variable("PG_BIN")));
                let programs = Programs::find(&search, &layout, made_by).await?;
                if made_by.is_none() {
                    cluster::create(&layout, &programs).await?;
                }
                Server::start(&layout, &programs).await?
            }
        };
        let running = Self {
            server,
            name,
            home: layout.home,
            _lock: lock,
        };
        cluster::prepare(&running.superuser_options(), &running.name, settings).await?;
        Ok(running)
    }

    /// Returns options to connect as the owner of the program's database (`shop_owner`, `shop`), for migrations. The
    /// role may create neither roles nor databases, is not a superuser, and is subject to row-level security.
    pub fn owner_options(&self) -> PgConnectOptions {
        self.superuser_options()
            .username(&self.name.owner())
            .database(self.name.database())
    }

    /// Returns options to connect as the cluster's superuser `postgres` to the database `postgres`, for creating and
    /// dropping databases.
    pub fn superuser_options(&self) -> PgConnectOptions {
        server::superuser(&self.name, &self.server.socket_dir, self.server.port)
    }

    /// Returns [`owner_options`](Self::owner_options) as a URL, for `psql` and for `DATABASE_URL`.
    pub fn url(&self) -> String {
        // The user is a parameter: libpq accepts one before an empty host, too, but sqlx's URL parser does not.
        let socket_dir = percent_encode(self.socket_dir());
        format!(
            "postgres:///{}?host={socket_dir}&port={}&user={}",
            self.name.database(),
            self.port(),
            self.name.owner()
        )
    }

    /// Returns the folder of the server's socket.
    pub fn socket_dir(&self) -> &Path {
        &self.server.socket_dir
    }

    /// Returns the number in the socket's name, which clients use as the port.
    pub fn port(&self) -> u16 {
        self.server.port
    }

    /// Returns the id of the server's process.
    pub fn pid(&self) -> u32 {
        self.server.pid
    }

    /// Returns the folder of the server's files: the cluster in `cluster`, the log in `postgres.log`.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Stops the server, started or adopted, waits until it has ended, and releases the data folder. Sessions are
    /// ended and their open transactions rolled back.
    ///
    /// # Errors
    ///
    /// `TimedOut` if the server still runs after a fast and an immediate shutdown.
    pub async fn stop(self) -> std::io::Result<()> {
        let Self {
            server,
            name: _,
            home: _,
            _lock,
        } = self;
        server.stop().await
    }
}

/// Encodes a path as the value of a URL parameter.
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

/// Returns the last lines of a program's output, indented, for an error message.
fn last_lines(output: &[u8]) -> String {
    const LINES: usize = 12;
    let output = String::from_utf8_lossy(output);
    let lines: Vec<&str> = output.lines().collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    format!("  {}", last.join("\n  "))
}
