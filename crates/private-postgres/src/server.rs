//! Starts the server's process, or adopts one that already runs, waits until it answers, and stops it.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection};
use tokio::process::Child;
use tokio::time::{sleep, timeout};

use super::error::StartError;
use super::layout::Layout;
use super::machine_time;
use super::postmaster::{self, PidFile};
use super::programs::Programs;
use super::settings::Name;
use super::{PORT, last_lines};

/// How long to wait for a server that doesn't answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait for a server that answers that it is starting: after a crash it replays its log first.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(300);
/// How long to wait until the children of a killed postmaster have ended.
const ORPHANS_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a fast shutdown may take. It ends all sessions and writes a checkpoint.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an immediate shutdown may take. It writes nothing.
const IMMEDIATE_STOP_TIMEOUT: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(25);

/// A server that answers. A drop requests its shutdown and doesn't wait for it.
#[derive(Debug)]
pub(super) struct Server {
    pub pid: u32,
    pub socket_dir: PathBuf,
    pub port: u16,
    cluster: PathBuf,
    /// `None` for an adopted server, which is the child of another process.
    child: Option<Child>,
}

enum ProbeResult {
    /// The server is ready and serves the cluster at this path.
    Ready(PathBuf),
    /// The server is replaying its log or shutting down.
    NotYet,
    Nothing,
}

impl Server {
    /// Returns the server that already runs on the cluster, which happens after its service was killed.
    ///
    /// `postmaster.pid` alone proves nothing: after a crash its pid may belong to another program. So the process must
    /// have this cluster in its arguments, and the server at the socket must report that it serves this cluster.
    pub async fn adopt(layout: &Layout) -> Result<Option<Self>, StartError> {
        let began = machine_time::instant();
        let mut deadline = ANSWER_TIMEOUT;
        while let Some(file) = PidFile::read(&layout.cluster) {
            if !postmaster::is_running_on(file.pid, &layout.cluster) {
                postmaster::remove_stale_files(&file, layout);
                return Ok(None);
            }
            if let Some(socket_dir) = &file.socket_dir {
                match probe(&superuser(&layout.name, socket_dir, file.port)).await {
                    ProbeResult::Ready(serves) if serves == layout.cluster => {
                        let (pid, cluster) = (file.pid, layout.cluster.clone());
                        tracing::info!(pid, "the private PostgreSQL is still running: using it");
                        return Ok(Some(Self {
                            pid,
                            socket_dir: socket_dir.clone(),
                            port: file.port,
                            cluster,
                            child: None,
                        }));
                    }
                    ProbeResult::NotYet => deadline = RECOVERY_TIMEOUT,
                    ProbeResult::Ready(_) | ProbeResult::Nothing => {}
                }
            }
            if machine_time::instant() - began > deadline {
                return Err(silent_error(file.pid, &layout.cluster, deadline));
            }
            sleep(POLL_INTERVAL).await;
        }
        Ok(None)
    }

    /// Starts a server and waits until it answers.
    pub async fn start(layout: &Layout, programs: &Programs) -> Result<Self, StartError> {
        layout.make_socket_folder()?;
        let began = machine_time::instant();
        loop {
            match Self::start_once(layout, programs).await {
                // The children of a killed postmaster end within moments, unless they are computing. PostgreSQL
                // rightly refuses to run at the same time as they do.
                Err(StartError::Ended { output, .. }) if output.contains("pre-existing shared memory block") => {
                    if machine_time::instant() - began > ORPHANS_TIMEOUT {
                        return Err(StartError::Orphans {
                            cluster: layout.cluster.clone(),
                            output,
                        });
                    }
                    sleep(POLL_INTERVAL * 10).await;
                }
                Err(error) => {
                    // This fails if the folder still has a socket, and then the folder must stay.
                    let _ = std::fs::remove_dir(&layout.socket_dir);
                    return Err(error);
                }
                started => return started,
            }
        }
    }

    async fn start_once(layout: &Layout, programs: &Programs) -> Result<Self, StartError> {
        let log_path = layout.log_path();
        let (log, log_start) = layout.open_log().map_err(StartError::file("open", &log_path))?;
        let log_again = log.try_clone().map_err(StartError::file("open", &log_path))?;
        let mut command = layout.account.command(&programs.postgres, &layout.name);
        command.arg("-D").arg(&layout.cluster);
        for setting in fixed_settings(&layout.socket_dir) {
            command.args(["-c", &setting]);
        }
        let child = command
            .stdout(log)
            .stderr(log_again)
            // Ctrl-C at the terminal goes to the whole process group. The service must finish its last transactions
            // before it stops the database itself.
            .process_group(0)
            .spawn()
            .map_err(StartError::file("run", &programs.postgres))?;
        let pid = child.id().unwrap_or_default();
        // From here on a failure, or a caller that stops waiting, drops this value, which stops the process.
        let (cluster, socket_dir) = (layout.cluster.clone(), layout.socket_dir.clone());
        let mut server = Self {
            pid,
            socket_dir,
            port: PORT,
            cluster,
            child: Some(child),
        };

        let began = machine_time::instant();
        let mut deadline = ANSWER_TIMEOUT;
        loop {
            let ended = server.child.as_mut().map(Child::try_wait).transpose();
            if let Some(status) = ended
                .map_err(StartError::file("wait for", &programs.postgres))?
                .flatten()
            {
                server.child = None;
                server.pid = 0;
                let output = read_from(&log_path, log_start);
                return Err(StartError::Ended {
                    status: status.to_string(),
                    log: log_path,
                    output,
                });
            }
            match probe(&superuser(&layout.name, &server.socket_dir, server.port)).await {
                ProbeResult::Ready(serves) if serves == server.cluster => return Ok(server),
                ProbeResult::NotYet => deadline = RECOVERY_TIMEOUT,
                ProbeResult::Ready(_) | ProbeResult::Nothing => {}
            }
            if machine_time::instant() - began > deadline {
                return Err(silent_error(pid, &layout.cluster, deadline));
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Stops the server with a fast shutdown, and after a minute with an immediate shutdown, from which the next start
    /// recovers.
    ///
    /// # Errors
    ///
    /// `TimedOut` if the server still runs after both.
    pub async fn stop(mut self) -> std::io::Result<()> {
        for (signal, deadline) in [
            (Signal::SIGINT, STOP_TIMEOUT),
            (Signal::SIGQUIT, IMMEDIATE_STOP_TIMEOUT),
        ] {
            self.signal(signal);
            if timeout(deadline, self.ended()).await.is_ok() {
                self.pid = 0;
                self.child = None;
                // A folder that is left does no harm: the next start reuses it.
                let _ = std::fs::remove_dir(&self.socket_dir);
                return Ok(());
            }
            tracing::warn!(pid = self.pid, after = %signal, "PostgreSQL did not end after the signal");
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
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Returns whether the server runs. A child that wasn't waited for keeps its pid. The pid of an adopted server that
    /// has ended may belong to another program.
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
            // The only possible failure is that the process has just ended.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(Signal::SIGINT);
    }
}

/// Returns the settings that the service relies on. They are given on the command line, where no file and no `ALTER
/// SYSTEM` can override them.
fn fixed_settings(socket_dir: &Path) -> [String; 9] {
    [
        // Acknowledged transactions are on disk. These settings are explicit, because tools that run a database "for
        // tests" turn them off.
        "fsync=on".to_owned(),
        "full_page_writes=on".to_owned(),
        // No network. See `cluster` for why there is no password.
        "listen_addresses=".to_owned(),
        format!("port={PORT}"),
        format!("unix_socket_directories={}", socket_dir.display()),
        "unix_socket_permissions=0700".to_owned(),
        "external_pid_file=".to_owned(),
        "logging_collector=off".to_owned(),
        "log_destination=stderr".to_owned(),
    ]
}

/// Returns options for the cluster's superuser. They set everything that `PG…` variables could set.
pub(super) fn superuser(name: &Name, socket_dir: &Path, port: u16) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .socket(socket_dir)
        .port(port)
        .username("postgres")
        .database("postgres")
        .ssl_mode(PgSslMode::Disable)
        .application_name(name.as_str())
}

async fn probe(options: &PgConnectOptions) -> ProbeResult {
    let asking = async {
        let mut connection = options.connect().await?;
        let serves: String = sqlx::query_scalar("SHOW data_directory")
            .fetch_one(&mut connection)
            .await?;
        connection.close().await?;
        Ok::<_, sqlx::Error>(serves)
    };
    // A stopped server (SIGSTOP) accepts connections and then doesn't answer.
    match timeout(Duration::from_secs(5), asking).await {
        Ok(Ok(serves)) => ProbeResult::Ready(PathBuf::from(serves)),
        // 57P03 cannot_connect_now.
        Ok(Err(sqlx::Error::Database(error))) if error.code().as_deref() == Some("57P03") => ProbeResult::NotYet,
        Ok(Err(error)) => {
            tracing::trace!(%error, "PostgreSQL does not answer yet");
            ProbeResult::Nothing
        }
        Err(_) => ProbeResult::Nothing,
    }
}

fn silent_error(pid: u32, cluster: &Path, deadline: Duration) -> StartError {
    StartError::Silent {
        pid,
        cluster: cluster.to_owned(),
        waited_s: deadline.as_secs(),
    }
}

/// Returns the last lines of a log from byte `start` on, or a text with the error if the log can't be read.
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
