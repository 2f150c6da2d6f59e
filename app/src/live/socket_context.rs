//! Defines what a socket's task needs: its member, and what it shares with other sockets.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use uuid::Uuid;

use super::hub::{SocketId, TeamTopic};
use super::member::{MemberId, TeamMember};
use super::options::LiveOptions;
use super::service::SocketCommand;
use super::topic::Topic;
use crate::clock::Clock;
use crate::tenancy::{Database, Entry};
use crate::threads::Cursor;

/// The context of a socket. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct SocketContext {
    pub(super) socket: SocketId,
    pub(super) member: TeamMember,
    pub(super) database: Database,
    /// Begins read-only transactions as the socket's own member, so that each read checks the member's access again.
    pub(super) entry: Arc<Entry>,
    /// The time at which the credential of the request that opened the socket expires.
    pub(super) expires_at: Option<Instant>,
    pub(super) options: Arc<LiveOptions>,
    /// Limits concurrent reads, so that a thousand sockets that reconnect at once leave database connections for
    /// requests.
    pub(super) read_permits: Arc<Semaphore>,
    pub(super) commands: mpsc::UnboundedSender<SocketCommand>,
}

impl SocketContext {
    pub(super) fn clock(&self) -> &Clock {
        self.database.clock()
    }

    /// Returns the hub's topic for a client's topic. Returns `None` for the notifications of an API key, which has
    /// none.
    pub(super) fn team_topic(&self, topic: Topic) -> Option<TeamTopic> {
        match (topic, self.member.id) {
            (Topic::Thread(id), _) => Some(TeamTopic::Thread(id)),
            (Topic::Threads, _) => Some(TeamTopic::Threads),
            (Topic::JobSessions, _) => Some(TeamTopic::JobSessions),
            (Topic::Runs, _) => Some(TeamTopic::Runs),
            (Topic::Notifications, MemberId::Person(person)) => Some(TeamTopic::Notifications(person)),
            (Topic::Notifications, MemberId::ApiKey(_)) => None,
        }
    }

    pub(super) async fn read_permit(&self) -> Option<OwnedSemaphorePermit> {
        self.read_permits.clone().acquire_owned().await.ok()
    }

    pub(super) fn follow(&self, team_topic: TeamTopic) {
        self.send(SocketCommand::Follow(self.socket, team_topic));
    }

    pub(super) fn unfollow(&self, team_topic: TeamTopic) {
        self.send(SocketCommand::Unfollow(self.socket, team_topic));
    }

    pub(super) fn reached_head(&self, thread_id: Uuid, cursor: Cursor) {
        self.send(SocketCommand::Reached(self.socket, thread_id, cursor));
    }

    fn send(&self, command: SocketCommand) {
        // If the task has ended, the service stops, and the inbox reports that.
        let _ = self.commands.send(command);
    }

    /// A socket of the system without a database, and the receiver of its commands.
    #[cfg(test)]
    pub(super) fn unconnected() -> (Self, mpsc::UnboundedReceiver<SocketCommand>) {
        use crate::tenancy::{Context, Credential, Request};
        let (commands, received) = mpsc::unbounded_channel();
        let context = Context::system(Uuid::nil(), "test");
        let request = Request::of(&context);
        let context = Self {
            socket: SocketId(1),
            member: TeamMember {
                team_id: Uuid::nil(),
                id: MemberId::ApiKey(Uuid::nil()),
            },
            database: Database::unconnected(),
            entry: Arc::new(Entry::new(Uuid::nil(), Credential::Context(context), request)),
            expires_at: None,
            options: Arc::new(LiveOptions::default()),
            read_permits: Arc::new(Semaphore::new(1)),
            commands,
        };
        (context, received)
    }
}
