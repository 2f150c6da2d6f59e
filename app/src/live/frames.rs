//! Frames between client and service: one JSON object in each text message.
//!
//! A frame is the same for all subscribers of a topic: sentences contain the ids of people, and a page writes "You"
//! itself.

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

/// Maximum size of a frame's messages as JSON, in bytes, unless a single message is larger. So other frames and the
/// answer to a ping never wait long behind one frame.
const MAX_FRAME_BYTES: usize = 64 * 1024;

/// A frame from a client.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
#[schema(as = LiveClientFrame)]
pub enum ClientFrame {
    /// Follows a topic from a position. If the topic is already followed, it starts again from this position.
    Subscribe {
        /// The topic.
        topic: Topic,
        /// For a thread: the `seq` of the last message that the client has; 0 for none. If absent: only new messages.
        #[schema(minimum = 0)]
        seq: Option<i64>,
        /// For a thread: the last `revision` that the client has, to receive changes of older messages as well. If
        /// absent: only new changes.
        #[schema(minimum = 0)]
        revision: Option<i64>,
        /// For `threads`, `job-sessions` and `runs`: the last `cursor` that the client has received. If absent: only
        /// new changes.
        cursor: Option<String>,
    },
    /// Stops following a topic.
    Unsubscribe {
        /// The topic.
        topic: Topic,
    },
    /// Asks for a `pong`.
    Ping {},
}

/// A frame from the service.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(tag = "type")]
#[schema(as = LiveServerFrame)]
#[non_exhaustive]
pub enum ServerFrame {
    /// The topic is followed. First come the changes that the client missed, then new ones.
    #[serde(rename = "subscribed")]
    Subscribed {
        /// The topic.
        topic: Topic,
        /// For a thread: the `seq` of its newest message at this time.
        #[serde(skip_serializing_if = "Option::is_none")]
        seq: Option<i64>,
        /// For a thread: its `revision` at this time, which counts changes of its messages.
        #[serde(skip_serializing_if = "Option::is_none")]
        revision: Option<i64>,
        /// For `threads`, `job-sessions` and `runs`: the position to resume from.
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<String>,
    },
    /// The topic is no longer followed.
    #[serde(rename = "unsubscribed")]
    Unsubscribed {
        /// The topic.
        topic: Topic,
    },
    /// New messages of one thread, in order.
    #[serde(rename = "thread-messages:created")]
    Created(ThreadMessages),
    /// Comments that were edited, with their complete content.
    #[serde(rename = "thread-messages:updated")]
    Updated(ThreadMessages),
    /// Comments that were deleted.
    #[serde(rename = "thread-messages:deleted")]
    Deleted(ThreadMessages),
    /// The current state of the person's notifications.
    #[serde(rename = "notifications:updated")]
    Notifications {
        /// `notifications`.
        topic: Topic,
        /// The state with the higher version is the newer one.
        version: i64,
        /// The number of unread notifications in total.
        unread: i64,
        /// Identifies this state for `PUT /notifications/read`: notifications that arrive after it stay unread.
        up_to: String,
        /// The newest notifications. Each has its own version.
        items: Vec<Notification>,
    },
    /// The current state of a job session, and its new actions.
    #[serde(rename = "job-sessions:updated")]
    JobSessions(Box<JobSessionUpdate>),
    /// The current state of a run: it has started, changed or ended.
    #[serde(rename = "runs:updated")]
    Runs {
        /// `runs`.
        topic: Topic,
        /// The run. Of two frames for one run, the later one is newer.
        run: Box<RunView>,
        /// The position to resume from. It advances with the last frame of a page.
        cursor: String,
    },
    /// The answer to a ping.
    #[serde(rename = "pong")]
    Pong {},
    /// A request failed. The socket stays open.
    #[serde(rename = "error")]
    Error {
        /// A code for programs: `bad-frame`, `not-found`, `forbidden`, `cursor-ahead`, `too-many-topics`.
        code: &'static str,
        /// A description for people.
        detail: String,
        /// The topic of the request; it is not followed.
        #[serde(skip_serializing_if = "Option::is_none")]
        topic: Option<Topic>,
    },
}

/// Messages of one thread, and the client's position after them.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = LiveThreadMessages)]
pub struct ThreadMessages {
    /// The topic of the subscription.
    pub topic: Topic,
    /// The thread.
    pub thread: ThreadRef,
    /// Ordered by `seq`; changed messages in the order of their changes.
    pub messages: Vec<Message>,
    /// For a thread's own topic: with this frame the client has every message up to this `seq`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<i64>,
    /// For a thread's own topic: with this frame the client has every change up to this `revision`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
    /// For `threads`: the position to resume from. It advances with the last frame of a page, so some messages may be
    /// sent again: a message is identified by its thread, its `seq` and its `etag`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// The current state of a job session, without its input, and its new actions.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = LiveJobSession)]
pub struct JobSessionUpdate {
    /// `job-sessions`.
    pub topic: Topic,
    /// The session. Of two frames for one session, the later one is newer.
    pub session: SessionView,
    /// New actions, in order. An action may be sent again: it is identified by its session and its `seq`.
    pub actions: Vec<ActionView>,
    /// The position to resume from. It advances with the last frame of a page.
    pub cursor: String,
}

impl ServerFrame {
    /// Encodes the frame. The result is cheap to clone: all subscribers of a topic receive the same bytes.
    ///
    /// # Errors
    /// [`Error::Internal`] if it can't be encoded, which doesn't happen.
    pub(super) fn encode(&self) -> Result<Utf8Bytes> {
        serde_json::to_string(self)
            .map(Utf8Bytes::from)
            .map_err(Error::internal)
    }
}

/// An encoded frame, and the client's position after it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ThreadFrame {
    pub(super) to: Cursor,
    pub(super) frame: Utf8Bytes,
}

/// Encodes the changes of a thread between `from` and `changes.to` as frames for its own topic.
///
/// # Errors
/// As [`ServerFrame::encode`].
pub(super) fn thread_frames(from: Cursor, changes: Changes) -> Result<Vec<ThreadFrame>> {
    let topic = Topic::Thread(changes.thread.id);
    let mut steps = Vec::new();
    let mut at = from;
    for messages in chunks(changes.created)? {
        at.seq = messages.last().map_or(at.seq, |message| message.seq);
        steps.push((at, ServerFrame::Created as FrameConstructor, messages));
    }
    for (revision, message) in changes.changed {
        at.revision = revision;
        steps.push((at, changed(&message), vec![message]));
    }
    // A message that was created and then changed before this read already has its new content, without a step of its
    // own. So the last step reaches the end of the page.
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
            Ok(ThreadFrame {
                to,
                frame: frame.encode()?,
            })
        })
        .collect()
}

/// Encodes messages as frames for the topic `threads`. Only the last frame has the cursor `new`; the others have `old`,
/// because the client doesn't have the complete page before the last frame.
///
/// # Errors
/// As [`ServerFrame::encode`].
pub(super) fn feed_frames(
    threads: Vec<(ThreadRef, Vec<Message>)>,
    old: &Snapshot,
    new: &Snapshot,
) -> Result<Vec<Utf8Bytes>> {
    let mut frames: Vec<(FrameConstructor, ThreadMessages)> = Vec::new();
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
        .map(|(constructor, messages)| constructor(messages).encode())
        .collect()
}

/// Encodes sessions as frames, with cursors as in [`feed_frames`].
///
/// # Errors
/// As [`ServerFrame::encode`].
pub(super) fn session_frames(
    sessions: Vec<(SessionView, Vec<ActionView>)>,
    old: &Snapshot,
    new: &Snapshot,
) -> Result<Vec<Utf8Bytes>> {
    let mut frames: Vec<JobSessionUpdate> = Vec::new();
    for (session, actions) in sessions {
        let update = |actions| JobSessionUpdate {
            topic: Topic::JobSessions,
            session: session.clone(),
            actions,
            cursor: old.to_string(),
        };
        match actions.is_empty() {
            true => frames.push(update(actions)),
            false => frames.extend(chunks(actions)?.into_iter().map(update)),
        }
    }
    if let Some(last) = frames.last_mut() {
        last.cursor = new.to_string();
    }
    frames
        .into_iter()
        .map(|update| ServerFrame::JobSessions(Box::new(update)).encode())
        .collect()
}

/// Encodes runs as frames, with cursors as in [`feed_frames`].
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

/// Constructs a frame for a kind of change.
type FrameConstructor = fn(ThreadMessages) -> ServerFrame;

fn changed(message: &Message) -> FrameConstructor {
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

/// Splits messages into chunks of at most [`MAX_FRAME_BYTES`].
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

/// Parses a client's frame.
///
/// # Errors
/// An error of serde for an invalid frame. A JSON list is invalid, although serde would accept it for a tagged type.
pub(super) fn client_frame(text: &str) -> Result<ClientFrame, serde_json::Error> {
    match text.trim_start().starts_with('[') {
        true => Err(serde::de::Error::custom("a frame must be an object, not a list")),
        false => serde_json::from_str(text),
    }
}

/// Returns the error frame for an invalid client frame.
pub(super) fn bad_frame(error: &serde_json::Error) -> ServerFrame {
    ServerFrame::Error {
        code: "bad-frame",
        detail: format!("a frame must be subscribe, unsubscribe or ping, as JSON: {error}"),
        topic: None,
    }
}

/// Returns the same error frame for a missing thread and for another team's.
pub(super) fn no_such_thread(id: Uuid) -> ServerFrame {
    ServerFrame::Error {
        code: "not-found",
        detail: "no such thread".to_owned(),
        topic: Some(Topic::Thread(id)),
    }
}
