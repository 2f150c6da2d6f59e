//! `daybook tail`: what happens in a team or a thread, as it happens, in sentences.
//!
//! It keeps the position up to which it has printed. When the service goes away it says so, tries again, and goes on
//! from there: nothing is left out, and nothing is printed twice.

use std::collections::HashSet;
use std::time::Duration;

use clap::Args as ClapArgs;
use futures_util::{SinkExt as _, StreamExt as _};
use rand::Rng as _;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

use super::Outcome;
use super::output::{print_json_to_reader, print_line_to_reader};
use super::remote::{Remote, RemoteError, Socket};
use crate::config::Config;

/// The service asks twice a minute whether one is there. One that hasn't for so long is gone.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(75);
/// Before a service that went away is tried again; doubled each time.
const MIN_RETRY_INTERVAL: Duration = Duration::from_millis(250);
const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// The position of a message in the team's feed is remembered for so many, to know what comes again.
const MAX_REMEMBERED_MESSAGES: usize = 50_000;

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// The team, by id or name; may be left out when the token's person is in one only.
    #[arg(long, env = "DAYBOOK_TEAM")]
    team: Option<String>,
    /// Only this thread, by its id.
    #[arg(long, conflicts_with = "object")]
    thread: Option<Uuid>,
    /// Only this object's thread.
    #[arg(long, value_name = "TYPE/ID")]
    object: Option<String>,
    /// Of a thread: first what came after this message; 0 for all of it.
    #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(i64).range(0..))]
    from: Option<i64>,
    /// Whole messages with their threads, one JSON object a line.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(config: &Config, args: Args) -> Outcome {
    let remote = Remote::of(config)?;
    let team_id = remote.team(args.team.as_deref()).await?;
    let thread = match (&args.thread, &args.object) {
        (Some(thread), _) => Some(*thread),
        (None, Some(object)) => Some(thread_of(&remote, team_id, object).await?),
        (None, None) => None,
    };
    if thread.is_none() && args.from.is_some() {
        return Err("--from is of one thread: say which by --thread or --object".into());
    }
    let mut tail = Tail {
        position: match thread {
            Some(id) => TailPosition::Thread {
                id,
                seq: args.from,
                revision: None,
            },
            None => TailPosition::Team {
                cursor: None,
                printed: HashSet::new(),
            },
        },
        json: args.json,
    };
    tokio::select! {
        ended = tail.follow(&remote, team_id) => Ok(ended?),
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
    }
}

async fn thread_of(remote: &Remote, team_id: Uuid, object: &str) -> Result<Uuid, RemoteError> {
    let Some((object_type, id)) = object.split_once('/') else {
        return Err(RemoteError::Rejected(
            "--object must be TYPE/ID, such as campaign/0190…".to_owned(),
        ));
    };
    let query = [("object_type", object_type), ("object_id", id)];
    let found = remote.get(team_id, "/threads", &query).await?;
    let thread = found["items"][0]["id"].as_str().and_then(|id| Uuid::try_parse(id).ok());
    thread.ok_or_else(|| RemoteError::Rejected(format!("{object} has no thread in this team")))
}

/// Up to where was printed.
enum TailPosition {
    Thread {
        id: Uuid,
        seq: Option<i64>,
        revision: Option<i64>,
    },
    Team {
        cursor: Option<String>,
        /// Of messages that came with this cursor, which may come again: thread, position, version.
        printed: HashSet<(String, i64, String)>,
    },
}

struct Tail {
    position: TailPosition,
    json: bool,
}

/// How one socket ended.
enum SocketEnd {
    /// Nobody reads what is printed.
    ReaderGone,
    /// It may be opened again.
    Lost(String),
}

impl Tail {
    async fn follow(&mut self, remote: &Remote, team_id: Uuid) -> Result<(), RemoteError> {
        let mut pause = MIN_RETRY_INTERVAL;
        let mut heard = false;
        let mut told = false;
        loop {
            let lost = match remote.live(team_id).await {
                Ok(mut socket) => match self.converse(&mut socket, &mut heard, &mut told).await? {
                    SocketEnd::ReaderGone => return Ok(()),
                    SocketEnd::Lost(why) => {
                        pause = MIN_RETRY_INTERVAL;
                        why
                    }
                },
                // Before the first word it is rather a wrong address.
                Err(RemoteError::Unavailable(why)) if !heard => {
                    return Err(RemoteError::Rejected(format!(
                        "{} can't be reached: {why}",
                        remote.url()
                    )));
                }
                Err(RemoteError::Unavailable(why)) => why,
                Err(refused) => return Err(refused),
            };
            if !std::mem::replace(&mut told, true) {
                tracing::warn!("the service is away ({lost}); trying again");
            }
            // Not all at once, when it comes back.
            tokio::time::sleep(pause.mul_f64(rand::rng().random_range(0.5..1.0))).await;
            pause = (pause * 2).min(MAX_RETRY_INTERVAL);
        }
    }

    async fn converse(
        &mut self,
        socket: &mut Socket,
        heard: &mut bool,
        told: &mut bool,
    ) -> Result<SocketEnd, RemoteError> {
        let lost = |error: tokio_tungstenite::tungstenite::Error| Ok(SocketEnd::Lost(error.to_string()));
        if let Err(error) = socket.send(Message::text(self.position.subscribe().to_string())).await {
            return lost(error);
        }
        loop {
            let message = match timeout(SILENCE_TIMEOUT, socket.next()).await {
                Err(_) => return Ok(SocketEnd::Lost("it has gone silent".to_owned())),
                Ok(None) => return Ok(SocketEnd::Lost("it hung up".to_owned())),
                Ok(Some(Err(error))) => return lost(error),
                Ok(Some(Ok(message))) => message,
            };
            let text = match message {
                Message::Text(text) => text,
                Message::Close(close) => {
                    let (code, reason) = close.map_or((1005, String::new()), |close| {
                        (close.code.into(), close.reason.to_string())
                    });
                    // The credential has expired, or is none of the team's any longer.
                    if matches!(code, 4401 | 4403) {
                        return Err(RemoteError::Rejected(reason));
                    }
                    return Ok(SocketEnd::Lost(reason));
                }
                _ => continue,
            };
            let frame: Value = serde_json::from_str(&text)
                .map_err(|error| RemoteError::Rejected(format!("the service said what is no frame: {error}")))?;
            match frame["type"].as_str().unwrap_or_default() {
                "subscribed" => {
                    self.position.begin(&frame);
                    *heard = true;
                    if std::mem::take(told) {
                        tracing::info!("the service is back");
                    }
                }
                "error" => {
                    let detail = frame["detail"].as_str().unwrap_or("it said no");
                    return Err(RemoteError::Rejected(detail.to_owned()));
                }
                kind @ ("thread-messages:created" | "thread-messages:updated" | "thread-messages:deleted") => {
                    let printed = self
                        .print(kind, &frame)
                        .map_err(|error| RemoteError::Rejected(error.to_string()))?;
                    if !printed {
                        return Ok(SocketEnd::ReaderGone);
                    }
                }
                // Of a newer service.
                _ => {}
            }
        }
    }

    /// Prints a frame's messages; `false` if nobody reads them.
    fn print(&mut self, kind: &str, frame: &Value) -> crate::error::Result<bool> {
        let thread = &frame["thread"];
        self.position.moved(frame);
        for message in frame["messages"].as_array().into_iter().flatten() {
            if !self.position.is_new(thread, message) {
                continue;
            }
            let is_read = if self.json {
                let mut line = json!({"type": kind, "thread": thread});
                line["message"] = message.clone();
                print_json_to_reader(line)?
            } else {
                print_line_to_reader(sentence(kind, thread, message))?
            };
            if !is_read {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl TailPosition {
    fn subscribe(&self) -> Value {
        match self {
            Self::Thread { id, seq, revision } => {
                json!({"type": "subscribe", "topic": format!("thread:{id}"), "seq": seq, "revision": revision})
            }
            Self::Team { cursor, .. } => json!({"type": "subscribe", "topic": "threads", "cursor": cursor}),
        }
    }

    /// Who asked for nothing old has come to where it begins.
    fn begin(&mut self, subscribed: &Value) {
        match self {
            Self::Thread { seq, revision, .. } => {
                *seq = seq.or(subscribed["seq"].as_i64());
                *revision = revision.or(subscribed["revision"].as_i64());
            }
            Self::Team { cursor, .. } => {
                if cursor.is_none() {
                    *cursor = subscribed["cursor"].as_str().map(str::to_owned);
                }
            }
        }
    }

    fn moved(&mut self, frame: &Value) {
        match self {
            Self::Thread { seq, revision, .. } => {
                *seq = frame["seq"].as_i64().or(*seq);
                *revision = frame["revision"].as_i64().or(*revision);
            }
            Self::Team { cursor, printed } => {
                let new = frame["cursor"].as_str();
                if new != cursor.as_deref() && printed.len() > MAX_REMEMBERED_MESSAGES {
                    printed.clear();
                }
                *cursor = new.map(str::to_owned).or_else(|| cursor.take());
            }
        }
    }

    /// In a thread what comes is new; in a team's feed some may come a second time.
    fn is_new(&mut self, thread: &Value, message: &Value) -> bool {
        match self {
            Self::Thread { .. } => true,
            Self::Team { printed, .. } => {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                printed.insert((
                    text(&thread["id"]),
                    message["seq"].as_i64().unwrap_or_default(),
                    text(&message["etag"]),
                ))
            }
        }
    }
}

/// `2026-11-21 08:00:00  Ada created campaign “Spring”`, as `activity` has it.
fn sentence(kind: &str, thread: &Value, message: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let when = message["created_at"]
        .as_str()
        .and_then(|at| at.parse::<chrono::DateTime<chrono::Utc>>().ok());
    let when = when.map(|at| at.format("%F %T").to_string()).unwrap_or_default();
    let object = format!(
        "{} “{}”",
        text(&thread["object_type"]).replace('_', " "),
        text(&thread["object_label"])
    );
    let author = text(&message["author"]["name"]);
    let words = match (message["kind"].as_str(), message["body"].as_str()) {
        (Some("system"), _) => match message["event"]["text"].as_str() {
            Some(words) => words.to_owned(),
            None => format!("Something happened to {object}"),
        },
        (_, None) => format!("{author} took a comment on {object} back"),
        (_, Some(body)) if kind == "thread-messages:updated" => {
            format!("{author} changed a comment on {object}: {body}")
        }
        (_, Some(body)) => format!("{author} commented on {object}: {body}"),
    };
    format!("{when}  {words}")
}
