//! What client and service say to each other on the socket: one JSON object a text message.
//!
//! A frame is the same for all who follow a topic: sentences name people by their ids, and a page writes "You".

use axum::extract::ws::Utf8Bytes;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::topic::Topic;
use crate::error::{Error, Result};
use crate::jobs::{ActionView, SessionView};
use crate::notifications::Notification;
use crate::runs::RunView;
use crate::tenancy::Snapshot;
use crate::threads::{Changes, Content, Cursor, Message, ThreadRef};

/// Messages that are sent together, at most so many bytes of JSON, unless one alone is longer: other frames, and
/// the answer to a ping, don't wait behind a frame for long.
const MAX_FRAME_BYTES: usize = 64 * 1024;

/// What a client may say.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
#[schema(as = LiveClientFrame)]
pub enum ClientFrame {
    /// Follow a topic from a place on. Following it already, one starts anew from there.
    Subscribe {
        /// Which.
        topic: Topic,
        /// Of a thread: the last message that one has, 0 for none. Left out: only what comes from now on.
        #[schema(minimum = 0)]
        seq: Option<i64>,
        /// Of a thread: the last `revision` that one has seen, so that changes of older messages are told, too.
        /// Left out: only changes from now on.
        #[schema(minimum = 0)]
        revision: Option<i64>,
        /// Of `threads`, `job-sessions` and `runs`: the last `cursor` that one has seen. Left out: only what comes from now on.
        cursor: Option<String>,
    },
    /// Follow it no longer.
    Unsubscribe {
        /// Which.
        topic: Topic,
    },
    /// Are you there? Answered with `pong`.
    Ping {},
}

/// What the service says.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(tag = "type")]
#[schema(as = LiveServerFrame)]
#[non_exhaustive]
pub enum ServerFrame {
    /// A topic is followed. What was asked for comes next, then what happens.
    #[serde(rename = "subscribed")]
    Subscribed {
        /// Which.
        topic: Topic,
        /// Of a thread: its newest message's place at this moment.
        #[serde(skip_serializing_if = "Option::is_none")]
        seq: Option<i64>,
        /// Of a thread: how often its messages have been changed until this moment.
        #[serde(skip_serializing_if = "Option::is_none")]
        revision: Option<i64>,
        /// Of `threads`, `job-sessions` and `runs`: from where to go on.
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<String>,
    },
    /// A topic is no longer followed.
    #[serde(rename = "unsubscribed")]
    Unsubscribed {
        /// Which.
        topic: Topic,
    },
    /// New messages of one thread, in their order.
    #[serde(rename = "thread-messages:created")]
    Created(ThreadMessages),
    /// Comments that were edited, whole.
    #[serde(rename = "thread-messages:updated")]
    Updated(ThreadMessages),
    /// Comments that were taken back.
    #[serde(rename = "thread-messages:deleted")]
    Deleted(ThreadMessages),
    /// One's notifications as they are now.
    #[serde(rename = "notifications:updated")]
    Notifications {
        /// `notifications`.
        topic: Topic,
        /// Of two states the one with the higher version is the newer.
        version: i64,
        /// How many are unread, of all.
        unread: i64,
        /// This state, for `PUT /notifications/read`: what arrives after it stays unread.
        up_to: String,
        /// The newest ones; each has a version of its own.
        items: Vec<Notification>,
    },
    /// A job session as it is now, and what it has done since.
    #[serde(rename = "job-sessions:updated")]
    JobSessions(Box<JobSessionNews>),
    /// A run as it is now: it began, or ended, or something became of its log.
    #[serde(rename = "runs:updated")]
    Runs {
        /// `runs`.
        topic: Topic,
        /// The run: of two, the one that came later is the newer.
        run: Box<RunView>,
        /// From where to go on. It moves with the last frame of what was read at once.
        cursor: String,
    },
    /// The answer to a ping.
    #[serde(rename = "pong")]
    Pong {},
    /// Something can't be done; the socket stays open.
    #[serde(rename = "error")]
    Error {
        /// For programs: `bad-frame`, `not-found`, `forbidden`, `cursor-ahead`, `too-many-topics`.
        code: &'static str,
        /// For people.
        detail: String,
        /// The topic that it is about; it is not followed.
        #[serde(skip_serializing_if = "Option::is_none")]
        topic: Option<Topic>,
    },
}

/// Messages of one thread, and where they bring the client that has them.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = LiveThreadMessages)]
pub struct ThreadMessages {
    /// The topic that they come by.
    pub topic: Topic,
    /// The thread.
    pub thread: ThreadRef,
    /// By `seq`; changed ones in the order in which they were changed.
    pub messages: Vec<Message>,
    /// Of a thread's own topic: with this frame one has every message up to here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<i64>,
    /// Of a thread's own topic: with this frame one has every change up to here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
    /// Of `threads`: from where to go on. It moves with the last frame of what was read at once, so that some may
    /// come a second time: a message is known by its thread, its `seq` and its `etag`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A job session as it is now, without its input, and its new actions.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = LiveJobSession)]
pub struct JobSessionNews {
    /// `job-sessions`.
    pub topic: Topic,
    /// The session: of two, the one that came later is the newer.
    pub session: SessionView,
    /// Its new actions in order. An action may come a second time: it is known by the session and its `seq`.
    pub actions: Vec<ActionView>,
    /// From where to go on. It moves with the last frame of what was read at once.
    pub cursor: String,
}

impl ServerFrame {
    /// As it goes over the wire. Cheap to clone: all who follow a topic are sent the same bytes.
    ///
    /// # Errors
    /// [`Error::Internal`]: a frame of ours can always be said.
    pub(super) fn encode(&self) -> Result<Utf8Bytes> {
        serde_json::to_string(self)
            .map(Utf8Bytes::from)
            .map_err(Error::internal)
    }
}

/// A frame, and where it brings who has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    pub(super) to: Cursor,
    pub(super) frame: Utf8Bytes,
}

/// What happened in a thread between `from` and `changes.to`, as frames for its own topic.
///
/// # Errors
/// As [`ServerFrame::encode`].
pub(super) fn thread_frames(from: Cursor, changes: Changes) -> Result<Vec<Step>> {
    let topic = Topic::Thread(changes.thread.id);
    let mut steps = Vec::new();
    let mut at = from;
    for messages in chunks(changes.created)? {
        at.seq = messages.last().map_or(at.seq, |message| message.seq);
        steps.push((at, ServerFrame::Created as Kind, messages));
    }
    for (revision, message) in changes.changed {
        at.revision = revision;
        steps.push((at, changed(&message), vec![message]));
    }
    // A message that was changed before it was read has brought its change along.
    if let Some((last, ..)) = steps.last_mut() {
        *last = changes.to;
    }
    steps
        .into_iter()
        .map(|(to, frame, messages)| {
            let frame = frame(ThreadMessages {
                topic,
                thread: changes.thread.clone(),
                messages,
                seq: Some(to.seq),
                revision: Some(to.revision),
                cursor: None,
            });
            Ok(Step {
                to,
                frame: frame.encode()?,
            })
        })
        .collect()
}

/// Messages as frames for the team's topic. The client has all that came before `new` with the last of them; with the
/// others it has only what came before `old`.
///
/// # Errors
/// As [`ServerFrame::encode`].
pub(super) fn feed_frames(
    threads: Vec<(ThreadRef, Vec<Message>)>,
    old: &Snapshot,
    new: &Snapshot,
) -> Result<Vec<Utf8Bytes>> {
    let mut frames: Vec<(Kind, ThreadMessages)> = Vec::new();
    for (thread, messages) in threads {
        let frame = |messages| ThreadMessages {
            topic: Topic::Threads,
            thread: thread.clone(),
            messages,
            seq: None,
            revision: None,
            cursor: Some(old.to_string()),
        };
        let (fresh, changes): (Vec<_>, Vec<_>) = messages.into_iter().partition(|message| !is_changed(message));
        for messages in chunks(fresh)? {
            frames.push((ServerFrame::Created, frame(messages)));
        }
        for message in changes {
            frames.push((changed(&message), frame(vec![message])));
        }
    }
    if let Some((_, last)) = frames.last_mut() {
        last.cursor = Some(new.to_string());
    }
    frames
        .into_iter()
        .map(|(say, messages)| say(messages).encode())
        .collect()
}

/// Sessions as frames, with cursors as [`feed_frames`] has them.
///
/// # Errors
/// As [`ServerFrame::encode`].
pub(super) fn session_frames(
    sessions: Vec<(SessionView, Vec<ActionView>)>,
    old: &Snapshot,
    new: &Snapshot,
) -> Result<Vec<Utf8Bytes>> {
    let mut frames: Vec<JobSessionNews> = Vec::new();
    for (session, actions) in sessions {
        let news = |actions| JobSessionNews {
            topic: Topic::JobSessions,
            session: session.clone(),
            actions,
            cursor: old.to_string(),
        };
        match actions.is_empty() {
            true => frames.push(news(actions)),
            false => frames.extend(chunks(actions)?.into_iter().map(news)),
        }
    }
    if let Some(last) = frames.last_mut() {
        last.cursor = new.to_string();
    }
    frames
        .into_iter()
        .map(|news| ServerFrame::JobSessions(Box::new(news)).encode())
        .collect()
}

/// Runs as frames, with cursors as [`feed_frames`] has them.
///
/// # Errors
/// As [`ServerFrame::encode`].
pub(super) fn run_frames(runs: Vec<RunView>, old: &Snapshot, new: &Snapshot) -> Result<Vec<Utf8Bytes>> {
    let last = runs.len().saturating_sub(1);
    let frames = runs.into_iter().enumerate().map(|(at, run)| ServerFrame::Runs {
        topic: Topic::Runs,
        run: Box::new(run),
        cursor: if at == last { new } else { old }.to_string(),
    });
    frames.map(|frame| frame.encode()).collect()
}

/// What a frame says of its messages.
type Kind = fn(ThreadMessages) -> ServerFrame;

fn changed(message: &Message) -> Kind {
    match &message.content {
        Content::Comment {
            deleted_at: Some(_), ..
        } => ServerFrame::Deleted,
        _ => ServerFrame::Updated,
    }
}

fn is_changed(message: &Message) -> bool {
    matches!(
        &message.content,
        Content::Comment { edited_at: Some(_), .. }
            | Content::Comment {
                deleted_at: Some(_),
                ..
            }
    )
}

/// Cuts messages into runs of at most [`MAX_FRAME_BYTES`].
fn chunks<M: Serialize>(messages: Vec<M>) -> Result<Vec<Vec<M>>> {
    let mut chunks: Vec<Vec<M>> = Vec::new();
    let mut bytes = usize::MAX;
    for message in messages {
        let size = serde_json::to_vec(&message).map_err(Error::internal)?.len();
        match chunks.last_mut() {
            Some(chunk) if bytes.saturating_add(size) <= MAX_FRAME_BYTES => {
                bytes += size;
                chunk.push(message);
            }
            _ => {
                bytes = size;
                chunks.push(vec![message]);
            }
        }
    }
    Ok(chunks)
}

/// Reads a client's frame.
///
/// # Errors
/// For what is no frame; also for a list, which serde takes for an object of a tagged type.
pub(super) fn client_frame(text: &str) -> Result<ClientFrame, serde_json::Error> {
    match text.trim_start().starts_with('[') {
        true => Err(serde::de::Error::custom("a list is no frame")),
        false => serde_json::from_str(text),
    }
}

/// The error frame for a frame that is none.
pub(super) fn bad_frame(error: &serde_json::Error) -> ServerFrame {
    ServerFrame::Error {
        code: "bad-frame",
        detail: format!("a frame must be subscribe, unsubscribe or ping, as JSON: {error}"),
        topic: None,
    }
}

/// The one answer for a thread that isn't there and for another team's.
pub(super) fn no_such_thread(id: Uuid) -> ServerFrame {
    ServerFrame::Error {
        code: "not-found",
        detail: "no such thread".to_owned(),
        topic: Some(Topic::Thread(id)),
    }
}
