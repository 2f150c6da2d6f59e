//! One socket, from its upgrade to its end: any stream and sink of messages, so that it needs no network.
//!
//! **Of a thread** it knows the cursor that its client has. A delivery that begins there is sent on; one that
//! ends before it is known already; anything else means that something is missing, and it reads for itself, page
//! by page, at the pace at which its client takes them, until the next delivery fits. So nothing comes twice and
//! nothing is left out, whatever gets lost on the way to here.
//!
//! **A client that doesn't read** makes a frame wait. Deliveries that don't fit the short queue meanwhile are
//! dropped, to be read again later; after [`LiveOptions::write_patience`](super::LiveOptions) it is told why, and
//! let go.

use std::future::pending;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes};
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use tokio::time::{Instant, Interval, MissedTickBehavior, sleep, sleep_until, timeout};

use super::end::End;
use super::follows::{Follows, Pulled};
use super::frames::{ClientFrame, ServerFrame, bad_frame, client_frame};
use super::limits::Bucket;
use super::outbox::{Delivery, Found, Inbox, Ring};
use super::session::Session;
use crate::error::Result;
use crate::wide_events::WideEvent;

/// Before the database is asked again after it could not be.
const PAUSE: Duration = Duration::from_secs(1);

/// For so many times the patience for a frame, a client that is let go may still come to hear why.
const FAREWELL: u32 = 3;
/// How long it may take to say goodbye in turn.
const ANSWER: Duration = Duration::from_secs(2);
/// How long a socket stays open whose client was told that it broke the protocol.
const LINGER: Duration = Duration::from_millis(500);

/// Serves a socket to its end.
pub(super) async fn serve<S>(session: Session, inbox: Inbox, socket: S)
where
    S: Stream<Item = Result<Message, axum::Error>> + Sink<Message, Error = axum::Error> + Unpin + Send,
{
    let mut pings = tokio::time::interval_at(Instant::now() + session.options.ping_every, session.options.ping_every);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut conversation = Conversation {
        follows: Follows::new(session.clone()),
        bucket: Bucket::new(Instant::now()),
        inbox,
        pings,
        answered: true,
        session,
        socket,
    };
    let end = match conversation.go_on().await {
        Ok(never) => match never {},
        Err(end) => end,
    };
    let code = end.code().map(|(code, _)| code);
    WideEvent::current().set("close_code", code).set("ended_by", end.who());
    conversation.finish(end).await;
}

struct Conversation<S> {
    session: Session,
    socket: S,
    inbox: Inbox,
    follows: Follows,
    bucket: Bucket,
    pings: Interval,
    /// Whether the client has said anything since the last ping.
    answered: bool,
}

enum Next {
    Said(Option<Result<Message, axum::Error>>),
    Found(Found),
    Pulled(Result<Pulled>),
    Ping,
    Expired,
}

enum Never {}

impl<S> Conversation<S>
where
    S: Stream<Item = Result<Message, axum::Error>> + Sink<Message, Error = axum::Error> + Unpin + Send,
{
    async fn go_on(&mut self) -> Result<Never, End> {
        let expires_at = self.session.expires_at;
        loop {
            let expired = async {
                match expires_at {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            let next = tokio::select! {
                // What ends a socket comes first, then what its client says, then what there is for it.
                biased;
                () = expired => Next::Expired,
                found = self.inbox.next() => Next::Found(found),
                said = self.socket.next() => Next::Said(said),
                pulled = self.follows.pull() => Next::Pulled(pulled),
                _ = self.pings.tick() => Next::Ping,
            };
            match next {
                Next::Expired => return Err(End::CredentialExpired),
                Next::Said(said) => self.said(said).await?,
                Next::Found(Found::Rings(rings)) => self.rung(&rings)?,
                Next::Found(Found::Delivery(delivery)) => self.delivered(delivery).await?,
                Next::Pulled(Ok(pulled)) => self.pulled(pulled).await?,
                Next::Pulled(Err(error)) => {
                    if End::refuses(&error) {
                        return Err(End::NoMember);
                    }
                    tracing::debug!("live: a socket can't read now: {error}");
                    self.follows.pause(Instant::now() + PAUSE);
                }
                Next::Ping => {
                    if !self.answered {
                        return Err(End::NotReading);
                    }
                    self.answered = false;
                    self.send(Message::Ping(axum::body::Bytes::new())).await?;
                }
            }
        }
    }

    fn rung(&mut self, rings: &[Ring]) -> Result<(), End> {
        for ring in rings {
            match ring {
                Ring::GoingAway => return Err(End::GoingAway),
                Ring::NoMember => return Err(End::NoMember),
                Ring::Lost => self.follows.look_at_all(),
            }
        }
        Ok(())
    }

    async fn delivered(&mut self, delivery: Delivery) -> Result<(), End> {
        match delivery {
            Delivery::Look(subject) => self.follows.look(subject),
            Delivery::Thread { id, from, to, steps } => {
                if self.follows.fits(id, from, to) {
                    for step in steps.iter() {
                        self.send(Message::Text(step.frame.clone())).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn pulled(&mut self, pulled: Pulled) -> Result<(), End> {
        for frame in pulled.frames {
            self.send(Message::Text(frame)).await?;
        }
        if let Some((thread_id, cursor)) = pulled.reached {
            self.session.reached(thread_id, cursor);
        }
        if let Some(subject) = pulled.refused {
            self.session.unfollow(subject);
        }
        Ok(())
    }

    async fn said(&mut self, said: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        let message = match said {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Err(End::of(&error)),
            None => return Err(End::Gone),
        };
        self.answered = true;
        match message {
            Message::Close(_) => return Err(End::Closed),
            Message::Ping(_) | Message::Pong(_) => {
                // Answered by the library with the next thing that is sent.
                if !self.bucket.take(Instant::now()) {
                    return Err(End::TooMuch);
                }
            }
            Message::Binary(_) => {
                if !self.bucket.take(Instant::now()) {
                    return Err(End::TooMuch);
                }
                self.say(&ServerFrame::Error {
                    code: "bad-frame",
                    detail: "frames are JSON in text messages, not binary ones".to_owned(),
                    topic: None,
                })
                .await?;
            }
            Message::Text(text) => {
                if !self.bucket.take(Instant::now()) {
                    return Err(End::TooMuch);
                }
                self.asked(&text).await?;
            }
        }
        Ok(())
    }

    async fn asked(&mut self, text: &Utf8Bytes) -> Result<(), End> {
        let answer = match client_frame(text) {
            Ok(ClientFrame::Ping {}) => Some(ServerFrame::Pong {}),
            Ok(ClientFrame::Unsubscribe { topic }) => {
                if let Some(subject) = self.follows.unfollow(topic) {
                    self.session.unfollow(subject);
                }
                Some(ServerFrame::Unsubscribed { topic })
            }
            Ok(ClientFrame::Subscribe {
                topic,
                seq,
                revision,
                cursor,
            }) => match self.follows.follow(topic, seq, revision, cursor) {
                Ok(subject) => {
                    // Before it looks where the topic is, so that nothing happens between the two unseen.
                    self.session.follow(subject);
                    None
                }
                Err(refusal) => Some(*refusal),
            },
            Err(error) => Some(bad_frame(&error)),
        };
        match answer {
            Some(answer) => self.say(&answer).await,
            None => Ok(()),
        }
    }

    async fn say(&mut self, frame: &ServerFrame) -> Result<(), End> {
        let text = frame.encode().map_err(|_| End::Broken)?;
        self.send(Message::Text(text)).await
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        match timeout(self.session.options.write_patience, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(End::NotReading),
        }
    }

    /// Says why, to a client that is there to hear it.
    async fn finish(mut self, end: End) {
        tracing::debug!("live: a socket ends: {end:?}");
        if end == End::Closed {
            // The library has the answer ready, with the client's own code: it has to be written, and that is all.
            let _ = timeout(ANSWER, async {
                let _ = self.socket.flush().await;
                while self.socket.next().await.is_some_and(|next| next.is_ok()) {}
            })
            .await;
            return;
        }
        let Some((code, reason)) = end.code() else { return };
        let close = Message::Close(Some(CloseFrame {
            code,
            reason: Utf8Bytes::from_static(reason),
        }));
        // What waits to be written goes first, for a client that begins to read again.
        let patience = self.session.options.write_patience * FAREWELL;
        let Ok(Ok(())) = timeout(patience, self.socket.send(close)).await else {
            return;
        };
        if end.is_deaf() {
            // The client's answer can't be read, and closing while it still sends would throw the reason away.
            sleep(LINGER).await;
            return;
        }
        // Whoever closes first waits for the other, or the network may swallow what was said last.
        let answer =
            async { while !matches!(self.socket.next().await, None | Some(Err(_) | Ok(Message::Close(_)))) {} };
        let _ = timeout(ANSWER, answer).await;
    }
}

#[cfg(test)]
mod tests;
