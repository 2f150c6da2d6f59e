//! The handle of the live service: starts and closes it, and admits sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::ws::WebSocket;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::{Semaphore, mpsc, watch};

use super::hub::SocketId;
use super::member::TeamMember;
use super::options::LiveOptions;
use super::outbox::{self, SocketInbox};
use super::service::{LiveService, SocketCommand};
use super::socket;
use super::socket_context::SocketContext;
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
    /// Starts the live service. It receives the signals of `database` and those of other processes. For the signals of
    /// other processes it opens its own connections, with the options in `direct`. Without `direct`, polling finds the
    /// changes of other processes, up to one [`LiveOptions::poll_interval`] later.
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

    /// Reserves one of this process's sockets for a member that was just authenticated.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the limit of open sockets is reached.
    pub(super) fn admit(&self, team: &Team, context: &Context) -> Result<SocketGuard> {
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
            let clock = self.0.database.clock();
            clock.instant() + (at - clock.now()).to_std().unwrap_or_default()
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

/// Counts one socket until it is dropped. It is dropped, too, if the client disconnects during the upgrade.
pub(super) struct SocketGuard {
    live: Live,
    context: SocketContext,
    inbox: Option<SocketInbox>,
}

impl SocketGuard {
    pub(super) async fn serve(mut self, socket: WebSocket) {
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
