//! Keeps a client's position in one topic, and advances it by the pages that were read.

use std::collections::HashMap;

use axum::extract::ws::Utf8Bytes;
use uuid::Uuid;

use crate::error::Result;
use crate::jobs::SessionFeedPage;
use crate::live::frames::{ServerFrame, feed_frames, no_such_thread, run_frames, session_frames, thread_frames};
use crate::live::hub::TeamTopic;
use crate::live::shared_reads::PAGE_ROWS;
use crate::live::topic::Topic;
use crate::notifications::InboxState;
use crate::runs::RunFeedPage;
use crate::tenancy::{FeedPosition, FeedWindow, Snapshot};
use crate::threads::{Changes, Cursor, Message, MessageFeedPage, ThreadRef};

/// A subscription to one topic.
pub(super) struct Subscription {
    pub(super) number: u64,
    /// Whether there may be changes that the client hasn't received.
    pub(super) behind: bool,
    pub(super) position: Position,
}

/// A client's position in a topic.
pub(super) enum Position {
    /// The client's requested position; the thread hasn't been read yet.
    Requested {
        seq: Option<i64>,
        revision: Option<i64>,
    },
    Thread(Cursor),
    Feed(FeedProgress),
    /// The version of the state that was sent last.
    Inbox(Option<i64>),
}

/// Describes a page of a feed that was read.
struct FeedRead {
    rows: usize,
    last: Option<FeedPosition>,
    now: Snapshot,
}

/// The client's position in the feed of a team's messages, sessions or runs.
#[derive(Debug)]
pub(super) struct FeedProgress {
    /// The client has everything that was visible in this snapshot; `None` before the first read.
    pub(super) since: Option<Snapshot>,
    /// While there are several pages: the snapshot of the first one.
    pub(super) until: Option<Snapshot>,
    pub(super) after: FeedPosition,
    /// Whether the frame `subscribed` was sent.
    pub(super) announced: bool,
}

/// A page that was read.
pub(super) enum ReadPage {
    Head(Option<(ThreadRef, Cursor)>),
    Thread(Option<Box<Changes>>),
    Feed(MessageFeedPage),
    Sessions(SessionFeedPage),
    Runs(RunFeedPage),
    Inbox(Box<InboxState>),
}

/// The result of a read.
#[derive(Debug, Default)]
pub(in crate::live) struct PullResult {
    /// Frames for the client.
    pub(in crate::live) frames: Vec<Utf8Bytes>,
    /// The thread that was read to its end, and its position.
    pub(in crate::live) reached: Option<(Uuid, Cursor)>,
    /// The topic that the socket may not follow.
    pub(in crate::live) refused: Option<TeamTopic>,
}

impl Subscription {
    /// Applies a page, and returns the frames to send. `from` is the position after which a page of a thread was read.
    pub(super) fn apply(&mut self, topic: Topic, from: Option<Cursor>, page: ReadPage) -> Result<PullResult> {
        match (page, topic) {
            (ReadPage::Head(None) | ReadPage::Thread(None), Topic::Thread(id)) => Ok(PullResult {
                frames: vec![no_such_thread(id).encode()?],
                refused: Some(TeamTopic::Thread(id)),
                reached: None,
            }),
            (ReadPage::Head(Some((thread, head))), _) => self.start_thread(&thread, head),
            (ReadPage::Thread(Some(changes)), _) => self.apply_changes(from, *changes),
            (ReadPage::Feed(feed_page), _) => {
                let read = FeedRead {
                    rows: feed_page.messages.len(),
                    last: feed_page.messages.last().map(|(position, ..)| *position),
                    now: feed_page.now,
                };
                self.apply_feed(topic, read, |old, new| {
                    feed_frames(by_thread(feed_page.messages), old, new)
                })
            }
            (ReadPage::Sessions(feed_page), _) => {
                let read = FeedRead {
                    rows: feed_page.read,
                    last: feed_page.last,
                    now: feed_page.now,
                };
                self.apply_feed(topic, read, |old, new| session_frames(feed_page.sessions, old, new))
            }
            (ReadPage::Runs(feed_page), _) => {
                let read = FeedRead {
                    rows: feed_page.read,
                    last: feed_page.last,
                    now: feed_page.now,
                };
                self.apply_feed(topic, read, |old, new| run_frames(feed_page.runs, old, new))
            }
            (ReadPage::Inbox(state), _) => self.apply_inbox(topic, *state),
            _ => Ok(PullResult::default()),
        }
    }

    fn start_thread(&mut self, thread: &ThreadRef, head: Cursor) -> Result<PullResult> {
        let Position::Requested { seq, revision } = self.position else {
            return Ok(PullResult::default());
        };
        let topic = Topic::Thread(thread.id);
        let cursor = Cursor {
            seq: seq.unwrap_or(head.seq),
            revision: revision.unwrap_or(head.revision),
        };
        if cursor.seq > head.seq || cursor.revision > head.revision {
            let frame = ServerFrame::Error {
                code: "cursor-ahead",
                detail: format!(
                    "the thread is at seq {} and revision {}; your position is not from this thread: start at seq 0",
                    head.seq, head.revision
                ),
                topic: Some(topic),
            };
            return Ok(PullResult {
                frames: vec![frame.encode()?],
                refused: Some(TeamTopic::Thread(thread.id)),
                reached: None,
            });
        }
        self.position = Position::Thread(cursor);
        self.behind |= cursor != head;
        let frame = ServerFrame::Subscribed {
            topic,
            seq: Some(head.seq),
            revision: Some(head.revision),
            cursor: None,
        };
        Ok(PullResult {
            frames: vec![frame.encode()?],
            reached: (cursor == head).then_some((thread.id, head)),
            refused: None,
        })
    }

    fn apply_changes(&mut self, from: Option<Cursor>, changes: Changes) -> Result<PullResult> {
        let Position::Thread(cursor) = &mut self.position else {
            return Ok(PullResult::default());
        };
        let (to, head, id) = (changes.to, changes.head, changes.thread.id);
        // A delivery was sent during this read, so the page does not begin at the client's position.
        if from != Some(*cursor) {
            self.behind |= *cursor < head;
            return Ok(PullResult::default());
        }
        let steps = thread_frames(*cursor, changes)?;
        *cursor = to;
        self.behind |= to != head;
        Ok(PullResult {
            frames: steps.into_iter().map(|step| step.frame).collect(),
            reached: (to == head).then_some((id, head)),
            refused: None,
        })
    }

    /// Applies a page of a feed. `frames` encodes it for a client that had everything up to the snapshot `old`, and
    /// then has everything up to `new`.
    fn apply_feed(
        &mut self,
        topic: Topic,
        read: FeedRead,
        frames: impl FnOnce(&Snapshot, &Snapshot) -> Result<Vec<Utf8Bytes>>,
    ) -> Result<PullResult> {
        let Position::Feed(feed) = &mut self.position else {
            return Ok(PullResult::default());
        };
        let mut pulled = PullResult::default();
        let since = feed.since.get_or_insert_with(|| read.now.clone());
        if since.next() > read.now.next() {
            let frame = ServerFrame::Error {
                code: "cursor-ahead",
                detail: "the cursor is not from this database: subscribe without one".to_owned(),
                topic: Some(topic),
            };
            pulled.frames.push(frame.encode()?);
            pulled.refused = Some(match topic {
                Topic::JobSessions => TeamTopic::JobSessions,
                Topic::Runs => TeamTopic::Runs,
                _ => TeamTopic::Threads,
            });
            return Ok(pulled);
        }
        if !feed.announced {
            feed.announced = true;
            let frame = ServerFrame::Subscribed {
                topic,
                seq: None,
                revision: None,
                cursor: Some(since.to_string()),
            };
            pulled.frames.push(frame.encode()?);
        }
        let until = feed.until.take().unwrap_or(read.now);
        let is_last = i64::try_from(read.rows).is_ok_and(|rows| rows < PAGE_ROWS);
        let old = since.clone();
        match read.last {
            Some(position) if !is_last => {
                feed.after = position;
                feed.until = Some(until);
                self.behind = true;
            }
            _ => {
                feed.after = FeedPosition::default();
                *since = until;
            }
        }
        pulled.frames.extend(frames(&old, since)?);
        Ok(pulled)
    }

    fn apply_inbox(&mut self, topic: Topic, state: InboxState) -> Result<PullResult> {
        let Position::Inbox(sent) = &mut self.position else {
            return Ok(PullResult::default());
        };
        let mut pulled = PullResult::default();
        if sent.is_none() {
            let frame = ServerFrame::Subscribed {
                topic,
                seq: None,
                revision: None,
                cursor: None,
            };
            pulled.frames.push(frame.encode()?);
        }
        if *sent < Some(state.version) {
            *sent = Some(state.version);
            let frame = ServerFrame::Notifications {
                topic,
                version: state.version,
                unread: state.unread,
                up_to: state.up_to,
                items: state.items,
            };
            pulled.frames.push(frame.encode()?);
        }
        Ok(pulled)
    }
}

impl FeedProgress {
    pub(super) fn window(&self) -> FeedWindow {
        FeedWindow {
            // Before the first read the window is empty: only the current snapshot is requested.
            since: self.since.clone().unwrap_or(Snapshot::EVERYTHING),
            until: self.until.clone().unwrap_or(Snapshot::EVERYTHING),
            after: self.after,
        }
    }
}

/// Groups messages by thread, each thread in the order of `seq`.
fn by_thread(messages: Vec<(FeedPosition, ThreadRef, Message)>) -> Vec<(ThreadRef, Vec<Message>)> {
    let mut threads: Vec<(ThreadRef, Vec<Message>)> = Vec::new();
    let mut known: HashMap<Uuid, usize> = HashMap::new();
    for (_, thread, message) in messages {
        let at = *known.entry(thread.id).or_insert(threads.len());
        match threads.get_mut(at) {
            Some((_, messages)) => messages.push(message),
            None => threads.push((thread, vec![message])),
        }
    }
    for (_, messages) in &mut threads {
        messages.sort_by_key(|message| message.seq);
    }
    threads.sort_by_key(|(_, messages)| messages.first().map(|message| message.created_at));
    threads
}
