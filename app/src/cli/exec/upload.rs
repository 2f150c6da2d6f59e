//! Sends the run to the service: begins it, appends its lines, and completes it. Each request is repeated until it
//! succeeds.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng as _;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::lines::LineBuffer;
use crate::cli::output::note;
use crate::cli::remote::{Remote, RemoteError};

/// The time without a line after which a heartbeat is sent.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3);
/// The time without a heartbeat after which the service counts the run as lost.
const LOST_AFTER_SECONDS: u64 = 60;
/// The interval before a failed request is repeated. It doubles at each attempt.
const MIN_RETRY_INTERVAL: Duration = Duration::from_millis(100);
const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// The writer id for the lines. A run has one writer with one epoch, because `exec` never restarts it.
const WRITER_ID: &str = "exec";

/// Whether the program should be stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StopRequest {
    None,
    /// The run was cancelled.
    Cancel,
}

/// Sends one run to the service.
pub(super) struct Upload {
    remote: Remote,
    team: Option<String>,
    name: String,
    configuration: Option<String>,
    lines: Arc<LineBuffer>,
    stop_request: watch::Sender<StopRequest>,
    link_ready: watch::Sender<bool>,
}

impl Upload {
    pub(super) fn new(
        remote: Remote,
        team: Option<String>,
        name: String,
        configuration: Option<String>,
        lines: Arc<LineBuffer>,
        stop_request: watch::Sender<StopRequest>,
    ) -> Self {
        Self {
            remote,
            team,
            name,
            configuration,
            lines,
            stop_request,
            link_ready: watch::Sender::new(false),
        }
    }

    /// Becomes true when the run's link is printed, or when there won't be one.
    pub(super) fn link_ready(&self) -> watch::Receiver<bool> {
        self.link_ready.subscribe()
    }

    /// Runs until the service knows the run's end, or rejects the run.
    pub(super) async fn run(self) {
        if let Err(error) = self.send_run().await {
            note(format_args!("daybook exec: the output is no longer recorded: {error}"));
            self.lines.discard();
        }
        self.link_ready.send_replace(true);
    }

    async fn send_run(&self) -> Result<(), RemoteError> {
        let team_id = self
            .retry(async || self.remote.team(self.team.as_deref()).await)
            .await?;
        let new = json!({
            "name": self.name,
            "configuration_id": self.configuration,
            "lost_after_seconds": LOST_AFTER_SECONDS,
        });
        let once = [("idempotency-key", Uuid::new_v4().to_string())];
        let run = self
            .retry(async || {
                self.remote
                    .post(team_id, "/runs", &once, new.to_string(), "application/json")
                    .await
            })
            .await?;
        let path = format!("/runs/{}", run["id"].as_str().unwrap_or_default());
        note(format_args!(
            "daybook exec: {}/v1/teams/{team_id}{path}/events",
            self.remote.url()
        ));
        self.link_ready.send_replace(true);
        match self.send_lines(team_id, &path).await {
            Err(RemoteError::Conflict { code, message }) if code == "run-ended" => {
                return self.handle_ended_run(team_id, &path, message).await;
            }
            // A full log accepts no more lines, but its run can still be completed.
            Err(RemoteError::Conflict { code, message }) if code == "log-full" => {
                note(format_args!("daybook exec: {message}"));
                self.lines.discard();
                while self.lines.program_end().is_none() {
                    let _ = timeout(HEARTBEAT_INTERVAL, self.lines.more()).await;
                    self.append(team_id, &path, 1, String::new()).await?;
                }
            }
            sent => sent?,
        }
        let end = self.lines.program_end().map_or(Value::Null, |end| end.completion());
        let complete = format!("{path}/complete");
        self.retry(async || {
            self.remote
                .post(team_id, &complete, &[], end.to_string(), "application/json")
                .await
        })
        .await?;
        Ok(())
    }

    /// Sends lines until the program has ended and all are sent.
    async fn send_lines(&self, team_id: Uuid, path: &str) -> Result<(), RemoteError> {
        let mut seq = 1;
        loop {
            // After a timeout an empty request is sent as a heartbeat.
            let _ = timeout(HEARTBEAT_INTERVAL, self.lines.more()).await;
            let ended = self.lines.program_end().is_some();
            let (body, count) = self.lines.batch();
            if count == 0 && ended {
                return Ok(());
            }
            self.append(team_id, path, seq, body).await?;
            self.lines.sent(count);
            seq += count as u64;
        }
    }

    async fn append(&self, team_id: Uuid, path: &str, seq: u64, body: String) -> Result<(), RemoteError> {
        let path = format!("{path}/events");
        let mut headers = vec![];
        if !body.is_empty() {
            headers.push(("writer-id", WRITER_ID.to_owned()));
            headers.push(("writer-epoch", "1".to_owned()));
            headers.push(("writer-seq", seq.to_string()));
        }
        let post = async || {
            let body = body.clone();
            self.remote
                .post(team_id, &path, &headers, body, "application/x-ndjson")
                .await
        };
        self.retry(post).await?;
        Ok(())
    }

    /// Handles a run that another client has ended. If it was cancelled, the program is stopped.
    async fn handle_ended_run(&self, team_id: Uuid, path: &str, message: String) -> Result<(), RemoteError> {
        let run = self
            .retry(async || {
                let run = self.remote.get(team_id, path, &[]).await?;
                match run["completed_at"].is_null() {
                    // The log ends shortly before the run does, so this is repeated.
                    true => Err(RemoteError::Unavailable(message.clone())),
                    false => Ok(run),
                }
            })
            .await?;
        if run["status"] == "cancelled" {
            self.lines.discard();
            self.stop_request.send_replace(StopRequest::Cancel);
            // The sender is kept until the program has ended, so that the request reaches it.
            while self.lines.program_end().is_none() {
                self.lines.more().await;
            }
            return Ok(());
        }
        Err(RemoteError::Rejected(message))
    }

    /// Repeats a request while the service is unavailable.
    async fn retry<T>(&self, request: impl AsyncFn() -> Result<T, RemoteError>) -> Result<T, RemoteError> {
        let mut pause = MIN_RETRY_INTERVAL;
        let mut noted = false;
        loop {
            match request().await {
                Err(RemoteError::Unavailable(message)) => {
                    // A short interruption is not reported.
                    if !noted && pause > Duration::from_secs(1) {
                        noted = true;
                        note(format_args!(
                            "daybook exec: the service is unavailable, output is buffered: {message}"
                        ));
                    }
                    let wait = pause.mul_f64(rand::rng().random_range(0.5..1.0));
                    sleep(wait).await;
                    pause = (pause * 2).min(MAX_RETRY_INTERVAL);
                }
                done => {
                    if noted && done.is_ok() {
                        note(format_args!("daybook exec: the service is available again"));
                    }
                    return done;
                }
            }
        }
    }
}
