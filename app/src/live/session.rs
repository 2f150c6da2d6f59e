//! Whose socket it is, and what it shares with the others.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use uuid::Uuid;

use super::hub::{SocketId, Subject};
use super::options::LiveOptions;
use super::service::{Command, Member, Who};
use super::topic::Topic;
use crate::tenancy::{Database, Entry};
use crate::threads::Cursor;

/// Whose socket it is. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) socket: SocketId,
    pub(super) who: Who,
    pub(super) database: Database,
    /// Read only, as its own member, so that every reading proves anew that they may.
    pub(super) entry: Arc<Entry>,
    /// When the credential that opened it ends.
    pub(super) expires_at: Option<Instant>,
    pub(super) options: Arc<LiveOptions>,
    /// So that a thousand sockets that come back at once leave requests their connections.
    pub(super) turns: Arc<Semaphore>,
    pub(super) commands: mpsc::UnboundedSender<Command>,
}

impl Session {
    /// The subject that a topic is for this member; none for a program's notifications.
    pub(super) fn subject(&self, topic: Topic) -> Option<Subject> {
        match (topic, self.who.member) {
            (Topic::Thread(id), _) => Some(Subject::Thread(id)),
            (Topic::Threads, _) => Some(Subject::Threads),
            (Topic::JobSessions, _) => Some(Subject::JobSessions),
            (Topic::Runs, _) => Some(Subject::Runs),
            (Topic::Notifications, Member::Person(person)) => Some(Subject::Notifications(person)),
            (Topic::Notifications, Member::ApiKey(_)) => None,
        }
    }

    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        self.turns.clone().acquire_owned().await.ok()
    }

    pub(super) fn follow(&self, subject: Subject) {
        self.send(Command::Follow(self.socket, subject));
    }

    pub(super) fn unfollow(&self, subject: Subject) {
        self.send(Command::Unfollow(self.socket, subject));
    }

    pub(super) fn reached(&self, thread_id: Uuid, cursor: Cursor) {
        self.send(Command::Reached(self.socket, thread_id, cursor));
    }

    fn send(&self, command: Command) {
        // Without the task the service is ending, and the inbox says so.
        let _ = self.commands.send(command);
    }
}
