//! The way to the service: the run is begun, its lines are sent, its end is told, each again until it is done.

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

/// After so long without a line the service is told that we live.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3);
/// After which silence the run is taken for lost: several beats.
const LOST_AFTER_SECONDS: u64 = 60;
/// Before a service that is away is tried again; doubled each time.
const MIN_RETRY_INTERVAL: Duration = Duration::from_millis(100);
const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// How we number our lines: one writer, that never begins anew.
const WRITER: &str = "exec";

/// What the service wants of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StopRequest {
    None,
    /// Somebody has cancelled the run.
    Cancel,
}

/// The way to the service.
pub(super) struct Upload {
    remote: Remote,
    team: Option<String>,
    name: String,
    configuration: Option<String>,
    lines: Arc<LineBuffer>,
    stop_request: watch::Sender<StopRequest>,
    begun: watch::Sender<bool>,
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
            begun: watch::Sender::new(false),
        }
    }

    /// Turns true once the run's link is printed, or it is known that there won't be one.
    pub(super) fn begun(&self) -> watch::Receiver<bool> {
        self.begun.subscribe()
    }

    /// Until the run's end is told, or nothing more can be.
    pub(super) async fn run(self) {
        if let Err(error) = self.all().await {
            note(format_args!("daybook exec: the log goes no further: {error}"));
            self.lines.refuse();
        }
        self.begun.send_replace(true);
    }

    async fn all(&self) -> Result<(), RemoteError> {
        let team_id = self
            .again(async || self.remote.team(self.team.as_deref()).await)
            .await?;
        let new = json!({
            "name": self.name,
            "configuration_id": self.configuration,
            "lost_after_seconds": LOST_AFTER_SECONDS,
        });
        let once = [("idempotency-key", Uuid::new_v4().to_string())];
        let run = self
            .again(async || {
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
        self.begun.send_replace(true);
        match self.send(team_id, &path).await {
            Err(RemoteError::Conflict { code, words }) if code == "run-ended" => {
                return self.ended_elsewhere(team_id, &path, words).await;
            }
            // Its end can still be told.
            Err(RemoteError::Conflict { code, words }) if code == "log-full" => {
                note(format_args!("daybook exec: {words}"));
                self.lines.refuse();
                while self.lines.ended().is_none() {
                    let _ = timeout(HEARTBEAT_INTERVAL, self.lines.more()).await;
                    self.append(team_id, &path, 1, String::new()).await?;
                }
            }
            sent => sent?,
        }
        let end = self.lines.ended().map_or(Value::Null, |ended| ended.completion());
        let complete = format!("{path}/complete");
        self.again(async || {
            self.remote
                .post(team_id, &complete, &[], end.to_string(), "application/json")
                .await
        })
        .await?;
        Ok(())
    }

    /// Sends lines as they come, until there won't be more.
    async fn send(&self, team_id: Uuid, path: &str) -> Result<(), RemoteError> {
        let mut seq = 1;
        loop {
            // Nothing for a while is told, too.
            let _ = timeout(HEARTBEAT_INTERVAL, self.lines.more()).await;
            let ended = self.lines.ended().is_some();
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
            headers.push(("writer-id", WRITER.to_owned()));
            headers.push(("writer-epoch", "1".to_owned()));
            headers.push(("writer-seq", seq.to_string()));
        }
        let post = async || {
            let body = body.clone();
            self.remote
                .post(team_id, &path, &headers, body, "application/x-ndjson")
                .await
        };
        self.again(post).await?;
        Ok(())
    }

    /// Somebody else has ended the run. If they cancelled it, the program is to end, too.
    async fn ended_elsewhere(&self, team_id: Uuid, path: &str, words: String) -> Result<(), RemoteError> {
        let run = self
            .again(async || {
                let run = self.remote.get(team_id, path, &[]).await?;
                match run["completed_at"].is_null() {
                    // Its log ends a moment before it does.
                    true => Err(RemoteError::Unavailable(words.clone())),
                    false => Ok(run),
                }
            })
            .await?;
        if run["status"] == "cancelled" {
            self.lines.refuse();
            self.stop_request.send_replace(StopRequest::Cancel);
            // As long as the program runs it can be told.
            while self.lines.ended().is_none() {
                self.lines.more().await;
            }
            return Ok(());
        }
        Err(RemoteError::Rejected(words))
    }

    /// Does something again and again while the service is away.
    async fn again<T>(&self, work: impl AsyncFn() -> Result<T, RemoteError>) -> Result<T, RemoteError> {
        let mut pause = MIN_RETRY_INTERVAL;
        let mut told = false;
        loop {
            match work().await {
                Err(RemoteError::Unavailable(words)) => {
                    // A moment is not worth a word.
                    if !told && pause > Duration::from_secs(1) {
                        told = true;
                        note(format_args!(
                            "daybook exec: the service is away, output is kept for it: {words}"
                        ));
                    }
                    let wait = pause.mul_f64(rand::rng().random_range(0.5..1.0));
                    sleep(wait).await;
                    pause = (pause * 2).min(MAX_RETRY_INTERVAL);
                }
                done => {
                    if told && done.is_ok() {
                        note(format_args!("daybook exec: the service is back"));
                    }
                    return done;
                }
            }
        }
    }
}
