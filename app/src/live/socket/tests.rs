//! Tests a socket without a network and without a database: messages go through two queues.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use chrono::TimeDelta;
use tokio::sync::mpsc;

use super::*;
use crate::live::outbox::{self, SocketOutbox};
use crate::tenancy::Database;

/// The server side of the socket.
struct Queues {
    received: mpsc::UnboundedReceiver<Message>,
    sent: mpsc::UnboundedSender<Message>,
}

impl Stream for Queues {
    type Item = Result<Message, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.received.poll_recv(context).map(|message| message.map(Ok))
    }
}

impl Sink<Message> for Queues {
    type Error = axum::Error;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), axum::Error> {
        self.sent.send(message).map_err(axum::Error::new)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
        Poll::Ready(Ok(()))
    }
}

/// The client's side, and the hub's.
struct TestSocket {
    to_server: mpsc::UnboundedSender<Message>,
    from_server: mpsc::UnboundedReceiver<Message>,
    outbox: SocketOutbox,
    _commands: mpsc::UnboundedReceiver<crate::live::service::SocketCommand>,
}

fn open() -> TestSocket {
    open_with(Database::unconnected(), None)
}

fn open_with(database: Database, expires_at: Option<Instant>) -> TestSocket {
    let ((to_server, received), (sent, from_server)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
    let (context, command_receiver) = SocketContext::unconnected();
    let (outbox, inbox) = outbox::pair();
    let context = SocketContext {
        database,
        expires_at,
        ..context
    };
    tokio::spawn(serve(context, inbox, Queues { received, sent }));
    TestSocket {
        to_server,
        from_server,
        outbox,
        _commands: command_receiver,
    }
}

impl TestSocket {
    async fn text(&mut self) -> String {
        match self.from_server.recv().await {
            Some(Message::Text(text)) => text.to_string(),
            other => panic!("{other:?}"),
        }
    }

    async fn close(&mut self) -> u16 {
        loop {
            match self.from_server.recv().await {
                Some(Message::Close(Some(close))) => return close.code,
                Some(_) => {}
                None => panic!("no close"),
            }
        }
    }
}

#[tokio::test]
async fn a_socket_answers_frames_and_sends_its_close_reason() {
    let mut socket = open();
    socket.to_server.send(Message::text(r#"{"type": "ping"}"#)).unwrap();
    assert_eq!(socket.text().await, r#"{"type":"pong"}"#);
    socket.to_server.send(Message::text("hello?")).unwrap();
    assert!(socket.text().await.contains("bad-frame"));
    socket.outbox.control(ControlSignal::NotAMember);
    assert_eq!(socket.close().await, 4403);
}

#[tokio::test]
async fn a_socket_closes_after_a_flood_and_when_the_service_has_ended() {
    let empty = axum::body::Bytes::new;
    for message in [
        Message::text(r#"{"type": "ping"}"#),
        Message::Binary(empty()),
        Message::Ping(empty()),
        Message::Pong(empty()),
    ] {
        let mut socket = open();
        for _ in 0..1_000 {
            socket.to_server.send(message.clone()).unwrap();
        }
        // The client's end, for a socket that would not close after the flood.
        socket.to_server = mpsc::unbounded_channel().0;
        assert_eq!(socket.close().await, 4429, "{message:?}");
    }

    let TestSocket {
        outbox,
        mut from_server,
        to_server,
        ..
    } = open();
    drop(outbox);
    let Some(Message::Close(Some(close))) = from_server.recv().await else {
        panic!("no close")
    };
    assert_eq!(close.code, 1001);
    drop(to_server);
}

#[tokio::test]
async fn a_socket_closes_when_its_credential_expires() {
    let database = Database::unconnected();
    let clock = database.clock().clone();
    let mut socket = open_with(database, Some(clock.instant() + Duration::from_secs(3_600)));
    socket.to_server.send(Message::text(r#"{"type": "ping"}"#)).unwrap();
    assert_eq!(socket.text().await, r#"{"type":"pong"}"#);
    clock.advance(TimeDelta::hours(1));
    // The socket reads the clock at its next event.
    socket.to_server.send(Message::text(r#"{"type": "ping"}"#)).unwrap();
    assert_eq!(socket.close().await, CloseReason::CredentialExpired.code().unwrap().0);
}

#[tokio::test]
async fn a_client_may_send_again_after_a_burst_when_time_has_passed() {
    let database = Database::unconnected();
    let clock = database.clock().clone();
    let mut socket = open_with(database, None);
    for _ in 0..5 {
        for _ in 0..150 {
            socket.to_server.send(Message::text(r#"{"type": "ping"}"#)).unwrap();
            assert_eq!(socket.text().await, r#"{"type":"pong"}"#);
        }
        clock.advance(TimeDelta::minutes(1));
    }
}
