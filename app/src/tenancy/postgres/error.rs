//! Why the private database did not start, in words that end in what to do.

use std::path::PathBuf;

use super::programs::MIN_MAJOR;

/// Why the private database did not start. Each message says what was seen and what would help.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// No usable PostgreSQL on this machine, and none could be fetched.
    #[error(
        "found no PostgreSQL {wanted} to run.\nLooked at:\n{looked}\nOne of these helps:\n  \
         - Debian, Ubuntu: apt-get install postgresql\n  \
         - macOS: brew install postgresql@17\n  \
         - set DATABASE_URL to a PostgreSQL {MIN_MAJOR} or newer that runs already\n  \
         - set DAYBOOK_PG_BIN to the folder that holds its programs `postgres` and `initdb`"
    )]
    NoPrograms {
        /// Which versions would do: `15 or newer`, or the one that made the cluster.
        wanted: String,
        /// One line for each place that was looked at, with what was wrong with it; the last one is the
        /// attempt to fetch the programs, if it was made.
        looked: String,
    },
    /// Another service holds the data folder.
    #[error(
        "another daybook ({holder}) uses the data folder {}; set DAYBOOK_DATA_DIR to another folder, or DATABASE_URL \
         to a server that both can use",
        data_dir.display()
    )]
    InUse {
        /// `pid 4711`, or `pid unknown`.
        holder: String,
        /// The folder both want.
        data_dir: PathBuf,
    },
    /// The data folder's database is kept in another place than this process would keep it.
    #[error(
        "the database of this data folder is kept in {}, and this process would keep it in {}.\nRun as the user that \
         made it, or set DAYBOOK_DATA_DIR to another folder. If the data folder was moved or copied: move the database \
         too, then remove {}; removing that file alone begins with an empty database",
        there.display(), here.display(), note.display()
    )]
    Elsewhere {
        /// The text file that says where the database is.
        note: PathBuf,
        /// Where that file says it is.
        there: PathBuf,
        /// Where this process would keep it.
        here: PathBuf,
    },
    /// Run as root on a machine with nobody else to run PostgreSQL as.
    #[error(
        "PostgreSQL refuses to run as root, and this machine has neither a user `postgres` nor `nobody` to run it as; \
         start daybook as an ordinary user, or set DATABASE_URL"
    )]
    NoAccount,
    /// The folder for the socket isn't the server's alone.
    #[error(
        "{} can't hold the database's socket: {reason}. Whoever reaches the socket reaches the database; remove the \
         folder, or set TMPDIR to a folder of your own",
        folder.display()
    )]
    SocketFolder {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// `initdb` failed; nothing of its work was kept.
    #[error("initdb could not make the cluster:\n{said}")]
    Initdb {
        /// Its last lines.
        said: String,
    },
    /// The server ended before it answered.
    #[error("PostgreSQL ended while starting ({status}). The last lines of {}:\n{said}", log.display())]
    Ended {
        /// How it ended: `exit status: 1`.
        status: String,
        /// Its log.
        log: PathBuf,
        /// What it said since it was started.
        said: String,
    },
    /// The postmaster was killed and left children that still use the cluster.
    #[error(
        "a PostgreSQL server on {} was killed, and processes it had started still use the files; end them and start \
         again:\n{said}",
        cluster.display()
    )]
    Orphans {
        /// The cluster.
        cluster: PathBuf,
        /// What PostgreSQL said about them.
        said: String,
    },
    /// The server runs and does not answer.
    #[error(
        "PostgreSQL (pid {pid}) runs on {} and has not answered within {waited_s} s; see postgres.log beside it, or \
         end that process and start again",
        cluster.display()
    )]
    Silent {
        /// The postmaster.
        pid: u32,
        /// The cluster.
        cluster: PathBuf,
        /// How long it was waited for, in seconds.
        waited_s: u64,
    },
    /// A file or program of the private database can't be used.
    #[error("could not {doing} {}", path.display())]
    File {
        /// What was tried, as a verb: `create`, `lock`, `run`.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The server answers, and its role or database can't be made.
    #[error("the private PostgreSQL answers, but could not {doing}")]
    Database {
        /// What was tried.
        doing: &'static str,
        /// What the server said.
        #[source]
        source: sqlx::Error,
    },
}

impl StartError {
    /// For `map_err`: what was tried on which path.
    pub(super) fn file(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { doing, path, source }
    }
}
