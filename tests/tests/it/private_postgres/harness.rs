//! Data folders that remove their cluster, and services that can be killed.
//!
//! A service that is killed must be a separate process: it is this test binary, started again with [`service_process`]
//! as its only test.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use daybook::postgres::PrivatePostgres;
use daybook_tests::WAIT_LIMIT;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnection;
use tempfile::TempDir;

const DATA_DIR: &str = "DAYBOOK_TEST_PRIVATE_POSTGRES";
/// How often a test checks whether a process has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// A user that is neither root nor the one that root runs PostgreSQL as.
pub const NOBODY: u32 = 65534;

/// Not a test: the service that other tests start as a process, and kill.
#[tokio::test]
#[ignore = "started by other tests as a process of its own"]
async fn service_process() {
    let Some(data_dir) = std::env::var_os(DATA_DIR) else {
        return;
    };
    let postgres = PrivatePostgres::start(Path::new(&data_dir)).await.unwrap();
    // Not with the print macros, because the test harness captures their output.
    writeln!(std::io::stdout(), "\nready {} {}", postgres.pid(), postgres.url()).unwrap();
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()))
        .await
        .unwrap()
        .unwrap();
    postgres.stop().await.unwrap();
}

/// A service in a process of its own.
pub struct Service {
    pub process: Child,
    pub postgres_pid: u32,
    pub url: String,
    // A copy of the binary that the other user can reach; removed with the service.
    _binary: TempDir,
}

impl Service {
    pub fn start(data_dir: &Path, uid: Option<u32>) -> Self {
        let folder = TempDir::new().unwrap();
        let mut binary = std::env::current_exe().unwrap();
        if uid.is_some() {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
            let copy = folder.path().join("service");
            fs::copy(binary, &copy).unwrap();
            binary = copy;
        }
        let module = module_path!().split_once("::").map_or("", |(_crate, module)| module);
        let mut command = Command::new(binary);
        command
            .args([
                &format!("{module}::service_process"),
                "--exact",
                "--ignored",
                "--nocapture",
            ])
            .env(DATA_DIR, data_dir)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if let Some(uid) = uid {
            command.uid(uid).gid(uid).env_remove("TMPDIR");
        }
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap);
        let ready = lines
            .find_map(|line| line.strip_prefix("ready ").map(str::to_owned))
            .expect("the service starts");
        // Continue to read; otherwise the harness's last output would fail with a closed pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let (pid, url) = ready.split_once(' ').unwrap();
        Self {
            process,
            postgres_pid: pid.parse().unwrap(),
            url: url.to_owned(),
            _binary: folder,
        }
    }

    pub fn stop(mut self) {
        drop(self.process.stdin.take());
        assert!(self.process.wait().unwrap().success());
        assert!(!is_alive(self.postgres_pid));
    }
}

/// A data folder that removes its cluster, wherever that is, when it is dropped.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        let folder = TempDir::new().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self(folder)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn home(&self) -> PathBuf {
        let elsewhere = fs::read_to_string(self.path().join("postgres.location"));
        elsewhere.map_or_else(|_| self.path().join("postgres"), |text| PathBuf::from(text.trim()))
    }

    pub fn cluster(&self) -> PathBuf {
        self.home().join("cluster")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A test that failed may have left its server.
        let pid_file = fs::read_to_string(self.cluster().join("postmaster.pid"));
        if let Some(pid) = pid_file.ok().and_then(|text| text.lines().next()?.parse().ok())
            && fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("postgres"))
        {
            send(pid, Signal::SIGQUIT);
            let deadline = Instant::now() + WAIT_LIMIT;
            while is_alive(pid) && Instant::now() < deadline {
                std::thread::sleep(POLL_INTERVAL);
            }
        }
        let _ = fs::remove_dir_all(self.home());
    }
}

/// Creates programs that print a version and can do nothing else.
pub fn programs_of_version(version: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    for name in ["postgres", "initdb"] {
        let program = format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version}'");
        // Written by another process: if this process had the file open for writing while another test forks, the file
        // could not be executed (ETXTBSY).
        let written = Command::new("sh")
            .args(["-c", r#"printf '%s\n' "$1" > "$0" && chmod 755 "$0""#])
            .arg(folder.path().join(name))
            .arg(program)
            .status()
            .unwrap();
        assert!(written.success());
    }
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

pub async fn show(connection: &mut PgConnection, setting: &str) -> String {
    sqlx::query_scalar("SELECT current_setting($1)")
        .bind(setting)
        .fetch_one(connection)
        .await
        .unwrap()
}

pub async fn note(postgres: &PrivatePostgres, note: &str) {
    let mut connection = postgres.owner_options().connect().await.unwrap();
    sqlx::query("CREATE TABLE IF NOT EXISTS notes (note text)")
        .execute(&mut connection)
        .await
        .unwrap();
    sqlx::query("INSERT INTO notes VALUES ($1)")
        .bind(note)
        .execute(&mut connection)
        .await
        .unwrap();
}

pub async fn notes(postgres: &PrivatePostgres) -> Vec<String> {
    let mut connection = postgres.owner_options().connect().await.unwrap();
    sqlx::query_scalar("SELECT note FROM notes")
        .fetch_all(&mut connection)
        .await
        .unwrap()
}

pub fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal).unwrap();
}

/// Returns whether a process runs. A zombie does not: the parent of an adopted server may be a process that doesn't
/// reap.
pub fn is_alive(pid: u32) -> bool {
    match fs::read(format!("/proc/{pid}/cmdline")) {
        Ok(arguments) => !arguments.is_empty(),
        Err(_) if Path::new("/proc/self").exists() => false,
        Err(_) => kill(Pid::from_raw(i32::try_from(pid).unwrap()), None).is_ok(),
    }
}

pub fn owner_of_process(pid: u32) -> u32 {
    fs::metadata(format!("/proc/{pid}")).unwrap().uid()
}
