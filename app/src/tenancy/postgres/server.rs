//! The server's process: started, or adopted when it already runs, waited for, and stopped.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection};
use tokio::process::Child;
use tokio::time::{sleep, timeout};

use super::error::StartError;
use super::place::Place;
use super::postmaster::{self, PidFile};
use super::programs::Programs;
use super::{PORT, last_lines};

/// How long a server may be silent.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);
/// How long it may say that it is starting: after a crash it replays its log first.
const RECOVERY_DEADLINE: Duration = Duration::from_secs(300);
/// How long the children of a killed postmaster may take to notice and end.
const ORPHANS_DEADLINE: Duration = Duration::from_secs(10);
/// How long a fast shutdown may take: it ends every session and writes a checkpoint.
const STOP_DEADLINE: Duration = Duration::from_secs(60);
/// How long an immediate shutdown may take, which writes nothing.
const QUIT_DEADLINE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(25);

/// A server that answers. Dropped, it is asked to shut down and not waited for.
#[derive(Debug)]
pub(super) struct Server {
    pub pid: u32,
    pub socket_dir: PathBuf,
    pub port: u16,
    cluster: PathBuf,
    /// `None` for an adopted server, which is another process's child.
    child: Option<Child>,
}

enum Answer {
    /// Ready, and serving the cluster at this path.
    Ready(PathBuf),
    /// Up, but still replaying its log, or shutting down.
    NotYet,
    Nothing,
}

impl Server {
    /// The server that already runs on the place's cluster, as one does after its service was killed.
    ///
    /// `postmaster.pid` alone proves nothing: after a crash its number may be another program's. So the process
    /// must name this cluster in its arguments, and what answers at the socket must say that it serves it.
    pub async fn adopt(place: &Place) -> Result<Option<Self>, StartError> {
        let began = Instant::now();
        let mut deadline = ANSWER_DEADLINE;
        while let Some(file) = PidFile::read(&place.cluster) {
            if !postmaster::is_running_on(file.pid, &place.cluster) {
                postmaster::remove_stale_files(&file, place);
                return Ok(None);
            }
            if let Some(socket_dir) = &file.socket_dir {
                match ask(&superuser(socket_dir, file.port)).await {
                    Answer::Ready(serves) if serves == place.cluster => {
                        let (pid, cluster) = (file.pid, place.cluster.clone());
                        tracing::info!(pid, "the private PostgreSQL still runs: using it");
                        return Ok(Some(Self {
                            pid,
                            socket_dir: socket_dir.clone(),
                            port: file.port,
                            cluster,
                            child: None,
                        }));
                    }
                    Answer::NotYet => deadline = RECOVERY_DEADLINE,
                    Answer::Ready(_) | Answer::Nothing => {}
                }
            }
            if began.elapsed() > deadline {
                return Err(silent(file.pid, &place.cluster, deadline));
            }
            sleep(POLL).await;
        }
        Ok(None)
    }

    /// Starts a server and waits until it answers.
    pub async fn start(place: &Place, programs: &Programs) -> Result<Self, StartError> {
        place.make_socket_folder()?;
        let began = Instant::now();
        loop {
            match Self::start_once(place, programs).await {
                // The children of a postmaster that was killed notice within moments, unless they are
                // in the middle of something. PostgreSQL refuses to run beside them, rightly.
                Err(StartError::Ended { said, .. }) if said.contains("pre-existing shared memory block") => {
                    if began.elapsed() > ORPHANS_DEADLINE {
                        return Err(StartError::Orphans {
                            cluster: place.cluster.clone(),
                            said,
                        });
                    }
                    sleep(POLL * 10).await;
                }
                Err(error) => {
                    // Fails, as it should, when somebody's socket is in it after all.
                    let _ = std::fs::remove_dir(&place.socket_dir);
                    return Err(error);
                }
                started => return started,
            }
        }
    }

    async fn start_once(place: &Place, programs: &Programs) -> Result<Self, StartError> {
        let log_path = place.log_path();
        let (log, log_start) = place.open_log().map_err(StartError::file("open", &log_path))?;
        let log_again = log.try_clone().map_err(StartError::file("open", &log_path))?;
        let mut command = place.account.command(&programs.postgres);
        command.arg("-D").arg(&place.cluster);
        for setting in law(&place.socket_dir) {
            command.args(["-c", &setting]);
        }
        let child = command
            .stdout(log)
            .stderr(log_again)
            // Ctrl-C at the terminal goes to the whole group; the service must be able to finish its
            // last transactions before it stops the database itself.
            .process_group(0)
            .spawn()
            .map_err(StartError::file("run", &programs.postgres))?;
        let pid = child.id().unwrap_or_default();
        // From here on a failure, or a caller that gives up waiting, stops the process by dropping this.
        let (cluster, socket_dir) = (place.cluster.clone(), place.socket_dir.clone());
        let mut server = Self {
            pid,
            socket_dir,
            port: PORT,
            cluster,
            child: Some(child),
        };

        let began = Instant::now();
        let mut deadline = ANSWER_DEADLINE;
        loop {
            let ended = server.child.as_mut().map(Child::try_wait).transpose();
            if let Some(status) = ended
                .map_err(StartError::file("wait for", &programs.postgres))?
                .flatten()
            {
                server.child = None;
                server.pid = 0;
                let said = read_from(&log_path, log_start);
                return Err(StartError::Ended {
                    status: status.to_string(),
                    log: log_path,
                    said,
                });
            }
            match ask(&superuser(&server.socket_dir, server.port)).await {
                Answer::Ready(serves) if serves == server.cluster => return Ok(server),
                Answer::NotYet => deadline = RECOVERY_DEADLINE,
                Answer::Ready(_) | Answer::Nothing => {}
            }
            if began.elapsed() > deadline {
                return Err(silent(pid, &place.cluster, deadline));
            }
            sleep(POLL).await;
        }
    }

    /// Stops the server, gently at first: fast shutdown, and after a minute immediate shutdown, from which
    /// the next start recovers.
    ///
    /// # Errors
    ///
    /// `TimedOut` when it runs on even so.
    pub async fn stop(mut self) -> std::io::Result<()> {
        for (signal, deadline) in [(Signal::SIGINT, STOP_DEADLINE), (Signal::SIGQUIT, QUIT_DEADLINE)] {
            self.signal(signal);
            if timeout(deadline, self.ended()).await.is_ok() {
                self.pid = 0;
                self.child = None;
                // Left behind, it would do no harm: the next start takes it again.
                let _ = std::fs::remove_dir(&self.socket_dir);
                return Ok(());
            }
            tracing::warn!(pid = self.pid, after = %signal, "PostgreSQL has not ended");
        }
        let message = format!("PostgreSQL (pid {}) did not end", self.pid);
        Err(std::io::Error::new(std::io::ErrorKind::TimedOut, message))
    }

    async fn ended(&mut self) {
        if let Some(child) = &mut self.child {
            // An error means that there is nothing to wait for.
            let _ = child.wait().await;
            return;
        }
        while self.is_running() {
            sleep(POLL).await;
        }
    }

    /// A child that wasn't waited for keeps its number. An adopted server may have ended since, and its
    /// number be another program's.
    fn is_running(&self) -> bool {
        match &self.child {
            Some(child) => child.id().is_some(),
            None => self.pid != 0 && postmaster::is_running_on(self.pid, &self.cluster),
        }
    }

    fn signal(&self, signal: Signal) {
        if let Ok(pid) = i32::try_from(self.pid)
            && self.is_running()
        {
            // The only failure left is that it has ended this moment.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(Signal::SIGINT);
    }
}

/// What the service relies on, given on the command line, where no file and no `ALTER SYSTEM` overrules it.
fn law(socket_dir: &Path) -> [String; 9] {
    [
        // What was acknowledged is on disk. Said aloud, since tools that run a database "for tests" turn it off.
        "fsync=on".to_owned(),
        "full_page_writes=on".to_owned(),
        // No network: see `cluster` on why nobody is asked for a password.
        "listen_addresses=".to_owned(),
        format!("port={PORT}"),
        format!("unix_socket_directories={}", socket_dir.display()),
        "unix_socket_permissions=0700".to_owned(),
        "external_pid_file=".to_owned(),
        "logging_collector=off".to_owned(),
        "log_destination=stderr".to_owned(),
    ]
}

/// Options for the cluster's superuser. Everything that `PG…` variables could set is set.
pub(super) fn superuser(socket_dir: &Path, port: u16) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .socket(socket_dir)
        .port(port)
        .username("postgres")
        .database("postgres")
        .ssl_mode(PgSslMode::Disable)
        .application_name("daybook")
}

async fn ask(options: &PgConnectOptions) -> Answer {
    let asking = async {
        let mut connection = options.connect().await?;
        let serves: String = sqlx::query_scalar("SHOW data_directory")
            .fetch_one(&mut connection)
            .await?;
        connection.close().await?;
        Ok::<_, sqlx::Error>(serves)
    };
    // A server that is stopped (SIGSTOP) lets clients connect and then says nothing.
    match timeout(Duration::from_secs(5), asking).await {
        Ok(Ok(serves)) => Answer::Ready(PathBuf::from(serves)),
        // 57P03 cannot_connect_now.
        Ok(Err(sqlx::Error::Database(error))) if error.code().as_deref() == Some("57P03") => Answer::NotYet,
        Ok(Err(error)) => {
            tracing::trace!(%error, "PostgreSQL does not answer yet");
            Answer::Nothing
        }
        Err(_) => Answer::Nothing,
    }
}

fn silent(pid: u32, cluster: &Path, deadline: Duration) -> StartError {
    StartError::Silent {
        pid,
        cluster: cluster.to_owned(),
        waited_s: deadline.as_secs(),
    }
}

/// The last lines of a log from `start` on; says so when the log can't be read.
fn read_from(log: &Path, start: u64) -> String {
    let mut text = Vec::new();
    let read = std::fs::File::open(log).and_then(|mut file| {
        file.seek(SeekFrom::Start(start))?;
        file.read_to_end(&mut text)
    });
    match read {
        Ok(_) => last_lines(&text),
        Err(error) => format!("(could not read it: {error})"),
    }
}
