//! Serves one socket, from its upgrade to its close. It works with any stream and sink of messages, so that tests need
//! no network.
//!
//! **Threads.** The socket knows the cursor that its client has. A delivery that begins there is sent. A delivery that
//! ends before it is ignored, because the client has its content. Any other delivery means that something is missing:
//! then the socket reads for itself, page by page, as fast as its client takes the pages, until a delivery fits again.
//! So the client receives each change exactly once, even if deliveries are lost on the way to the socket.
//!
//! **A client that doesn't read** makes the write of a frame wait. Meanwhile, deliveries that don't fit into the short
//! queue are dropped. The socket reads their content itself later. After
//! [`LiveOptions::write_timeout`](super::LiveOptions) the socket is closed with a reason.

use std::future::pending;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes};
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep, timeout};

use super::close_reason::CloseReason;
use super::frames::{ClientFrame, ServerFrame, bad_frame, client_frame};
use super::limits::TokenBucket;
use super::outbox::{ControlSignal, InboxItem, QueuedDelivery, SocketInbox};
use super::socket_context::SocketContext;
use super::subscriptions::{PullResult, Subscriptions};
use crate::error::Result;
use crate::wide_events::WideEvent;

/// Delay before the next read after a read that failed.
const READ_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Close timeout, as a multiple of the write timeout: a client that begins to read again still receives the reason.
const CLOSE_TIMEOUT_FACTOR: u32 = 3;
/// Maximum time to wait for the client's close frame.
const CLOSE_REPLY_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a socket stays open after its close frame if nothing more can be read from the client.
const LINGER_TIME: Duration = Duration::from_millis(500);

/// Serves a socket until it is closed.
pub(super) async fn serve<S>(context: SocketContext, inbox: SocketInbox, socket: S)
where
    S: Stream<Item = Result<Message, axum::Error>> + Sink<Message, Error = axum::Error> + Unpin + Send,
{
    let mut pings = interval(context.options.ping_interval);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first ping comes after one interval, not at once.
    pings.reset();
    let mut socket_loop = SocketLoop {
        subscriptions: Subscriptions::new(context.clone()),
        bucket: TokenBucket::new(context.clock().instant()),
        inbox,
        pings,
        client_alive: true,
        context,
        socket,
    };
    let reason = match socket_loop.run().await {
        Ok(never) => match never {},
        Err(reason) => reason,
    };
    let code = reason.code().map(|(code, _)| code);
    WideEvent::current()
        .set("close_code", code)
        .set("ended_by", reason.ended_by());
    socket_loop.finish(reason).await;
}

struct SocketLoop<S> {
    context: SocketContext,
    socket: S,
    inbox: SocketInbox,
    subscriptions: Subscriptions,
    bucket: TokenBucket,
    pings: Interval,
    /// Whether the client has sent anything since the last ping.
    client_alive: bool,
}

enum SocketEvent {
    Message(Option<Result<Message, axum::Error>>),
    InboxItem(InboxItem),
    Pulled(Result<PullResult>),
    Ping,
    Expired,
}

enum Never {}

impl<S> SocketLoop<S>
where
    S: Stream<Item = Result<Message, axum::Error>> + Sink<Message, Error = axum::Error> + Unpin + Send,
{
    async fn run(&mut self) -> Result<Never, CloseReason> {
        let expires_at = self.context.expires_at;
        loop {
            let expired = async {
                match expires_at {
                    Some(at) => self.context.clock().sleep_until(at).await,
                    None => pending().await,
                }
            };
            let event = tokio::select! {
                // In this order: the end of the credential, then the inbox (control signals before deliveries), then
                // the client's messages, then the socket's own reads.
                biased;
                () = expired => SocketEvent::Expired,
                item = self.inbox.next() => SocketEvent::InboxItem(item),
                message = self.socket.next() => SocketEvent::Message(message),
                pulled = self.subscriptions.pull() => SocketEvent::Pulled(pulled),
                _ = self.pings.tick() => SocketEvent::Ping,
            };
            match event {
                SocketEvent::Expired => return Err(CloseReason::CredentialExpired),
                SocketEvent::Message(message) => self.handle_message(message).await?,
                SocketEvent::InboxItem(InboxItem::Control(signals)) => self.handle_control(&signals)?,
                SocketEvent::InboxItem(InboxItem::Delivery(delivery)) => self.handle_delivery(delivery).await?,
                SocketEvent::Pulled(Ok(pulled)) => self.send_pulled(pulled).await?,
                SocketEvent::Pulled(Err(error)) => {
                    if CloseReason::is_access_refusal(&error) {
                        return Err(CloseReason::NotAMember);
                    }
                    tracing::debug!(
                        "live: a socket could not read one of its topics and tries again in a second: {error}"
                    );
                    self.subscriptions.pause(READ_RETRY_DELAY);
                }
                SocketEvent::Ping => {
                    if !self.client_alive {
                        return Err(CloseReason::Unresponsive);
                    }
                    self.client_alive = false;
                    self.send(Message::Ping(axum::body::Bytes::new())).await?;
                }
            }
        }
    }

    fn handle_control(&mut self, signals: &[ControlSignal]) -> Result<(), CloseReason> {
        for signal in signals {
            match signal {
                ControlSignal::GoingAway => return Err(CloseReason::GoingAway),
                ControlSignal::NotAMember => return Err(CloseReason::NotAMember),
                ControlSignal::DeliveryLost => self.subscriptions.mark_all_behind(),
            }
        }
        Ok(())
    }

    async fn handle_delivery(&mut self, delivery: QueuedDelivery) -> Result<(), CloseReason> {
        match delivery {
            QueuedDelivery::Changed(team_topic) => self.subscriptions.mark_behind(team_topic),
            QueuedDelivery::Thread { id, from, to, frames } => {
                if self.subscriptions.advance_if_next(id, from, to) {
                    for frame in frames.iter() {
                        self.send(Message::Text(frame.frame.clone())).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn send_pulled(&mut self, pulled: PullResult) -> Result<(), CloseReason> {
        for frame in pulled.frames {
            self.send(Message::Text(frame)).await?;
        }
        if let Some((thread_id, cursor)) = pulled.reached {
            self.context.reached_head(thread_id, cursor);
        }
        if let Some(team_topic) = pulled.refused {
            self.context.unfollow(team_topic);
        }
        Ok(())
    }

    async fn handle_message(&mut self, received: Option<Result<Message, axum::Error>>) -> Result<(), CloseReason> {
        let message = match received {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Err(CloseReason::from_error(&error)),
            None => return Err(CloseReason::Gone),
        };
        self.client_alive = true;
        match message {
            Message::Close(_) => return Err(CloseReason::Closed),
            Message::Ping(_) | Message::Pong(_) => {
                // The library sends the pong with the next write.
                if !self.bucket.try_take(self.context.clock().instant()) {
                    return Err(CloseReason::TooManyFrames);
                }
            }
            Message::Binary(_) => {
                if !self.bucket.try_take(self.context.clock().instant()) {
                    return Err(CloseReason::TooManyFrames);
                }
                self.send_frame(&ServerFrame::Error {
                    code: "bad-frame",
                    detail: "frames are JSON in text messages, not binary ones".to_owned(),
                    topic: None,
                })
                .await?;
            }
            Message::Text(text) => {
                if !self.bucket.try_take(self.context.clock().instant()) {
                    return Err(CloseReason::TooManyFrames);
                }
                self.handle_frame(&text).await?;
            }
        }
        Ok(())
    }

    async fn handle_frame(&mut self, text: &Utf8Bytes) -> Result<(), CloseReason> {
        let answer = match client_frame(text) {
            Ok(ClientFrame::Ping {}) => Some(ServerFrame::Pong {}),
            Ok(ClientFrame::Unsubscribe { topic }) => {
                if let Some(team_topic) = self.subscriptions.unsubscribe(topic) {
                    self.context.unfollow(team_topic);
                }
                Some(ServerFrame::Unsubscribed { topic })
            }
            Ok(ClientFrame::Subscribe {
                topic,
                seq,
                revision,
                cursor,
            }) => match self.subscriptions.subscribe(topic, seq, revision, cursor) {
                Ok(team_topic) => {
                    // This comes before the socket reads the topic's position, so that no change between the two is
                    // missed.
                    self.context.follow(team_topic);
                    None
                }
                Err(error_frame) => Some(*error_frame),
            },
            Err(error) => Some(bad_frame(&error)),
        };
        match answer {
            Some(answer) => self.send_frame(&answer).await,
            None => Ok(()),
        }
    }

    async fn send_frame(&mut self, frame: &ServerFrame) -> Result<(), CloseReason> {
        let text = frame.encode().map_err(|_| CloseReason::Broken)?;
        self.send(Message::Text(text)).await
    }

    async fn send(&mut self, message: Message) -> Result<(), CloseReason> {
        match timeout(self.context.options.write_timeout, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(CloseReason::Gone),
            Err(_) => Err(CloseReason::Unresponsive),
        }
    }

    /// Closes the socket. If the client is still connected, it receives the reason.
    async fn finish(mut self, reason: CloseReason) {
        tracing::debug!("live: a socket closes: {reason:?}");
        if reason == CloseReason::Closed {
            // The library has prepared the answer with the client's own code; it only has to be written.
            let _ = timeout(CLOSE_REPLY_TIMEOUT, async {
                let _ = self.socket.flush().await;
                while self.socket.next().await.is_some_and(|next| next.is_ok()) {}
            })
            .await;
            return;
        }
        let Some((code, text)) = reason.code() else { return };
        let close = Message::Close(Some(CloseFrame {
            code,
            reason: Utf8Bytes::from_static(text),
        }));
        // Pending frames are written first, for a client that begins to read again.
        let close_timeout = self.context.options.write_timeout * CLOSE_TIMEOUT_FACTOR;
        let Ok(Ok(())) = timeout(close_timeout, self.socket.send(close)).await else {
            return;
        };
        if reason.is_unreadable() {
            // The client's answer can't be read. If the socket were closed while the client still sends, the network
            // would discard the reason.
            sleep(LINGER_TIME).await;
            return;
        }
        // The side that closes first waits for the other. Otherwise the network may lose the last frame.
        let answer =
            async { while !matches!(self.socket.next().await, None | Some(Err(_) | Ok(Message::Close(_)))) {} };
        let _ = timeout(CLOSE_REPLY_TIMEOUT, answer).await;
    }
}

#[cfg(test)]
mod tests;
