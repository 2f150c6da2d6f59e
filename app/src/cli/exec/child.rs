//! Runs the program, forwards its output, and cuts a copy of the output into pieces for the log.

use std::ffi::OsString;
use std::io;
use std::pin::pin;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal as UnixSignal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::lines::{LineBuffer, Stream};
use super::pieces::Pieces;
use super::program_end::ProgramEnd;
use super::upload::StopRequest;
use crate::cli::output::note;
use crate::clock::Clock;
use crate::config::credential_names;

/// The time after which an incomplete line, such as a question or a progress bar, is sent as a partial piece.
const PARTIAL_LINE_TIMEOUT: Duration = Duration::from_secs(1);
/// The time to wait for more output after the program has ended, if other processes still have its pipes open.
const OUTPUT_DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// The time between SIGTERM and SIGKILL.
const TERMINATE_TIMEOUT: Duration = Duration::from_secs(10);

/// Receives the signals that are forwarded to the program.
pub(super) struct ProcessSignals(Vec<(UnixSignal, Signal)>);

impl ProcessSignals {
    pub(super) fn listen() -> Self {
        let wanted = [
            (UnixSignal::SIGINT, SignalKind::interrupt()),
            (UnixSignal::SIGTERM, SignalKind::terminate()),
            (UnixSignal::SIGHUP, SignalKind::hangup()),
            (UnixSignal::SIGQUIT, SignalKind::quit()),
            (UnixSignal::SIGUSR1, SignalKind::user_defined1()),
            (UnixSignal::SIGUSR2, SignalKind::user_defined2()),
        ];
        // A signal without a listener keeps its default action.
        Self(
            wanted
                .into_iter()
                .filter_map(|(name, kind)| Some((name, signal(kind).ok()?)))
                .collect(),
        )
    }

    /// Waits for the next signal.
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

/// The running program.
pub(super) struct Child {
    process: tokio::process::Child,
    copying: Vec<JoinHandle<()>>,
}

impl Child {
    pub(super) fn start(command: &[OsString], lines: &Arc<LineBuffer>) -> io::Result<Self> {
        let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        // Credentials of `exec` must not reach the program.
        for name in credential_names() {
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

    /// Waits until the program has ended and its output has been read.
    pub(super) async fn run(
        mut self,
        mut signals: ProcessSignals,
        stop_requests: &mut watch::Receiver<StopRequest>,
    ) -> ProgramEnd {
        let pid = self
            .process
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .map(Pid::from_raw);
        let forward = |signal| {
            if let Some(pid) = pid {
                // An error means that the program has ended.
                let _ = kill(pid, signal);
            }
        };
        // The terminal sends SIGINT and SIGQUIT to the program itself, so `exec` does not forward them.
        let has_terminal = io::IsTerminal::is_terminal(&io::stdin());
        let status = loop {
            tokio::select! {
                status = self.process.wait() => break status,
                signal = signals.next() => match signal {
                    UnixSignal::SIGINT | UnixSignal::SIGQUIT if has_terminal => {}
                    other => forward(other),
                },
                () = wait_for_stop_request(stop_requests) => {
                    note("daybook exec: the run was cancelled; stopping the program");
                    forward(UnixSignal::SIGTERM);
                    match timeout(TERMINATE_TIMEOUT, self.process.wait()).await {
                        Ok(status) => break status,
                        Err(_) => {
                            forward(UnixSignal::SIGKILL);
                            break self.process.wait().await;
                        }
                    }
                }
            }
        };
        let drained = async {
            for copying in &mut self.copying {
                // If the task panicked, the output before the panic was forwarded.
                let _ = copying.await;
            }
        };
        if timeout(OUTPUT_DRAIN_TIMEOUT, drained).await.is_err() {
            self.copying.iter().for_each(JoinHandle::abort);
        }
        match status {
            Ok(status) => ProgramEnd::Exited(status),
            Err(error) => ProgramEnd::not_started(&error),
        }
    }
}

/// Waits until the run is cancelled.
async fn wait_for_stop_request(stop_requests: &mut watch::Receiver<StopRequest>) {
    let cancelled = stop_requests
        .wait_for(|stop_request| *stop_request == StopRequest::Cancel)
        .await
        .is_ok();
    // Without an upload, or if the upload ends without a cancellation, this never returns.
    if !cancelled || stop_requests.borrow_and_update().clone() == StopRequest::None {
        std::future::pending::<()>().await;
    }
}

/// Forwards the program's output, and adds it to the log in pieces.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    stream: Stream,
    lines: Arc<LineBuffer>,
) {
    let emit = |text: &[u8], partial| lines.push(stream, Clock::system().now(), text, partial);
    let mut block = vec![0; 64 << 10];
    let mut pieces = Pieces::default();
    let mut line_timeout = pin!(sleep(PARTIAL_LINE_TIMEOUT));
    loop {
        let read = match pieces.is_incomplete() {
            false => from.read(&mut block).await,
            true => tokio::select! {
                read = from.read(&mut block) => read,
                () = &mut line_timeout => {
                    pieces.flush(emit);
                    line_timeout.set(sleep(PARTIAL_LINE_TIMEOUT));
                    continue;
                }
            },
        };
        let Ok(read @ 1..) = read else { break };
        let bytes = &block[..read];
        if !pieces.is_incomplete() || bytes.contains(&b'\n') {
            line_timeout.set(sleep(PARTIAL_LINE_TIMEOUT));
        }
        pieces.feed(bytes, emit);
        // If our own output is closed, the program's pipe is closed, too, as it would be without `exec`.
        if to.write_all(bytes).await.is_err() || to.flush().await.is_err() {
            break;
        }
    }
    pieces.end(emit);
}
