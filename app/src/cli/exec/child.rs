//! The program: what it says is passed on as it comes, and read line by line beside that.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use nix::sys::signal::{Signal as UnixSignal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::lines::{LineBuffer, Stream};
use super::pieces::Pieces;
use super::upload::StopRequest;
use crate::cli::output::note;
use crate::config::CREDENTIALS;

/// The beginning of a line that waits for its end for so long becomes a piece by itself: a question, a progress.
const PARTIAL_LINE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long is waited for the rest of what was said, when the program has left others behind that hold its output.
const OUTPUT_DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a program that was asked to end may take.
const TERMINATE_TIMEOUT: Duration = Duration::from_secs(10);

/// How the program ended.
#[derive(Debug, Clone)]
pub(super) enum ProgramEnd {
    Exited(ExitStatus),
    NotStarted { code: u8, words: String },
}

impl ProgramEnd {
    pub(super) fn not_started(error: &io::Error) -> Self {
        Self::NotStarted {
            // As shells have it.
            code: if error.kind() == io::ErrorKind::NotFound {
                127
            } else {
                126
            },
            words: error.to_string(),
        }
    }

    /// As a shell would tell it.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::NotStarted { code, .. } => *code,
            Self::Exited(status) => {
                let code = status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(1);
                u8::try_from(code & 0xff).unwrap_or(1)
            }
        }
    }

    /// What the run is told.
    pub(super) fn completion(&self) -> Value {
        let code = self.code();
        let failure = match self {
            Self::NotStarted { words, .. } => Some(json!({"code": "not-started", "message": words})),
            Self::Exited(status) => status.signal().map(|number| {
                let name = UnixSignal::try_from(number).map_or_else(|_| number.to_string(), |name| name.to_string());
                json!({"code": "killed", "message": format!("killed by {name}")})
            }),
        };
        match code {
            0 => json!({"status": "succeeded", "exit_code": 0}),
            _ => json!({"status": "failed", "exit_code": code, "failure": failure}),
        }
    }
}

/// Signals that are passed on.
pub(super) struct Signals(Vec<(UnixSignal, Signal)>);

impl Signals {
    pub(super) fn listen() -> Self {
        let wanted = [
            (UnixSignal::SIGINT, SignalKind::interrupt()),
            (UnixSignal::SIGTERM, SignalKind::terminate()),
            (UnixSignal::SIGHUP, SignalKind::hangup()),
            (UnixSignal::SIGQUIT, SignalKind::quit()),
            (UnixSignal::SIGUSR1, SignalKind::user_defined1()),
            (UnixSignal::SIGUSR2, SignalKind::user_defined2()),
        ];
        // One that can't be listened for does what it does to any program.
        Self(
            wanted
                .into_iter()
                .filter_map(|(name, kind)| Some((name, signal(kind).ok()?)))
                .collect(),
        )
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> UnixSignal {
        std::future::poll_fn(|context| {
            for (name, signal) in &mut self.0 {
                if signal.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready(*name);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

/// The program while it runs.
pub(super) struct Child {
    process: tokio::process::Child,
    copying: Vec<JoinHandle<()>>,
}

impl Child {
    pub(super) fn start(command: &[OsString], lines: &Arc<LineBuffer>) -> io::Result<Self> {
        let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        // Only exec uses them; other programs must not see them.
        for name in CREDENTIALS {
            command.env_remove(name);
            command.env_remove(format!("{name}_FILE"));
        }
        let mut process = command
            .args(arguments)
            .stdin(Stdio::inherit())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut copying = Vec::new();
        if let Some(stdout) = process.stdout.take() {
            copying.push(tokio::spawn(copy(
                stdout,
                tokio::io::stdout(),
                Stream::Stdout,
                lines.clone(),
            )));
        }
        if let Some(stderr) = process.stderr.take() {
            copying.push(tokio::spawn(copy(
                stderr,
                tokio::io::stderr(),
                Stream::Stderr,
                lines.clone(),
            )));
        }
        Ok(Self { process, copying })
    }

    /// Until it has ended, and everything that it said was read.
    pub(super) async fn run(
        mut self,
        mut signals: Signals,
        stop_requests: &mut watch::Receiver<StopRequest>,
    ) -> ProgramEnd {
        let pid = self
            .process
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .map(Pid::from_raw);
        let pass_on = |signal| {
            if let Some(pid) = pid {
                // It may be gone by now.
                let _ = kill(pid, signal);
            }
        };
        // A terminal's own signals reach the program without us.
        let of_terminal = io::IsTerminal::is_terminal(&io::stdin());
        let status = loop {
            tokio::select! {
                status = self.process.wait() => break status,
                signal = signals.next() => match signal {
                    UnixSignal::SIGINT | UnixSignal::SIGQUIT if of_terminal => {}
                    other => pass_on(other),
                },
                () = wait_for_stop_request(stop_requests) => {
                    note("daybook exec: the run was cancelled; ending the program");
                    pass_on(UnixSignal::SIGTERM);
                    match timeout(TERMINATE_TIMEOUT, self.process.wait()).await {
                        Ok(status) => break status,
                        Err(_) => pass_on(UnixSignal::SIGKILL),
                    }
                }
            }
        };
        let all = async {
            for copying in &mut self.copying {
                // What it read until it failed was told.
                let _ = copying.await;
            }
        };
        if timeout(OUTPUT_DRAIN_TIMEOUT, all).await.is_err() {
            self.copying.iter().for_each(JoinHandle::abort);
        }
        match status {
            Ok(status) => ProgramEnd::Exited(status),
            Err(error) => ProgramEnd::not_started(&error),
        }
    }
}

/// Waits until somebody cancels the run.
async fn wait_for_stop_request(stop_requests: &mut watch::Receiver<StopRequest>) {
    let cancelled = stop_requests
        .wait_for(|stop_request| *stop_request == StopRequest::Cancel)
        .await
        .is_ok();
    // Asked for once; and without an upload nobody can.
    if !cancelled || stop_requests.borrow_and_update().clone() == StopRequest::None {
        std::future::pending::<()>().await;
    }
}

/// Passes on what the program prints, and cuts it into pieces for the log.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    stream: Stream,
    lines: Arc<LineBuffer>,
) {
    let give = |text: &[u8], partial| lines.push(stream, Utc::now(), text, partial);
    let mut block = vec![0; 64 << 10];
    let mut pieces = Pieces::default();
    let mut waits_since = Instant::now();
    loop {
        let read = match pieces.is_waiting() {
            false => from.read(&mut block).await,
            true => tokio::select! {
                read = from.read(&mut block) => read,
                () = sleep_until(waits_since + PARTIAL_LINE_TIMEOUT) => {
                    pieces.flush(give);
                    waits_since = Instant::now();
                    continue;
                }
            },
        };
        let Ok(read @ 1..) = read else { break };
        let bytes = &block[..read];
        if !pieces.is_waiting() || bytes.contains(&b'\n') {
            waits_since = Instant::now();
        }
        pieces.feed(bytes, give);
        // Whoever reads us has gone: then the program is told so, as if we were not between.
        if to.write_all(bytes).await.is_err() || to.flush().await.is_err() {
            break;
        }
    }
    pieces.end(give);
}
