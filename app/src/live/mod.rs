//! Live: what happens reaches people's screens in order, and nothing is missed.
//!
//! **Who plays.** A transaction that posts to a thread or changes an inbox says so once it has committed
//! ([`tenancy::Hints`](crate::tenancy::Hints)). The hints wait merged in a *mailbox*; a *bridge* carries them to other
//! processes and brings theirs. One task, the *service*, takes them out, asks the *hub* what to do, reads what has
//! happened to a thread once for all its followers, and puts it into their sockets' *inboxes*. A *socket* has a task
//! of its own.
//!
//! **Hints, then truth.** A hint says where to look and never what is there. Once a second everything that anybody
//! follows is looked up, so a hint that got lost costs a moment and never a message.
//!
//! **The life of a message** on its way: commit, hint, one reading of the thread above the place up to which it was
//! told, frames of bytes that all followers share, a queue for each, the wire. A socket lets pass only what begins
//! just where its client is; whatever is missing it reads for itself, as its own member, under the team's policies.
//!
//! **Invariant:** what a client has of a thread is a whole beginning of it, message by message, and what it is sent
//! next continues it.
//! **Invariant:** nothing here is buffered without bound: hints merge, queues are short, and who doesn't read is let
//! go.

mod bridge;
mod end;
mod follows;
mod frames;
#[cfg(any(test, feature = "fuzzing"))]
mod fuzz;
mod hub;
mod limits;
mod mailbox;
mod options;
mod outbox;
mod reading;
mod routes;
mod service;
mod session;
mod socket;
mod topic;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::ws::WebSocket;
use chrono::Utc;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;

pub use self::frames::{ClientFrame, ServerFrame, ThreadMessages};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::fuzz::{fuzz_client_frame, fuzz_cursor};
use self::hub::SocketId;
use self::mailbox::Mailbox;
pub use self::options::LiveOptions;
use self::outbox::Inbox;
pub use self::routes::routes;
use self::service::{Command, Service, Who};
use self::session::Session;
pub use self::topic::Topic;
use crate::error::{Error, Result};
use crate::http::Team;
use crate::tenancy::{Bell, Context, Database, Hint, Hints, Moved};

/// Where the hints of a database's transactions wait for [`Live::start`]: an extension of the [`Database`].
#[derive(Debug, Clone, Default)]
pub struct Hearing {
    here: Mailbox,
    elsewhere: Mailbox,
    /// Hints of work, for elsewhere: what waits for a worker is in less of a hurry than what a person looks at.
    work_elsewhere: Mailbox,
}

impl Hearing {
    /// Hints of work, from here and from elsewhere, ring this bell.
    pub fn ringing(bell: Bell) -> Self {
        Self {
            here: Mailbox::ringing(bell),
            ..Self::default()
        }
    }

    /// Where a database's transactions are to send their hints.
    pub fn hints(&self) -> Hints {
        let hearing = self.clone();
        Hints::to(move |hints| {
            let (work, topics): (Vec<Hint>, Vec<Hint>) = hints.iter().partition(|hint| hint.moved == Moved::Work);
            hearing.elsewhere.put(topics);
            hearing.work_elsewhere.put(work);
            hearing.here.put(hints);
        })
    }
}

/// The live service of a process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Live(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: Arc<LiveOptions>,
    database: Database,
    commands: mpsc::UnboundedSender<Command>,
    turns: Arc<Semaphore>,
    next_socket: AtomicU64,
    open: watch::Sender<usize>,
}

impl Live {
    /// Starts to hear the hints of `database`, and, over connections of its own as `direct` says, those of other
    /// processes. Without `direct` what they write is found by looking, up to a second later.
    pub fn start(database: &Database, direct: Option<PgConnectOptions>, options: LiveOptions) -> Self {
        let hearing = database.extension::<Hearing>().cloned().unwrap_or_default();
        let (commands, received) = mpsc::unbounded_channel();
        let service = Service::new(database.clone(), options.clone(), received, hearing.here.clone());
        let serving = tokio::spawn(service.run());
        if let Some(direct) = direct {
            let carrying = bridge::carry(direct, hearing);
            tokio::spawn(async move {
                tokio::select! {
                    () = carrying => {}
                    // The last handle is gone.
                    _ = serving => {}
                }
            });
        }
        Self(Arc::new(Shared {
            turns: Arc::new(Semaphore::new(options.readers)),
            options: Arc::new(options),
            database: database.clone(),
            commands,
            next_socket: AtomicU64::new(1),
            open: watch::Sender::new(0),
        }))
    }

    /// How sockets behave.
    pub fn options(&self) -> &LiveOptions {
        &self.0.options
    }

    /// How many sockets are open.
    pub fn open_sockets(&self) -> usize {
        *self.0.open.borrow()
    }

    /// Tells every socket that the service stops, and waits until they are gone, for `patience` at most.
    pub async fn close(&self, patience: Duration) {
        let _ = self.0.commands.send(Command::Close);
        let mut open = self.0.open.subscribe();
        let _ = tokio::time::timeout(patience, open.wait_for(|open| *open == 0)).await;
    }

    /// A seat for a member who has just proved to be one.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when there are as many as there may be.
    fn admit(&self, team: &Team, context: &Context) -> Result<Seat> {
        let who = Who::of(context)?;
        let admitted = self.0.open.send_if_modified(|open| {
            let free = *open < self.0.options.max_sockets;
            *open += usize::from(free);
            free
        });
        if !admitted {
            return Err(Error::Unavailable {
                detail: "this process serves as many sockets as it may; try again in a moment".into(),
                source: None,
            });
        }
        let socket = SocketId(self.0.next_socket.fetch_add(1, Ordering::Relaxed));
        let (outbox, inbox) = outbox::pair();
        let expires_at = team.expires_at().map(|at| {
            let left = (at - Utc::now()).to_std().unwrap_or_default();
            Instant::now() + left
        });
        let joined = Command::Join { socket, who, outbox };
        // Without the service's task the inbox says at once that the service stops.
        let _ = self.0.commands.send(joined);
        Ok(Seat {
            live: self.clone(),
            session: Session {
                socket,
                who,
                database: self.0.database.clone(),
                entry: Arc::new(team.entry().clone().read_only().unobserved()),
                expires_at,
                options: self.0.options.clone(),
                turns: self.0.turns.clone(),
                commands: self.0.commands.clone(),
            },
            inbox: Some(inbox),
        })
    }
}

/// A place for one socket, given back when this is dropped: also by a client that hangs up during the upgrade.
struct Seat {
    live: Live,
    session: Session,
    inbox: Option<Inbox>,
}

impl Seat {
    async fn serve(mut self, socket: WebSocket) {
        if let Some(inbox) = self.inbox.take() {
            socket::serve(self.session.clone(), inbox, socket).await;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let _ = self.live.0.commands.send(Command::Leave(self.session.socket));
        self.live.0.open.send_modify(|open| *open -= 1);
    }
}
