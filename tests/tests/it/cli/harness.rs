//! An empty folder, the command run in it, and the service that it starts.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use daybook_tests::WAIT_LIMIT;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// Interval between two checks whether a process has ended.
const POLL: Duration = Duration::from_millis(5);

/// An empty folder in which commands run. When it is dropped, the cluster that was created for it is removed too.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(".daybook").join(name)
    }

    /// Returns the command without settings, except that it listens on a port that the system chooses.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_daybook-under-test"));
        for (name, _) in std::env::vars_os() {
            let ours = name.to_string_lossy();
            if ours.starts_with("DAYBOOK_") || ours.starts_with("PG") || ours == "DATABASE_URL" {
                command.env_remove(&name);
            }
        }
        command
            .args(arguments)
            .current_dir(self.0.path())
            .env("DAYBOOK_BIND", "127.0.0.1:0")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must succeed, and returns the lines that it prints.
    pub fn lines(&self, arguments: &[&str]) -> Vec<String> {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// Runs a command that must fail, and returns its error message.
    pub fn refusal(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?} succeeded");
        assert!(output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    }

    pub fn postgres_pid(&self) -> Option<i32> {
        let elsewhere = fs::read_to_string(self.file("postgres.location"));
        let home = elsewhere.map_or_else(|_| self.file("postgres"), |text| PathBuf::from(text.trim()));
        let pid_file = fs::read_to_string(home.join("cluster/postmaster.pid")).ok()?;
        pid_file.lines().next()?.parse().ok()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let elsewhere = fs::read_to_string(self.file("postgres.location"));
        if let Some(pid) = self.postgres_pid().filter(|pid| is_postgres(*pid)) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGQUIT);
            let deadline = Instant::now() + WAIT_LIMIT;
            while is_postgres(pid) && Instant::now() < deadline {
                thread::sleep(POLL);
            }
        }
        if let Ok(home) = elsewhere {
            let _ = fs::remove_dir_all(home.trim());
        }
    }
}

pub fn is_postgres(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("postgres"))
}

/// A running `daybook dev` or `serve`, which is killed at the end of the test.
pub struct Service {
    process: Child,
    pub address: String,
    words: Receiver<String>,
    /// What it printed on stderr before it listened.
    pub printed: String,
    pub stdout: PathBuf,
}

impl Service {
    pub fn start(folder: &Folder, command: &str) -> Self {
        Self::start_command(folder, folder.command(&[command]))
    }

    pub fn start_command(folder: &Folder, mut command: Command) -> Self {
        let began = Instant::now();
        let stdout = folder.0.path().join("stdout");
        command.stdout(File::create(&stdout).unwrap()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        let (say, words) = channel();
        // Reads to the end; otherwise the service would block on a full pipe.
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = say.send(line);
            }
        });
        let mut message = Vec::new();
        let address = loop {
            let left = WAIT_LIMIT.saturating_sub(began.elapsed());
            let Ok(line) = words.recv_timeout(left) else {
                let _ = process.kill();
                panic!("not listening after {:?}:\n{}", began.elapsed(), message.join("\n"));
            };
            if let Some((_, address)) = line.split_once("listening on http://") {
                break address.trim().to_owned();
            }
            message.push(line);
        };
        Self {
            process,
            address,
            words,
            printed: message.join("\n"),
            stdout,
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id().cast_signed()), signal).unwrap();
    }

    /// Waits until it prints `words`.
    pub fn wait_for_stderr(&self, words: &str) {
        let deadline = Instant::now() + WAIT_LIMIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.words.recv_timeout(left) {
                Ok(line) if line.contains(words) => return,
                Ok(_) => {}
                Err(_) => panic!("{words:?} was not printed"),
            }
        }
    }

    /// Sends it `signal`, and returns its exit status.
    pub fn end(&mut self, signal: Signal) -> std::process::ExitStatus {
        self.signal(signal);
        let deadline = Instant::now() + WAIT_LIMIT;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            let message: Vec<_> = self.words.try_iter().collect();
            assert!(
                Instant::now() < deadline,
                "still there after {signal}: {}",
                message.join("\n")
            );
            thread::sleep(POLL);
        }
    }

    pub fn request(&self, method: &str, path: &str, token: &str, body: Option<Value>) -> (u16, Value) {
        let body = body.map_or_else(String::new, |body| body.to_string());
        let mut socket = TcpStream::connect(&self.address).unwrap();
        socket.set_read_timeout(Some(WAIT_LIMIT)).unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns a value of `dev.env`.
pub fn exported(folder: &Folder, name: &str) -> String {
    let file = fs::read_to_string(folder.file("dev.env")).unwrap();
    let prefix = format!("export {name}=");
    let value = file.lines().find_map(|line| line.strip_prefix(&prefix));
    value.unwrap_or_else(|| panic!("{name} is not in dev.env")).to_owned()
}
