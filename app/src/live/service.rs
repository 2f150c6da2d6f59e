//! The task that hears hints, asks the hub what to do, and does it.
//!
//! It waits for nothing but what it is told: the database is read on tasks of their own, a few at a time, and a
//! socket whose queue is full is told to look for itself.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use super::hub::{Action, Hub, Reading, SocketId, Subject};
use super::mailbox::{Mailbox, Waiting};
use super::options::LiveOptions;
use super::outbox::{Delivery, Outbox, Ring};
use super::reading::{self, LookAround, Piece};
use crate::error::{Error, Result};
use crate::tenancy::{Actor, Context, Database, Hint, Moved, Snapshot};
use crate::threads::Cursor;

/// What sockets tell the task.
#[derive(Debug)]
pub(super) enum Command {
    Join {
        socket: SocketId,
        who: Who,
        outbox: Outbox,
    },
    Leave(SocketId),
    Follow(SocketId, Subject),
    Unfollow(SocketId, Subject),
    /// The socket has read a thread to its end.
    Reached(SocketId, Uuid, Cursor),
    /// Everybody shall go.
    Close,
}

/// Whose socket it is, as far as it can be taken from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Who {
    pub(super) team_id: Uuid,
    pub(super) member: Member,
}

/// A person or a program in a team.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Member {
    Person(Uuid),
    ApiKey(Uuid),
}

impl Who {
    /// # Errors
    /// [`Error::Internal`] for the service itself, which doesn't come in by a socket.
    pub(super) fn of(context: &Context) -> Result<Self> {
        let member = match (context.person_id(), &context.actor) {
            (Some(person), _) => Member::Person(person),
            (None, Actor::ApiKey { id, .. }) => Member::ApiKey(*id),
            _ => return Err(Error::internal("a socket of nobody")),
        };
        Ok(Self {
            team_id: context.team_id,
            member,
        })
    }
}

/// What a task has come back with.
enum Done {
    Read {
        team_id: Uuid,
        thread_id: Uuid,
        after: Cursor,
        piece: Result<Option<Piece>>,
    },
    Looked {
        team_id: Uuid,
        around: Result<LookAround>,
    },
}

pub(super) struct Service {
    pub(super) database: Database,
    pub(super) options: LiveOptions,
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    pub(super) mailbox: Mailbox,
    state: State,
}

#[derive(Default)]
struct State {
    hub: Hub,
    sockets: HashMap<SocketId, (Who, Outbox)>,
    members: HashMap<Uuid, HashMap<Member, usize>>,
    /// What of a team's notifications has been looked at.
    looked: HashMap<Uuid, Snapshot>,
    /// Teams that are being looked at, and whether once more after that.
    looking: HashMap<Uuid, bool>,
    closing: bool,
}

impl Service {
    pub(super) fn new(
        database: Database,
        options: LiveOptions,
        commands: mpsc::UnboundedReceiver<Command>,
        mailbox: Mailbox,
    ) -> Self {
        Self {
            database,
            options,
            commands,
            mailbox,
            state: State::default(),
        }
    }

    /// Runs until nobody can send commands any more.
    pub(super) async fn run(mut self) {
        let mut tasks = JoinSet::new();
        let turns = Arc::new(Semaphore::new(self.options.readers));
        let mut tick = tokio::time::interval(self.options.look_every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut commands = Vec::new();
        loop {
            let actions = tokio::select! {
                received = self.commands.recv_many(&mut commands, 256) => {
                    if received == 0 {
                        return;
                    }
                    commands.drain(..).flat_map(|command| self.state.command(command)).collect()
                }
                waiting = self.mailbox.take(), if !self.options.deaf => self.state.hints(waiting),
                Some(done) = tasks.join_next() => match done {
                    Ok(done) => self.state.done(done),
                    Err(error) => {
                        tracing::error!("live: a reading ended badly: {error}");
                        Vec::new()
                    }
                },
                _ = tick.tick() => self.state.look_everywhere(),
            };
            for action in actions {
                self.act(action, &mut tasks, &turns);
            }
        }
    }

    fn act(&mut self, action: Action, tasks: &mut JoinSet<Done>, turns: &Arc<Semaphore>) {
        let (database, turns) = (self.database.clone(), turns.clone());
        match action {
            Action::Wake { subject, sockets } => {
                for socket in sockets {
                    if let Some((_, outbox)) = self.state.sockets.get(&socket) {
                        outbox.deliver(Delivery::Look(subject));
                    }
                }
            }
            Action::Read {
                team_id,
                thread_id,
                after,
            } => {
                tasks.spawn(async move {
                    let _turn = turns.acquire_owned().await;
                    let piece = reading::piece(&database, team_id, thread_id, after).await;
                    Done::Read {
                        team_id,
                        thread_id,
                        after,
                        piece,
                    }
                });
            }
            Action::LookUp { team_id } => {
                match self.state.looking.entry(team_id) {
                    Entry::Occupied(mut looking) => {
                        looking.insert(true);
                        return;
                    }
                    Entry::Vacant(looking) => looking.insert(false),
                };
                let question = reading::Question {
                    team_id,
                    threads: self.state.hub.threads(team_id),
                    people: self.state.hub.people(team_id),
                    members: self
                        .state
                        .members
                        .get(&team_id)
                        .map_or_else(Vec::new, |members| members.keys().copied().collect()),
                    since: self.state.looked.get(&team_id).cloned(),
                };
                tasks.spawn(async move {
                    let _turn = turns.acquire_owned().await;
                    let around = reading::look_around(&database, question).await;
                    Done::Looked { team_id, around }
                });
            }
        }
    }
}

impl State {
    fn command(&mut self, command: Command) -> Vec<Action> {
        match command {
            Command::Join { socket, who, outbox } => {
                if self.closing {
                    outbox.ring(Ring::GoingAway);
                }
                self.hub.join(socket, who.team_id);
                *self
                    .members
                    .entry(who.team_id)
                    .or_default()
                    .entry(who.member)
                    .or_default() += 1;
                self.sockets.insert(socket, (who, outbox));
            }
            Command::Leave(socket) => self.leave(socket),
            Command::Follow(socket, subject) => self.hub.follow(socket, subject),
            Command::Unfollow(socket, subject) => self.hub.unfollow(socket, subject),
            Command::Reached(socket, thread_id, cursor) => {
                let Some((who, _)) = self.sockets.get(&socket) else {
                    return Vec::new();
                };
                return Vec::from_iter(self.hub.reached(who.team_id, thread_id, cursor));
            }
            Command::Close => {
                self.closing = true;
                for (_, outbox) in self.sockets.values() {
                    outbox.ring(Ring::GoingAway);
                }
            }
        }
        Vec::new()
    }

    fn leave(&mut self, socket: SocketId) {
        self.hub.leave(socket);
        let Some((who, _)) = self.sockets.remove(&socket) else {
            return;
        };
        if let Some(members) = self.members.get_mut(&who.team_id) {
            if let Some(sockets) = members.get_mut(&who.member) {
                *sockets -= 1;
                if *sockets == 0 {
                    members.remove(&who.member);
                }
            }
            if members.is_empty() {
                self.members.remove(&who.team_id);
                self.looked.remove(&who.team_id);
            }
        }
    }

    fn hints(&mut self, waiting: Waiting) -> Vec<Action> {
        if waiting.everything {
            return self.look_everywhere();
        }
        // One that is named is looked at once, and not a second time among others.
        let (several, named): (Vec<Hint>, Vec<Hint>) =
            waiting.hints.into_iter().partition(|hint| hint.moved == Moved::Threads);
        named
            .into_iter()
            .chain(several)
            .flat_map(|hint| self.hub.hint(hint))
            .collect()
    }

    /// Where is everything that anybody follows, and may they still? For teams with sockets.
    fn look_everywhere(&mut self) -> Vec<Action> {
        self.members
            .keys()
            .flat_map(|team_id| {
                let look_up = Action::LookUp { team_id: *team_id };
                self.hub.look_around(*team_id).into_iter().chain([look_up])
            })
            .collect()
    }

    fn done(&mut self, done: Done) -> Vec<Action> {
        match done {
            Done::Read {
                team_id,
                thread_id,
                after,
                piece,
            } => {
                let reading = match &piece {
                    Ok(Some(piece)) => Reading::To(piece.to, piece.more),
                    Ok(None) => Reading::Failed,
                    Err(error) => {
                        tracing::debug!("live: a thread can't be read now: {error}");
                        Reading::Failed
                    }
                };
                let (followers, next) = self.hub.read(team_id, thread_id, after, reading);
                if let Ok(Some(piece)) = piece {
                    for socket in followers {
                        if let Some((_, outbox)) = self.sockets.get(&socket) {
                            outbox.deliver(Delivery::Thread {
                                id: thread_id,
                                from: after,
                                to: piece.to,
                                steps: piece.steps.clone(),
                            });
                        }
                    }
                }
                Vec::from_iter(next)
            }
            Done::Looked { team_id, around } => {
                let again = self.looking.remove(&team_id).unwrap_or_default();
                let mut actions = match around {
                    Ok(around) => self.looked(team_id, around),
                    Err(error) => {
                        tracing::debug!("live: a team can't be looked at now: {error}");
                        Vec::new()
                    }
                };
                if again {
                    actions.push(Action::LookUp { team_id });
                }
                actions
            }
        }
    }

    fn looked(&mut self, team_id: Uuid, around: LookAround) -> Vec<Action> {
        if !around.gone.is_empty() {
            for (who, outbox) in self.sockets.values() {
                if who.team_id == team_id && around.gone.contains(&who.member) {
                    outbox.ring(Ring::NoMember);
                }
            }
        }
        if self.members.contains_key(&team_id) {
            self.looked.insert(team_id, around.now);
        }
        let heads = around
            .heads
            .into_iter()
            .filter_map(|(thread_id, head)| self.hub.found(team_id, thread_id, head))
            .collect::<Vec<_>>();
        let inboxes = around.people.into_iter().flat_map(|person| {
            self.hub.hint(Hint {
                team_id,
                moved: Moved::Notifications(person),
            })
        });
        heads.into_iter().chain(inboxes).collect()
    }
}
