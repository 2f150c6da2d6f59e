//! The live service: it sends changes to clients over WebSockets, in order and without a gap.
//!
//! **Parts.** A transaction that posts to a thread or changes an inbox publishes a signal after its commit
//! ([`signals`](crate::signals)), which waits, merged with others. One task, the *service*, takes the signals and asks the *hub* what to do. It reads the
//! changes of a thread once for all its subscribers, and puts them into the *inboxes* of their sockets. Each *socket*
//! has its own task.
//!
//! **Signals carry no content.** A signal says only what to read. In addition, the service looks up everything that is
//! followed once a second. So a lost signal causes a delay, but never a lost message.
//!
//! **The way of a message:** commit, signal, one read of the thread after the position that was delivered last, encoded
//! frames that all subscribers share, one queue for each socket, the network. A socket sends a delivery only if it
//! begins exactly at its client's position. The socket reads anything that is missing itself, as its own member, under
//! the team's policies.
//!
//! **Invariant:** a client has received a thread's messages from its start position without a gap, and the next frame
//! continues there.
//! **Invariant:** every buffer is bounded. Signals are merged, queues are short, and a client that doesn't read is
//! disconnected.

mod close_reason;
mod frames;
#[cfg(any(test, feature = "fuzzing"))]
mod fuzz;
mod hub;
mod limits;
mod options;
mod outbox;
mod routes;
mod service;
mod shared_reads;
mod socket;
mod socket_context;
mod subscriptions;
mod topic;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::ws::WebSocket;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;

pub use self::frames::{ClientFrame, ServerFrame, ThreadMessages};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::fuzz::{fuzz_client_frame, fuzz_cursor};
use self::hub::SocketId;
pub use self::options::LiveOptions;
use self::outbox::SocketInbox;
pub use self::routes::routes;
use self::service::{LiveService, SocketCommand, TeamMember};
use self::socket_context::SocketContext;
pub use self::topic::Topic;
use crate::error::{Error, Result};
use crate::http::Team;
use crate::signals::Signals;
use crate::tenancy::{Context, Database};

/// The live service of a process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Live(Arc<LiveInner>);

#[derive(Debug)]
struct LiveInner {
    options: Arc<LiveOptions>,
    database: Database,
    commands: mpsc::UnboundedSender<SocketCommand>,
    read_permits: Arc<Semaphore>,
    next_socket: AtomicU64,
    open: watch::Sender<usize>,
}

impl Live {
    /// Starts to receive the signals of `database` and those of other processes. For the latter it opens its own
    /// connections, with the options in `direct`. Without `direct`, changes by other processes are found by polling, up
    /// to a second later.
    ///
    /// # Errors
    /// [`Error::Internal`] if `database` has no [`Signals`].
    pub fn start(database: &Database, direct: Option<PgConnectOptions>, options: LiveOptions) -> Result<Self> {
        let signals = Signals::of(database)?.clone();
        let (commands, received) = mpsc::unbounded_channel();
        let service = LiveService::new(database.clone(), options.clone(), received, signals.local().clone());
        let service_task = tokio::spawn(service.run());
        if let Some(direct) = direct {
            let relaying = signals.exchange(direct);
            tokio::spawn(async move {
                tokio::select! {
                    () = relaying => {}
                    // The last `Live` handle was dropped.
                    _ = service_task => {}
                }
            });
        }
        Ok(Self(Arc::new(LiveInner {
            read_permits: Arc::new(Semaphore::new(options.max_concurrent_reads)),
            options: Arc::new(options),
            database: database.clone(),
            commands,
            next_socket: AtomicU64::new(1),
            open: watch::Sender::new(0),
        })))
    }

    /// Returns the options of the sockets.
    pub fn options(&self) -> &LiveOptions {
        &self.0.options
    }

    /// Returns the number of open sockets.
    pub fn open_sockets(&self) -> usize {
        *self.0.open.borrow()
    }

    /// Closes every socket because the service stops, and waits until they are closed, for at most `timeout`.
    pub async fn close(&self, timeout: Duration) {
        let _ = self.0.commands.send(SocketCommand::Close);
        let mut open = self.0.open.subscribe();
        let _ = tokio::time::timeout(timeout, open.wait_for(|open| *open == 0)).await;
    }

    /// Reserves one of the sockets of this process for a member that was just authenticated.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the limit of open sockets is reached.
    fn admit(&self, team: &Team, context: &Context) -> Result<SocketGuard> {
        let member = TeamMember::of(context)?;
        let admitted = self.0.open.send_if_modified(|open| {
            let free = *open < self.0.options.max_sockets;
            *open += usize::from(free);
            free
        });
        if !admitted {
            return Err(Error::Unavailable {
                detail: "this process has reached its limit of open sockets; try again in a moment".into(),
                source: None,
            });
        }
        let socket = SocketId(self.0.next_socket.fetch_add(1, Ordering::Relaxed));
        let (outbox, inbox) = outbox::pair();
        let expires_at = team.expires_at().map(|at| {
            let left = (at - self.0.database.clock().now()).to_std().unwrap_or_default();
            Instant::now() + left
        });
        let joined = SocketCommand::Join { socket, member, outbox };
        // If the service's task has ended, the inbox reports at once that the service stops.
        let _ = self.0.commands.send(joined);
        Ok(SocketGuard {
            live: self.clone(),
            context: SocketContext {
                socket,
                member,
                database: self.0.database.clone(),
                entry: Arc::new(team.entry().clone().read_only().unobserved()),
                expires_at,
                options: self.0.options.clone(),
                read_permits: self.0.read_permits.clone(),
                commands: self.0.commands.clone(),
            },
            inbox: Some(inbox),
        })
    }
}

/// Counts one socket. When it is dropped, the socket is no longer counted, also if the client disconnects during the
/// upgrade.
struct SocketGuard {
    live: Live,
    context: SocketContext,
    inbox: Option<SocketInbox>,
}

impl SocketGuard {
    async fn serve(mut self, socket: WebSocket) {
        if let Some(inbox) = self.inbox.take() {
            socket::serve(self.context.clone(), inbox, socket).await;
        }
    }
}

impl Drop for SocketGuard {
    fn drop(&mut self) {
        let _ = self.live.0.commands.send(SocketCommand::Leave(self.context.socket));
        self.live.0.open.send_modify(|open| *open -= 1);
    }
}
