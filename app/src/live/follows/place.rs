//! Where a client is in one topic, and where what was read brings it.

use std::collections::HashMap;

use axum::extract::ws::Utf8Bytes;
use uuid::Uuid;

use super::Pulled;
use crate::error::Result;
use crate::jobs::SessionNews;
use crate::live::frames::{ServerFrame, feed_frames, no_such_thread, run_frames, session_frames, thread_frames};
use crate::live::hub::Subject;
use crate::live::reading::PAGE;
use crate::live::topic::Topic;
use crate::notifications::InboxState;
use crate::runs::RunNews;
use crate::tenancy::{FeedPlace, FeedWindow, Snapshot};
use crate::threads::{Changes, Cursor, FeedPiece, Message, ThreadRef};

/// A topic that is followed.
pub(super) struct Follow {
    pub(super) number: u64,
    /// Whether there may be more than the client has.
    pub(super) behind: bool,
    pub(super) place: Place,
}

pub(super) enum Place {
    /// Asked for; the thread has not been looked at yet.
    Asked {
        seq: Option<i64>,
        revision: Option<i64>,
    },
    Thread(Cursor),
    Feed(Feed),
    /// The version of what was last sent.
    Inbox(Option<i64>),
}

/// How much of a feed was read at once.
struct Read {
    rows: usize,
    last: Option<FeedPlace>,
    now: Snapshot,
}

/// Where the client is among a team's messages, or its sessions.
#[derive(Debug)]
pub(super) struct Feed {
    /// What was visible then, it has; none: it has not been asked yet what is.
    pub(super) since: Option<Snapshot>,
    /// While more than a page is read: what was visible when that began.
    pub(super) until: Option<Snapshot>,
    pub(super) after: FeedPlace,
    pub(super) announced: bool,
}

/// What was read.
pub(super) enum Page {
    Head(Option<(ThreadRef, Cursor)>),
    Thread(Option<Box<Changes>>),
    Feed(FeedPiece),
    Sessions(SessionNews),
    Runs(RunNews),
    Inbox(Box<InboxState>),
}

impl Follow {
    /// Takes in what was read, for a thread above `from`, and says what to send.
    pub(super) fn take(&mut self, topic: Topic, from: Option<Cursor>, page: Page) -> Result<Pulled> {
        match (page, topic) {
            (Page::Head(None) | Page::Thread(None), Topic::Thread(id)) => Ok(Pulled {
                frames: vec![no_such_thread(id).encode()?],
                refused: Some(Subject::Thread(id)),
                reached: None,
            }),
            (Page::Head(Some((thread, head))), _) => self.begin(&thread, head),
            (Page::Thread(Some(changes)), _) => self.go_on(from, *changes),
            (Page::Feed(piece), _) => {
                let read = Read {
                    rows: piece.messages.len(),
                    last: piece.messages.last().map(|(place, ..)| *place),
                    now: piece.now,
                };
                self.feed(topic, read, |old, new| feed_frames(by_thread(piece.messages), old, new))
            }
            (Page::Sessions(news), _) => {
                let read = Read {
                    rows: news.read,
                    last: news.last,
                    now: news.now,
                };
                self.feed(topic, read, |old, new| session_frames(news.sessions, old, new))
            }
            (Page::Runs(news), _) => {
                let read = Read {
                    rows: news.read,
                    last: news.last,
                    now: news.now,
                };
                self.feed(topic, read, |old, new| run_frames(news.runs, old, new))
            }
            (Page::Inbox(state), _) => self.inbox(topic, *state),
            _ => Ok(Pulled::default()),
        }
    }

    fn begin(&mut self, thread: &ThreadRef, head: Cursor) -> Result<Pulled> {
        let Place::Asked { seq, revision } = self.place else {
            return Ok(Pulled::default());
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
                    "the thread has come to seq {} and revision {}; what you have is from elsewhere: begin at 0",
                    head.seq, head.revision
                ),
                topic: Some(topic),
            };
            return Ok(Pulled {
                frames: vec![frame.encode()?],
                refused: Some(Subject::Thread(thread.id)),
                reached: None,
            });
        }
        self.place = Place::Thread(cursor);
        self.behind |= cursor != head;
        let frame = ServerFrame::Subscribed {
            topic,
            seq: Some(head.seq),
            revision: Some(head.revision),
            cursor: None,
        };
        Ok(Pulled {
            frames: vec![frame.encode()?],
            reached: (cursor == head).then_some((thread.id, head)),
            refused: None,
        })
    }

    fn go_on(&mut self, from: Option<Cursor>, changes: Changes) -> Result<Pulled> {
        let Place::Thread(cursor) = &mut self.place else {
            return Ok(Pulled::default());
        };
        let (to, head, id) = (changes.to, changes.head, changes.thread.id);
        // A delivery that fitted came while this was read.
        if from != Some(*cursor) {
            self.behind |= *cursor < head;
            return Ok(Pulled::default());
        }
        let steps = thread_frames(*cursor, changes)?;
        *cursor = to;
        self.behind |= to != head;
        Ok(Pulled {
            frames: steps.into_iter().map(|step| step.frame).collect(),
            reached: (to == head).then_some((id, head)),
            refused: None,
        })
    }

    /// Takes in a page of a feed, whose frames `frames` makes for who had `old` and then has `new`.
    fn feed(
        &mut self,
        topic: Topic,
        read: Read,
        frames: impl FnOnce(&Snapshot, &Snapshot) -> Result<Vec<Utf8Bytes>>,
    ) -> Result<Pulled> {
        let Place::Feed(feed) = &mut self.place else {
            return Ok(Pulled::default());
        };
        let mut pulled = Pulled::default();
        let since = feed.since.get_or_insert_with(|| read.now.clone());
        if since.next() > read.now.next() {
            let frame = ServerFrame::Error {
                code: "cursor-ahead",
                detail: "the cursor is from elsewhere: subscribe without one".to_owned(),
                topic: Some(topic),
            };
            pulled.frames.push(frame.encode()?);
            pulled.refused = Some(match topic {
                Topic::JobSessions => Subject::JobSessions,
                Topic::Runs => Subject::Runs,
                _ => Subject::Threads,
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
        let is_last = i64::try_from(read.rows).is_ok_and(|rows| rows < PAGE);
        let old = since.clone();
        match read.last {
            Some(place) if !is_last => {
                feed.after = place;
                feed.until = Some(until);
                self.behind = true;
            }
            _ => {
                feed.after = FeedPlace::default();
                *since = until;
            }
        }
        pulled.frames.extend(frames(&old, since)?);
        Ok(pulled)
    }

    fn inbox(&mut self, topic: Topic, state: InboxState) -> Result<Pulled> {
        let Place::Inbox(sent) = &mut self.place else {
            return Ok(Pulled::default());
        };
        let mut pulled = Pulled::default();
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

impl Feed {
    pub(super) fn window(&self) -> FeedWindow {
        FeedWindow {
            // Nothing, to begin with: only what is visible now is asked for.
            since: self.since.clone().unwrap_or(Snapshot::EVERYTHING),
            until: self.until.clone().unwrap_or(Snapshot::EVERYTHING),
            after: self.after,
        }
    }
}

/// Messages by thread, each in its order.
fn by_thread(messages: Vec<(FeedPlace, ThreadRef, Message)>) -> Vec<(ThreadRef, Vec<Message>)> {
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
