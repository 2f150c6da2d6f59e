//! Keeps the subscriptions of one socket and its client's positions, and performs the reads of the socket itself.

mod position;

use std::collections::BTreeMap;
use std::future::pending;
use std::pin::Pin;
use std::time::{Duration, Instant};

use uuid::Uuid;

pub(super) use self::position::PullResult;
use self::position::{FeedProgress, Position, ReadPage, Subscription};
use super::frames::ServerFrame;
use super::hub::TeamTopic;
use super::limits::MAX_TOPICS;
use super::shared_reads::PAGE_ROWS;
use super::socket_context::SocketContext;
use super::topic::Topic;
use crate::error::Result;
use crate::tenancy::{FeedPosition, FeedWindow, Snapshot, TeamTx};
use crate::threads::{self, Cursor};
use crate::{jobs, notifications, runs};

/// The subscriptions of one socket.
pub(super) struct Subscriptions {
    context: SocketContext,
    topics: BTreeMap<Topic, Subscription>,
    /// The number of the last subscription. It shows whether a read belongs to a subscription that was cancelled
    /// meanwhile.
    last_number: u64,
    pending_read: Option<PendingRead>,
    paused_until: Option<Instant>,
}

type ReadFuture = Pin<Box<dyn Future<Output = Result<ReadPage>> + Send>>;

struct PendingRead {
    topic: Topic,
    number: u64,
    from: Option<Cursor>,
    future: ReadFuture,
}

/// What a socket reads next for one of its topics.
enum NextRead {
    Head(Uuid),
    Thread(Uuid, Cursor),
    Feed(FeedWindow),
    Inbox,
    Sessions(FeedWindow),
    Runs(FeedWindow),
}

impl NextRead {
    async fn page(&self, tx: &TeamTx) -> Result<ReadPage> {
        Ok(match self {
            Self::Head(id) => ReadPage::Head(threads::head(tx, *id).await?),
            Self::Thread(id, after) => {
                ReadPage::Thread(threads::changes(tx, *id, *after, PAGE_ROWS).await?.map(Box::new))
            }
            Self::Feed(window) => ReadPage::Feed(threads::feed(tx, window, PAGE_ROWS).await?),
            Self::Inbox => ReadPage::Inbox(Box::new(notifications::state(tx).await?)),
            Self::Sessions(window) => ReadPage::Sessions(jobs::feed(tx, window, PAGE_ROWS).await?),
            Self::Runs(window) => ReadPage::Runs(runs::feed(tx, window, PAGE_ROWS).await?),
        })
    }
}

impl Subscriptions {
    pub(super) fn new(context: SocketContext) -> Self {
        Self {
            context,
            topics: BTreeMap::new(),
            last_number: 0,
            pending_read: None,
            paused_until: None,
        }
    }

    /// Subscribes to a topic from the client's position. If that is not possible, returns the error frame for the
    /// client.
    pub(super) fn subscribe(
        &mut self,
        topic: Topic,
        seq: Option<i64>,
        revision: Option<i64>,
        cursor: Option<String>,
    ) -> Result<TeamTopic, Box<ServerFrame>> {
        let error_frame = |code, detail: String| {
            Err(Box::new(ServerFrame::Error {
                code,
                detail,
                topic: Some(topic),
            }))
        };
        let is_thread = matches!(topic, Topic::Thread(_));
        if !is_thread && (seq.is_some() || revision.is_some()) {
            return error_frame(
                "bad-frame",
                format!("seq and revision are only allowed for a thread, not for {topic}"),
            );
        }
        if !matches!(topic, Topic::Threads | Topic::JobSessions | Topic::Runs) && cursor.is_some() {
            return error_frame(
                "bad-frame",
                format!("a cursor is only allowed for threads, job-sessions and runs, not for {topic}"),
            );
        }
        if let Some((field, _)) = [("seq", seq), ("revision", revision)]
            .into_iter()
            .find(|(_, number)| number.is_some_and(|number| number < 0))
        {
            return error_frame("bad-frame", format!("{field} must be 0 or more"));
        }
        let Ok(since) = cursor.map(|cursor| cursor.parse::<Snapshot>()).transpose() else {
            return error_frame("bad-frame", format!("cursor must come from a frame of {topic}"));
        };
        if !self.topics.contains_key(&topic) && self.topics.len() >= MAX_TOPICS {
            return error_frame(
                "too-many-topics",
                format!("one socket can follow {MAX_TOPICS} topics: unsubscribe from one first"),
            );
        }
        let Some(team_topic) = self.context.team_topic(topic) else {
            return error_frame(
                "forbidden",
                "an API key has no notifications; use a person's token".to_owned(),
            );
        };
        let position = match topic {
            Topic::Thread(_) => Position::Requested { seq, revision },
            Topic::Threads | Topic::JobSessions | Topic::Runs => Position::Feed(FeedProgress {
                since,
                until: None,
                after: FeedPosition::default(),
                announced: false,
            }),
            Topic::Notifications => Position::Inbox(None),
        };
        self.last_number += 1;
        let subscription = Subscription {
            number: self.last_number,
            behind: true,
            position,
        };
        self.topics.insert(topic, subscription);
        Ok(team_topic)
    }

    pub(super) fn unsubscribe(&mut self, topic: Topic) -> Option<TeamTopic> {
        self.topics.remove(&topic)?;
        self.context.team_topic(topic)
    }

    pub(super) fn mark_behind(&mut self, team_topic: TeamTopic) {
        let topic = match team_topic {
            TeamTopic::Thread(id) => Topic::Thread(id),
            TeamTopic::Threads => Topic::Threads,
            TeamTopic::Notifications(_) => Topic::Notifications,
            TeamTopic::JobSessions => Topic::JobSessions,
            TeamTopic::Runs => Topic::Runs,
        };
        if let Some(subscription) = self.topics.get_mut(&topic) {
            subscription.behind = true;
        }
    }

    pub(super) fn mark_all_behind(&mut self) {
        for subscription in self.topics.values_mut() {
            subscription.behind = true;
        }
    }

    /// Advances the client's position of a thread if `from` is exactly that position. Returns whether it is, so that
    /// the delivery can be sent.
    pub(super) fn advance_if_next(&mut self, thread_id: Uuid, from: Cursor, to: Cursor) -> bool {
        let Some(subscription) = self.topics.get_mut(&Topic::Thread(thread_id)) else {
            return false;
        };
        match &mut subscription.position {
            Position::Thread(cursor) if *cursor == from => {
                *cursor = to;
                true
            }
            Position::Thread(cursor) => {
                subscription.behind |= *cursor < to;
                false
            }
            _ => false,
        }
    }

    /// Pauses reading for this time.
    pub(super) fn pause(&mut self, time: Duration) {
        self.paused_until = Some(self.context.clock().instant() + time);
    }

    /// Reads the next page of a topic that may have changes for the client, and waits while there is no such topic.
    /// Cancel-safe: the read continues with the next call.
    pub(super) async fn pull(&mut self) -> Result<PullResult> {
        if let Some(until) = self.paused_until {
            self.context.clock().sleep_until(until).await;
            self.paused_until = None;
        }
        if self.pending_read.is_none() {
            self.pending_read = self.next_read();
        }
        let Some(pending_read) = &mut self.pending_read else {
            return pending().await;
        };
        let page = pending_read.future.as_mut().await;
        let Some(PendingRead {
            topic, number, from, ..
        }) = self.pending_read.take()
        else {
            return Ok(PullResult::default());
        };
        let Some(subscription) = self
            .topics
            .get_mut(&topic)
            .filter(|subscription| subscription.number == number)
        else {
            return Ok(PullResult::default());
        };
        let page = page.inspect_err(|_| subscription.behind = true)?;
        let mut pulled = subscription.apply(topic, from, page)?;
        if pulled.refused.is_some() {
            self.topics.remove(&topic);
            pulled.refused = self.context.team_topic(topic);
        }
        Ok(pulled)
    }

    fn next_read(&mut self) -> Option<PendingRead> {
        let (topic, subscription) = self.topics.iter_mut().find(|(_, subscription)| subscription.behind)?;
        subscription.behind = false;
        let read = match (&subscription.position, topic) {
            (Position::Thread(cursor), &Topic::Thread(id)) => NextRead::Thread(id, *cursor),
            (_, &Topic::Thread(id)) => NextRead::Head(id),
            (Position::Feed(feed), Topic::JobSessions) => NextRead::Sessions(feed.window()),
            (Position::Feed(feed), Topic::Runs) => NextRead::Runs(feed.window()),
            (Position::Feed(feed), _) => NextRead::Feed(feed.window()),
            (Position::Inbox(_), _) => NextRead::Inbox,
            // Positions in a thread belong only to thread topics.
            _ => return None,
        };
        let from = match read {
            NextRead::Thread(_, after) => Some(after),
            _ => None,
        };
        let context = self.context.clone();
        let future = Box::pin(async move {
            let _permit = context.read_permit().await;
            let tx = context.database.enter(&context.entry).await?;
            let page = read.page(&tx).await?;
            tx.commit().await?;
            Ok(page)
        });
        Some(PendingRead {
            topic: *topic,
            number: subscription.number,
            from,
            future,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_follows_a_limited_number_of_topics() {
        let (context, _commands) = SocketContext::unconnected();
        let mut subscriptions = Subscriptions::new(context);
        let thread = |number: usize| Topic::Thread(Uuid::from_u128(number as u128));
        for number in 0..500 {
            subscriptions.subscribe(thread(number), None, None, None).unwrap();
        }
        let refused = subscriptions.subscribe(thread(500), None, None, None).unwrap_err();
        let ServerFrame::Error { code, topic, .. } = *refused else {
            panic!("an error frame")
        };
        assert_eq!((code, topic), ("too-many-topics", Some(thread(500))));
        // A topic that it follows may be subscribed to again, and another one has room for a new one.
        subscriptions.subscribe(thread(499), Some(1), None, None).unwrap();
        subscriptions.unsubscribe(thread(0)).unwrap();
        subscriptions.subscribe(thread(500), None, None, None).unwrap();
    }
}
