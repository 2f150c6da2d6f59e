//! `daybook tail`: follows a team or a thread live, as sentences.
//!
//! It keeps the position up to which it has printed. If the connection is lost, it logs that, connects again, and
//! resumes from there: no message is left out, and none is printed twice.

use std::collections::HashSet;
use std::time::Duration;

use clap::Args as ClapArgs;
use futures_util::{SinkExt as _, StreamExt as _};
use rand::Rng as _;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

use super::outcome::Outcome;
use super::output::{print_json_to_reader, print_line_to_reader};
use super::remote::{LiveSocket, Remote, RemoteError};
use crate::config::Config;

/// The time without a frame after which the connection counts as lost. The service sends a ping every 30 seconds.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(75);
/// The interval before the first new attempt to connect. It doubles at each attempt.
const MIN_RETRY_INTERVAL: Duration = Duration::from_millis(250);
const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// The number of printed messages of a team that are remembered, to recognise repeated ones.
const MAX_REMEMBERED_MESSAGES: usize = 50_000;

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// The team's id or name. Optional if the token's person is in only one team.
    #[arg(long, env = "DAYBOOK_TEAM")]
    team: Option<String>,
    /// Follow only the thread with this id.
    #[arg(long, conflicts_with = "object")]
    thread: Option<Uuid>,
    /// Follow only the thread of this object.
    #[arg(long, value_name = "TYPE/ID")]
    object: Option<String>,
    /// Start with the thread's messages after this one. 0 prints the whole thread.
    #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(i64).range(0..))]
    from: Option<i64>,
    /// Print whole messages with their threads, one JSON object per line.
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
        return Err("--from needs a thread: add --thread or --object".into());
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

/// The position up to which messages were printed.
enum TailPosition {
    Thread {
        id: Uuid,
        seq: Option<i64>,
        revision: Option<i64>,
    },
    Team {
        cursor: Option<String>,
        /// The printed messages (thread id, `seq`, ETag) that the feed may repeat from this cursor.
        printed: HashSet<(String, i64, String)>,
    },
}

struct Tail {
    position: TailPosition,
    json: bool,
}

/// Why a socket was left.
enum SocketEnd {
    /// Stdout is closed.
    ReaderGone,
    /// The connection was lost, and can be opened again.
    Lost(String),
}

impl Tail {
    async fn follow(&mut self, remote: &Remote, team_id: Uuid) -> Result<(), RemoteError> {
        let mut pause = MIN_RETRY_INTERVAL;
        let mut subscribed = false;
        let mut warned = false;
        loop {
            let lost = match remote.live(team_id).await {
                Ok(mut socket) => match self.receive(&mut socket, &mut subscribed, &mut warned).await? {
                    SocketEnd::ReaderGone => return Ok(()),
                    SocketEnd::Lost(why) => {
                        pause = MIN_RETRY_INTERVAL;
                        why
                    }
                },
                // If the service was never reached, the address is probably wrong.
                Err(RemoteError::Unavailable(why)) if !subscribed => {
                    return Err(RemoteError::Rejected(format!(
                        "{} can't be reached: {why}; check DAYBOOK_URL",
                        remote.url()
                    )));
                }
                Err(RemoteError::Unavailable(why)) => why,
                Err(rejected) => return Err(rejected),
            };
            if !std::mem::replace(&mut warned, true) {
                tracing::warn!("the service is unavailable ({lost}); trying again");
            }
            // A random interval, so that clients don't all connect at once after a restart.
            tokio::time::sleep(pause.mul_f64(rand::rng().random_range(0.5..1.0))).await;
            pause = (pause * 2).min(MAX_RETRY_INTERVAL);
        }
    }

    /// Subscribes, and prints frames until the socket ends.
    async fn receive(
        &mut self,
        socket: &mut LiveSocket,
        subscribed: &mut bool,
        warned: &mut bool,
    ) -> Result<SocketEnd, RemoteError> {
        let lost = |error: tokio_tungstenite::tungstenite::Error| Ok(SocketEnd::Lost(error.to_string()));
        if let Err(error) = socket.send(Message::text(self.position.subscribe().to_string())).await {
            return lost(error);
        }
        loop {
            let message = match timeout(SILENCE_TIMEOUT, socket.next()).await {
                Err(_) => return Ok(SocketEnd::Lost("no frame in time".to_owned())),
                Ok(None) => return Ok(SocketEnd::Lost("connection closed".to_owned())),
                Ok(Some(Err(error))) => return lost(error),
                Ok(Some(Ok(message))) => message,
            };
            let text = match message {
                Message::Text(text) => text,
                Message::Close(close) => {
                    let (code, reason) = close.map_or((1005, String::new()), |close| {
                        (close.code.into(), close.reason.to_string())
                    });
                    // The credential has expired, or has lost its access to the team.
                    if matches!(code, 4401 | 4403) {
                        return Err(RemoteError::Rejected(reason));
                    }
                    return Ok(SocketEnd::Lost(reason));
                }
                _ => continue,
            };
            let frame: Value = serde_json::from_str(&text)
                .map_err(|error| RemoteError::Rejected(format!("the service sent an invalid frame: {error}")))?;
            match frame["type"].as_str().unwrap_or_default() {
                "subscribed" => {
                    self.position.start(&frame);
                    *subscribed = true;
                    if std::mem::take(warned) {
                        tracing::info!("the service is available again");
                    }
                }
                "error" => {
                    let detail = frame["detail"]
                        .as_str()
                        .unwrap_or("the service rejected the subscription");
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
                // A newer service may send other frames.
                _ => {}
            }
        }
    }

    /// Prints a frame's messages. Returns whether stdout is still open.
    fn print(&mut self, kind: &str, frame: &Value) -> crate::error::Result<bool> {
        let thread = &frame["thread"];
        self.position.advance(frame);
        for message in frame["messages"].as_array().into_iter().flatten() {
            if !self.position.is_new(thread, message) {
                continue;
            }
            let is_open = if self.json {
                let mut line = json!({"type": kind, "thread": thread});
                line["message"] = message.clone();
                print_json_to_reader(line)?
            } else {
                print_line_to_reader(sentence(kind, thread, message))?
            };
            if !is_open {
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

    /// Takes the start position from the service, for a subscription without one.
    fn start(&mut self, subscribed: &Value) {
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

    fn advance(&mut self, frame: &Value) {
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

    /// Returns whether a message has not been printed. The feed of a team may repeat a message; a thread never does.
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

/// Formats a message as `activity` does: `2026-11-21 08:00:00  Ada created campaign “Spring”`.
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
        (_, None) => format!("{author} deleted a comment on {object}"),
        (_, Some(body)) if kind == "thread-messages:updated" => {
            format!("{author} changed a comment on {object}: {body}")
        }
        (_, Some(body)) => format!("{author} commented on {object}: {body}"),
    };
    format!("{when}  {words}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection may be lost between two frames with one cursor, and the feed then repeats the first one.
    #[test]
    fn a_message_that_a_teams_feed_repeats_is_printed_once() {
        let mut position = TailPosition::Team {
            cursor: Some("1".to_owned()),
            printed: HashSet::new(),
        };
        let (thread, other) = (json!({"id": "a"}), json!({"id": "b"}));
        let message = |seq: i64, etag: &str| json!({"seq": seq, "etag": etag});
        for (cursor, thread, message, is_new) in [
            ("1", &thread, message(1, "x"), true),
            ("1", &thread, message(1, "x"), false),
            ("2", &thread, message(1, "x"), false),
            ("2", &thread, message(1, "changed"), true),
            ("2", &thread, message(2, "x"), true),
            ("2", &other, message(1, "x"), true),
        ] {
            position.advance(&json!({"cursor": cursor}));
            assert_eq!(position.is_new(thread, &message), is_new, "{cursor} {thread} {message}");
        }
        assert_eq!(
            position.subscribe(),
            json!({"type": "subscribe", "topic": "threads", "cursor": "2"})
        );
    }
}
