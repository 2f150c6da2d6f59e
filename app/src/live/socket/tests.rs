//! A socket without a network: two queues, and no database, since nothing here is read.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{Semaphore, mpsc};
use uuid::Uuid;

use super::*;
use crate::live::hub::SocketId;
use crate::live::options::LiveOptions;
use crate::live::outbox::{self, Outbox};
use crate::live::service::{Member, Who};
use crate::tenancy::{Context as Acting, Database, Entrant, Entry, Request};

/// The service's end of a socket.
struct Queues {
    said: mpsc::UnboundedReceiver<Message>,
    heard: mpsc::UnboundedSender<Message>,
}

impl Stream for Queues {
    type Item = Result<Message, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.said.poll_recv(context).map(|message| message.map(Ok))
    }
}

impl Sink<Message> for Queues {
    type Error = axum::Error;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), axum::Error> {
        self.heard.send(message).map_err(axum::Error::new)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
        Poll::Ready(Ok(()))
    }
}

/// The client's end, and the hub's.
struct Ends {
    say: mpsc::UnboundedSender<Message>,
    hears: mpsc::UnboundedReceiver<Message>,
    outbox: Outbox,
    _commands: mpsc::UnboundedReceiver<crate::live::service::Command>,
}

fn open() -> Ends {
    let ((say, said), (heard, hears)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
    let (commands, received) = mpsc::unbounded_channel();
    let (outbox, inbox) = outbox::pair();
    let context = Acting::system(Uuid::nil(), "test");
    let session = Session {
        socket: SocketId(1),
        who: Who {
            team_id: Uuid::nil(),
            member: Member::ApiKey(Uuid::nil()),
        },
        database: Database::unconnected(),
        entry: Arc::new(Entry::new(
            Uuid::nil(),
            Entrant::Context(context.clone()),
            Request::of(&context),
        )),
        expires_at: None,
        options: Arc::new(LiveOptions::default()),
        turns: Arc::new(Semaphore::new(1)),
        commands,
    };
    tokio::spawn(serve(session, inbox, Queues { said, heard }));
    Ends {
        say,
        hears,
        outbox,
        _commands: received,
    }
}

impl Ends {
    async fn text(&mut self) -> String {
        match self.hears.recv().await {
            Some(Message::Text(text)) => text.to_string(),
            other => panic!("{other:?}"),
        }
    }

    async fn close(&mut self) -> u16 {
        loop {
            match self.hears.recv().await {
                Some(Message::Close(Some(close))) => return close.code,
                Some(_) => {}
                None => panic!("no close"),
            }
        }
    }
}

#[tokio::test]
async fn it_answers_and_says_why_it_ends() {
    let mut ends = open();
    ends.say.send(Message::text(r#"{"type": "ping"}"#)).unwrap();
    assert_eq!(ends.text().await, r#"{"type":"pong"}"#);
    ends.say.send(Message::text("hello?")).unwrap();
    assert!(ends.text().await.contains("bad-frame"));
    ends.outbox.ring(Ring::NoMember);
    assert_eq!(ends.close().await, 4403);
}

#[tokio::test]
async fn a_flood_ends_it_and_so_does_a_service_that_is_gone() {
    let mut ends = open();
    for _ in 0..1_000 {
        ends.say.send(Message::text(r#"{"type": "ping"}"#)).unwrap();
    }
    assert_eq!(ends.close().await, 4429);

    let Ends {
        outbox, mut hears, say, ..
    } = open();
    drop(outbox);
    let Some(Message::Close(Some(close))) = hears.recv().await else {
        panic!("no close")
    };
    assert_eq!(close.code, 1001);
    drop(say);
}
