//! Errors of starting the private database. Each message ends with what to do.

use std::path::PathBuf;

use super::programs::MIN_MAJOR;
use super::settings::variable;

/// Why the private database did not start. Each message says what was found and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The program's name is not one that all of PostgreSQL, the file system and the environment accept.
    #[error(
        "{name:?} can't be the name of a private PostgreSQL: use 1 to 32 of the characters a-z, 0-9 and _, a letter \
         first, but neither pg_… nor the name of one of PostgreSQL's own databases"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// There is no usable PostgreSQL on this machine, and none could be downloaded.
    #[error(
        "found no PostgreSQL {wanted} to run.\nSearched:\n{searched}\nDo one of these:\n  \
         - Debian, Ubuntu: apt-get install postgresql\n  \
         - macOS: brew install postgresql@17\n  \
         - set DATABASE_URL to a running PostgreSQL {MIN_MAJOR} or newer\n  \
         - set {} to the folder that holds its programs `postgres` and `initdb`",
        variable(program, "PG_BIN")
    )]
    NoPrograms {
        /// The name of the program that needs the server.
        program: String,
        /// The versions that can be used: `15 or newer`, or the one that made the cluster.
        wanted: String,
        /// One line for each folder that was searched, with what is wrong there. The last line is the attempt to
        /// download the programs, if there was one.
        searched: String,
    },
    /// Another service has locked the data folder.
    #[error(
        "another {program} ({holder}) uses the data folder {}; set {} to another folder, or DATABASE_URL to a server \
         that both can use",
        data_dir.display(), variable(program, "DATA_DIR")
    )]
    InUse {
        /// The name of the program that needs the server.
        program: String,
        /// `pid 4711`, or `pid unknown`.
        holder: String,
        /// The data folder.
        data_dir: PathBuf,
    },
    /// The data folder's database is in another folder than the one in which this process would keep it.
    #[error(
        "the database of this data folder is kept in {}, and this process would keep it in {}.\nRun as the user that \
         made it, or set {} to another folder. If the data folder was moved or copied: move the database \
         too, then remove {}; removing that file alone begins with an empty database",
        recorded.display(), expected.display(), variable(program, "DATA_DIR"), location_file.display()
    )]
    Elsewhere {
        /// The name of the program that needs the server.
        program: String,
        /// The text file that contains the folder of the database.
        location_file: PathBuf,
        /// The folder in that file.
        recorded: PathBuf,
        /// The folder in which this process would keep the database.
        expected: PathBuf,
    },
    /// The service runs as root on a machine without another user that could run PostgreSQL.
    #[error(
        "PostgreSQL refuses to run as root, and this machine has neither a user `postgres` nor `nobody` to run it as; \
         start {program} as an ordinary user, or set DATABASE_URL"
    )]
    NoAccount {
        /// The name of the program that needs the server.
        program: String,
    },
    /// The folder for the socket can't be made private to the server.
    #[error(
        "{} can't be the folder of the database's socket: {reason}. Access to the socket is access to the database; \
         remove the folder, or set TMPDIR to a folder of your own",
        folder.display()
    )]
    SocketFolder {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// `initdb` failed. Its incomplete work was removed.
    #[error("initdb could not create the cluster:\n{output}")]
    Initdb {
        /// The last lines of its output.
        output: String,
    },
    /// The server ended before it answered.
    #[error("PostgreSQL ended while starting ({status}). The last lines of {}:\n{output}", log.display())]
    Ended {
        /// Its exit status: `exit status: 1`.
        status: String,
        /// The path of its log.
        log: PathBuf,
        /// The last lines of the log since the start.
        output: String,
    },
    /// The postmaster was killed and left children that still use the cluster.
    #[error(
        "a PostgreSQL server on {} was killed, and processes that it started still use the files; end them and start \
         again:\n{output}",
        cluster.display()
    )]
    Orphans {
        /// The cluster.
        cluster: PathBuf,
        /// PostgreSQL's message about them.
        output: String,
    },
    /// The server runs but does not answer.
    #[error(
        "PostgreSQL (pid {pid}) runs on {} but did not answer within {waited_s} s; see postgres.log next to that \
         folder, or end the process and start again",
        cluster.display()
    )]
    Silent {
        /// The postmaster.
        pid: u32,
        /// The cluster.
        cluster: PathBuf,
        /// How long the service waited, in seconds.
        waited_s: u64,
    },
    /// An operation on a file or a program of the private database failed.
    #[error("could not {action} {}", path.display())]
    File {
        /// The operation, as a verb: `create`, `lock`, `run`.
        action: &'static str,
        /// The file or program.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The server answers, but its roles or its database can't be created.
    #[error("the private PostgreSQL answers, but could not {action}")]
    Database {
        /// The operation.
        action: &'static str,
        /// The server's error.
        #[source]
        source: sqlx::Error,
    },
}

impl StartError {
    /// Returns a function for `map_err`, which adds the operation and the path.
    pub(super) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}
