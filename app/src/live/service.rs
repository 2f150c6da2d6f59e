//! The task that receives signals, asks the hub what to do, and does it.
//!
//! It never waits for the database or for a socket. Database reads run on their own tasks, a few at a time. A socket
//! whose queue is full must read the changes from the database itself.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use super::hub::{Hub, HubAction, ReadOutcome, SocketId, TeamTopic};
use super::member::{MemberId, TeamMember};
use super::options::LiveOptions;
use super::outbox::{ControlSignal, QueuedDelivery, SocketOutbox};
use super::shared_reads::{self, LookUpResult, ThreadUpdate};
use crate::error::Result;
use crate::notifications::notifications_signal;
use crate::signals::{Mailbox, PendingSignals};
use crate::tenancy::{Database, Signal, Snapshot};
use crate::threads::{Cursor, THREADS};

/// Commands from sockets to the service's task.
#[derive(Debug)]
pub(super) enum SocketCommand {
    Join {
        socket: SocketId,
        member: TeamMember,
        outbox: SocketOutbox,
    },
    Leave(SocketId),
    Follow(SocketId, TeamTopic),
    Unfollow(SocketId, TeamTopic),
    /// The socket has read a thread to its end.
    Reached(SocketId, Uuid, Cursor),
    /// Close all sockets.
    Close,
}

/// The result of a database read.
enum FinishedRead {
    Thread {
        team_id: Uuid,
        thread_id: Uuid,
        after: Cursor,
        page: Result<Option<ThreadUpdate>>,
    },
    LookUp {
        team_id: Uuid,
        result: Result<LookUpResult>,
    },
}

/// The service's task: its inputs, and the state that it alone changes.
pub(super) struct LiveService {
    pub(super) database: Database,
    pub(super) options: LiveOptions,
    pub(super) commands: mpsc::UnboundedReceiver<SocketCommand>,
    pub(super) mailbox: Mailbox,
    state: LiveState,
}

#[derive(Default)]
struct LiveState {
    hub: Hub,
    sockets: HashMap<SocketId, (TeamMember, SocketOutbox)>,
    members: HashMap<Uuid, HashMap<MemberId, usize>>,
    /// The snapshot of each team's last look-up of notifications.
    looked_up: HashMap<Uuid, Snapshot>,
    /// Teams with a look-up in progress, and whether another look-up must follow.
    pending_look_ups: HashMap<Uuid, bool>,
    closing: bool,
}

impl LiveService {
    pub(super) fn new(
        database: Database,
        options: LiveOptions,
        commands: mpsc::UnboundedReceiver<SocketCommand>,
        mailbox: Mailbox,
    ) -> Self {
        Self {
            database,
            options,
            commands,
            mailbox,
            state: LiveState::default(),
        }
    }

    /// Runs until all senders of commands are dropped.
    pub(super) async fn run(mut self) {
        let mut tasks = JoinSet::new();
        let read_permits = Arc::new(Semaphore::new(self.options.max_concurrent_reads));
        let mut tick = tokio::time::interval(self.options.poll_interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut commands = Vec::new();
        loop {
            let actions = tokio::select! {
                received = self.commands.recv_many(&mut commands, 256) => {
                    if received == 0 {
                        return;
                    }
                    commands.drain(..).flat_map(|command| self.state.apply_command(command)).collect()
                }
                pending = self.mailbox.take(), if !self.options.ignore_signals => self.state.apply_signals(pending),
                Some(finished) = tasks.join_next() => match finished {
                    Ok(finished) => self.state.finished(finished),
                    Err(error) => {
                        tracing::error!("live: a database read panicked: {error}");
                        Vec::new()
                    }
                },
                _ = tick.tick() => self.state.look_up_everything(),
            };
            for action in actions {
                self.perform(action, &mut tasks, &read_permits);
            }
        }
    }

    fn perform(&mut self, action: HubAction, tasks: &mut JoinSet<FinishedRead>, read_permits: &Arc<Semaphore>) {
        let (database, read_permits) = (self.database.clone(), read_permits.clone());
        match action {
            HubAction::Wake { team_topic, sockets } => {
                for socket in sockets {
                    if let Some((_, outbox)) = self.state.sockets.get(&socket) {
                        outbox.deliver(QueuedDelivery::Changed(team_topic));
                    }
                }
            }
            HubAction::Read {
                team_id,
                thread_id,
                after,
            } => {
                tasks.spawn(async move {
                    let _permit = read_permits.acquire_owned().await;
                    let page = shared_reads::thread_update(&database, team_id, thread_id, after).await;
                    FinishedRead::Thread {
                        team_id,
                        thread_id,
                        after,
                        page,
                    }
                });
            }
            HubAction::LookUp { team_id } => {
                match self.state.pending_look_ups.entry(team_id) {
                    Entry::Occupied(mut look_up) => {
                        look_up.insert(true);
                        return;
                    }
                    Entry::Vacant(look_up) => look_up.insert(false),
                };
                let request = shared_reads::LookUpRequest {
                    team_id,
                    threads: self.state.hub.followed_threads(team_id),
                    people: self.state.hub.followed_inboxes(team_id),
                    members: self
                        .state
                        .members
                        .get(&team_id)
                        .map_or_else(Vec::new, |members| members.keys().copied().collect()),
                    since: self.state.looked_up.get(&team_id).cloned(),
                };
                tasks.spawn(async move {
                    let _permit = read_permits.acquire_owned().await;
                    let result = shared_reads::look_up(&database, request).await;
                    FinishedRead::LookUp { team_id, result }
                });
            }
        }
    }
}

impl LiveState {
    fn apply_command(&mut self, command: SocketCommand) -> Vec<HubAction> {
        match command {
            SocketCommand::Join { socket, member, outbox } => {
                if self.closing {
                    outbox.control(ControlSignal::GoingAway);
                }
                self.hub.join(socket, member.team_id);
                *self
                    .members
                    .entry(member.team_id)
                    .or_default()
                    .entry(member.id)
                    .or_default() += 1;
                self.sockets.insert(socket, (member, outbox));
            }
            SocketCommand::Leave(socket) => self.leave(socket),
            SocketCommand::Follow(socket, team_topic) => self.hub.follow(socket, team_topic),
            SocketCommand::Unfollow(socket, team_topic) => self.hub.unfollow(socket, team_topic),
            SocketCommand::Reached(socket, thread_id, cursor) => {
                let Some((member, _)) = self.sockets.get(&socket) else {
                    return Vec::new();
                };
                return Vec::from_iter(self.hub.follower_reached(member.team_id, thread_id, cursor));
            }
            SocketCommand::Close => {
                self.closing = true;
                for (_, outbox) in self.sockets.values() {
                    outbox.control(ControlSignal::GoingAway);
                }
            }
        }
        Vec::new()
    }

    fn leave(&mut self, socket: SocketId) {
        self.hub.leave(socket);
        let Some((member, _)) = self.sockets.remove(&socket) else {
            return;
        };
        if let Some(members) = self.members.get_mut(&member.team_id) {
            if let Some(sockets) = members.get_mut(&member.id) {
                *sockets -= 1;
                if *sockets == 0 {
                    members.remove(&member.id);
                }
            }
            if members.is_empty() {
                self.members.remove(&member.team_id);
                self.looked_up.remove(&member.team_id);
            }
        }
    }

    fn apply_signals(&mut self, pending: PendingSignals) -> Vec<HubAction> {
        if pending.everything {
            return self.look_up_everything();
        }
        // Signals that name a thread come first, so that the look-up of all threads doesn't read that thread a second
        // time.
        let (several, named): (Vec<Signal>, Vec<Signal>) =
            pending.signals.into_iter().partition(|signal| signal.topic == THREADS);
        named
            .into_iter()
            .chain(several)
            .flat_map(|signal| self.hub.signal(&signal))
            .collect()
    }

    /// Looks up, for each team with sockets, all followed topics, and whether the members still have access.
    fn look_up_everything(&mut self) -> Vec<HubAction> {
        self.members
            .keys()
            .flat_map(|team_id| {
                let look_up = HubAction::LookUp { team_id: *team_id };
                self.hub.wake_feeds(*team_id).into_iter().chain([look_up])
            })
            .collect()
    }

    fn finished(&mut self, finished: FinishedRead) -> Vec<HubAction> {
        match finished {
            FinishedRead::Thread {
                team_id,
                thread_id,
                after,
                page,
            } => {
                let outcome = match &page {
                    Ok(Some(page)) => ReadOutcome::To(page.to, page.more),
                    Ok(None) => ReadOutcome::Failed,
                    Err(error) => {
                        tracing::debug!(
                            "live: could not read the thread {thread_id}; the next look-up finds its changes: {error}"
                        );
                        ReadOutcome::Failed
                    }
                };
                let (followers, next) = self.hub.thread_read(team_id, thread_id, after, outcome);
                if let Ok(Some(page)) = page {
                    for socket in followers {
                        if let Some((_, outbox)) = self.sockets.get(&socket) {
                            outbox.deliver(QueuedDelivery::Thread {
                                id: thread_id,
                                from: after,
                                to: page.to,
                                frames: page.frames.clone(),
                            });
                        }
                    }
                }
                Vec::from_iter(next)
            }
            FinishedRead::LookUp { team_id, result } => {
                let again = self.pending_look_ups.remove(&team_id).unwrap_or_default();
                let mut actions = match result {
                    Ok(result) => self.apply_look_up(team_id, result),
                    Err(error) => {
                        tracing::debug!("live: could not look up the changes of the team {team_id}: {error}");
                        Vec::new()
                    }
                };
                if again {
                    actions.push(HubAction::LookUp { team_id });
                }
                actions
            }
        }
    }

    fn apply_look_up(&mut self, team_id: Uuid, result: LookUpResult) -> Vec<HubAction> {
        if !result.removed.is_empty() {
            for (member, outbox) in self.sockets.values() {
                if member.team_id == team_id && result.removed.contains(&member.id) {
                    outbox.control(ControlSignal::NotAMember);
                }
            }
        }
        if self.members.contains_key(&team_id) {
            self.looked_up.insert(team_id, result.now);
        }
        let heads = result
            .heads
            .into_iter()
            .filter_map(|(thread_id, head)| self.hub.thread_head(team_id, thread_id, head))
            .collect::<Vec<_>>();
        let inboxes = result.people.into_iter().flat_map(|person| {
            self.hub.signal(&Signal {
                team_id,
                topic: notifications_signal(person),
            })
        });
        heads.into_iter().chain(inboxes).collect()
    }
}

#[cfg(test)]
mod tests;
