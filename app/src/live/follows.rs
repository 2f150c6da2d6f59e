//! What one socket follows, how far its client has come, and what it has to read for itself.

mod place;

use std::collections::BTreeMap;
use std::future::pending;
use std::pin::Pin;

use axum::extract::ws::Utf8Bytes;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use self::place::{Feed, Follow, Page, Place};
use super::frames::ServerFrame;
use super::hub::Subject;
use super::limits::MAX_TOPICS;
use super::reading::PAGE;
use super::session::Session;
use super::topic::Topic;
use crate::error::Result;
use crate::tenancy::{FeedPlace, Snapshot};
use crate::threads::{self, Cursor};
use crate::{jobs, notifications, runs};

/// What a socket follows.
pub(super) struct Follows {
    session: Session,
    topics: BTreeMap<Topic, Follow>,
    /// Counts what is followed, so that a reading for one that was given up meanwhile is known.
    given: u64,
    pulling: Option<Pulling>,
    paused_until: Option<Instant>,
}

type Reading = Pin<Box<dyn Future<Output = Result<Page>> + Send>>;

struct Pulling {
    topic: Topic,
    number: u64,
    from: Option<Cursor>,
    reading: Reading,
}

/// What came of a reading.
#[derive(Debug, Default)]
pub(super) struct Pulled {
    /// For the client.
    pub(super) frames: Vec<Utf8Bytes>,
    /// A thread was read to its end.
    pub(super) reached: Option<(Uuid, Cursor)>,
    /// This can't be followed.
    pub(super) refused: Option<Subject>,
}

impl Follows {
    pub(super) fn new(session: Session) -> Self {
        Self {
            session,
            topics: BTreeMap::new(),
            given: 0,
            pulling: None,
            paused_until: None,
        }
    }

    /// Follows a topic, from the client's place on. The error is for the client.
    pub(super) fn follow(
        &mut self,
        topic: Topic,
        seq: Option<i64>,
        revision: Option<i64>,
        cursor: Option<String>,
    ) -> Result<Subject, Box<ServerFrame>> {
        let refuse = |code, detail: String| {
            Err(Box::new(ServerFrame::Error {
                code,
                detail,
                topic: Some(topic),
            }))
        };
        let is_thread = matches!(topic, Topic::Thread(_));
        if !is_thread && (seq.is_some() || revision.is_some()) {
            return refuse("bad-frame", format!("seq and revision are a thread's, not of {topic}"));
        }
        if !matches!(topic, Topic::Threads | Topic::JobSessions | Topic::Runs) && cursor.is_some() {
            return refuse(
                "bad-frame",
                format!("a cursor is of threads, of job-sessions and of runs, not of {topic}"),
            );
        }
        if let Some((field, _)) = [("seq", seq), ("revision", revision)]
            .into_iter()
            .find(|(_, number)| number.is_some_and(|number| number < 0))
        {
            return refuse("bad-frame", format!("{field} must be 0 or more"));
        }
        let Ok(since) = cursor.map(|cursor| cursor.parse::<Snapshot>()).transpose() else {
            return refuse(
                "bad-frame",
                format!("cursor must be one that came with a frame of {topic}"),
            );
        };
        if !self.topics.contains_key(&topic) && self.topics.len() >= MAX_TOPICS {
            return refuse("too-many-topics", format!("one socket can follow {MAX_TOPICS} topics"));
        }
        let Some(subject) = self.session.subject(topic) else {
            return refuse(
                "forbidden",
                "an API key has no notifications: they are for people".to_owned(),
            );
        };
        let place = match topic {
            Topic::Thread(_) => Place::Asked { seq, revision },
            Topic::Threads | Topic::JobSessions | Topic::Runs => Place::Feed(Feed {
                since,
                until: None,
                after: FeedPlace::default(),
                announced: false,
            }),
            Topic::Notifications => Place::Inbox(None),
        };
        self.given += 1;
        let follow = Follow {
            number: self.given,
            behind: true,
            place,
        };
        self.topics.insert(topic, follow);
        Ok(subject)
    }

    pub(super) fn unfollow(&mut self, topic: Topic) -> Option<Subject> {
        self.topics.remove(&topic)?;
        self.session.subject(topic)
    }

    pub(super) fn look(&mut self, subject: Subject) {
        let topic = match subject {
            Subject::Thread(id) => Topic::Thread(id),
            Subject::Threads => Topic::Threads,
            Subject::Notifications(_) => Topic::Notifications,
            Subject::JobSessions => Topic::JobSessions,
            Subject::Runs => Topic::Runs,
        };
        if let Some(follow) = self.topics.get_mut(&topic) {
            follow.behind = true;
        }
    }

    pub(super) fn look_at_all(&mut self) {
        for follow in self.topics.values_mut() {
            follow.behind = true;
        }
    }

    /// Whether what happened to a thread between `from` and `to` is just what comes next for the client.
    pub(super) fn fits(&mut self, thread_id: Uuid, from: Cursor, to: Cursor) -> bool {
        let Some(follow) = self.topics.get_mut(&Topic::Thread(thread_id)) else {
            return false;
        };
        match &mut follow.place {
            Place::Thread(cursor) if *cursor == from => {
                *cursor = to;
                true
            }
            Place::Thread(cursor) => {
                follow.behind |= *cursor < to;
                false
            }
            _ => false,
        }
    }

    /// Reads nothing before then.
    pub(super) fn pause(&mut self, until: Instant) {
        self.paused_until = Some(until);
    }

    /// Reads what one topic lacks; waits while none lacks anything. Given up, it goes on where it was.
    pub(super) async fn pull(&mut self) -> Result<Pulled> {
        if let Some(until) = self.paused_until {
            sleep_until(until).await;
            self.paused_until = None;
        }
        if self.pulling.is_none() {
            self.pulling = self.next_reading();
        }
        let Some(pulling) = &mut self.pulling else {
            return pending().await;
        };
        let page = pulling.reading.as_mut().await;
        let Some(Pulling {
            topic, number, from, ..
        }) = self.pulling.take()
        else {
            return Ok(Pulled::default());
        };
        let Some(follow) = self.topics.get_mut(&topic).filter(|follow| follow.number == number) else {
            return Ok(Pulled::default());
        };
        let page = page.inspect_err(|_| follow.behind = true)?;
        let mut pulled = follow.take(topic, from, page)?;
        if pulled.refused.is_some() {
            self.topics.remove(&topic);
            pulled.refused = self.session.subject(topic);
        }
        Ok(pulled)
    }

    fn next_reading(&mut self) -> Option<Pulling> {
        let (topic, follow) = self.topics.iter_mut().find(|(_, follow)| follow.behind)?;
        follow.behind = false;
        let session = self.session.clone();
        let mut from = None;
        let reading: Reading = match (&follow.place, topic) {
            (Place::Thread(cursor), &Topic::Thread(id)) => {
                let after = *cursor;
                from = Some(after);
                Box::pin(async move {
                    let _turn = session.turn().await;
                    let tx = session.database.enter(&session.entry).await?;
                    let changes = threads::changes(&tx, id, after, PAGE).await?;
                    tx.commit().await?;
                    Ok(Page::Thread(changes.map(Box::new)))
                })
            }
            (Place::Feed(feed), Topic::JobSessions) => {
                let window = feed.window();
                Box::pin(async move {
                    let _turn = session.turn().await;
                    let tx = session.database.enter(&session.entry).await?;
                    let news = jobs::feed(&tx, &window, PAGE).await?;
                    tx.commit().await?;
                    Ok(Page::Sessions(news))
                })
            }
            (Place::Feed(feed), Topic::Runs) => {
                let window = feed.window();
                Box::pin(async move {
                    let _turn = session.turn().await;
                    let tx = session.database.enter(&session.entry).await?;
                    let news = runs::feed(&tx, &window, PAGE).await?;
                    tx.commit().await?;
                    Ok(Page::Runs(news))
                })
            }
            (Place::Feed(feed), _) => {
                let window = feed.window();
                Box::pin(async move {
                    let _turn = session.turn().await;
                    let tx = session.database.enter(&session.entry).await?;
                    let piece = threads::feed(&tx, &window, PAGE).await?;
                    tx.commit().await?;
                    Ok(Page::Feed(piece))
                })
            }
            (Place::Inbox(_), _) => Box::pin(async move {
                let _turn = session.turn().await;
                let tx = session.database.enter(&session.entry).await?;
                let state = notifications::state(&tx).await?;
                tx.commit().await?;
                Ok(Page::Inbox(Box::new(state)))
            }),
            (_, &Topic::Thread(id)) => Box::pin(async move {
                let _turn = session.turn().await;
                let tx = session.database.enter(&session.entry).await?;
                let head = threads::head(&tx, id).await?;
                tx.commit().await?;
                Ok(Page::Head(head))
            }),
            // A thread's places belong to thread topics.
            _ => return None,
        };
        Some(Pulling {
            topic: *topic,
            number: follow.number,
            from,
            reading,
        })
    }
}
