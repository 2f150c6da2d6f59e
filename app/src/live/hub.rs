//! Decides, for a signal, what to read and for which sockets. It is pure data: no sockets, no database, no clock.
//!
//! **Threads** are read once for all their followers. The hub knows the position up to which a thread was delivered
//! (`delivered_to`), and each delivery has a start and an end position. A follower may not be at the start of a
//! delivery, because it is new or was too slow. It then reads for itself until it has reached the position of the
//! deliveries.
//!
//! **All other topics** are read by each follower for itself, when a signal wakes it.
//!
//! **Invariant:** at most one read of a thread is in progress, so its deliveries follow each other without a gap. A
//! signal that arrives meanwhile is remembered, and leads to another read.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use uuid::Uuid;

use crate::jobs::JOB_SESSIONS_NAME;
use crate::notifications::NOTIFICATIONS_NAME;
use crate::runs::RUNS_NAME;
use crate::tenancy::Signal;
use crate::threads::Cursor;
use crate::threads::{THREAD_NAME, THREADS_NAME};

/// The number that identifies a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub u64);

/// A topic in a team. Notifications are those of one person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TeamTopic {
    /// A thread.
    Thread(Uuid),
    /// All threads.
    Threads,
    /// A person's notifications.
    Notifications(Uuid),
    /// Job sessions.
    JobSessions,
    /// Runs.
    Runs,
}

/// What the service must do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HubAction {
    /// Read the thread's changes after `after`, and call [`Hub::thread_read`].
    Read {
        /// The team.
        team_id: Uuid,
        /// The thread.
        thread_id: Uuid,
        /// The position up to which it was delivered.
        after: Cursor,
    },
    /// Wake these sockets, which then read the topic themselves.
    Wake {
        /// The topic that has changed.
        team_topic: TeamTopic,
        /// The sockets that follow it.
        sockets: Vec<SocketId>,
    },
    /// Look up the positions of the team's followed threads, and call [`Hub::thread_head`].
    LookUp {
        /// The team.
        team_id: Uuid,
    },
}

/// The outcome of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadOutcome {
    /// Read up to this position; the flag says whether there is more.
    To(Cursor, bool),
    /// The read failed. The next look-up finds that the thread has changes that were not delivered.
    Failed,
}

#[derive(Debug, Default)]
struct TeamState {
    followed: BTreeMap<TeamTopic, TopicState>,
}

#[derive(Debug, Default)]
struct TopicState {
    followers: BTreeSet<SocketId>,
    /// For a thread: the position up to which it was delivered; `None` until a follower has read the current position.
    delivered_to: Option<Cursor>,
    read: ThreadRead,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum ThreadRead {
    #[default]
    Idle,
    Reading,
    /// A read is in progress, and another one must follow.
    ReadingAgain,
}

/// Keeps which socket follows which topic, and how far threads were delivered.
#[derive(Debug, Default)]
pub struct Hub {
    teams: HashMap<Uuid, TeamState>,
    sockets: HashMap<SocketId, (Uuid, HashSet<TeamTopic>)>,
}

impl Hub {
    /// Adds a socket.
    pub fn join(&mut self, socket: SocketId, team_id: Uuid) {
        self.sockets.insert(socket, (team_id, HashSet::new()));
    }

    /// Removes a socket and its subscriptions.
    pub fn leave(&mut self, socket: SocketId) {
        let Some((team_id, team_topics)) = self.sockets.remove(&socket) else {
            return;
        };
        for team_topic in team_topics {
            self.remove_follower(team_id, team_topic, socket);
        }
    }

    /// Subscribes a socket to a topic. The socket must read the topic's position after this call, so that each
    /// later change is either in what it reads or signalled.
    pub fn follow(&mut self, socket: SocketId, team_topic: TeamTopic) {
        let Some((team_id, team_topics)) = self.sockets.get_mut(&socket) else {
            return;
        };
        team_topics.insert(team_topic);
        let team = self.teams.entry(*team_id).or_default();
        team.followed.entry(team_topic).or_default().followers.insert(socket);
    }

    /// Removes a socket's subscription.
    pub fn unfollow(&mut self, socket: SocketId, team_topic: TeamTopic) {
        let Some((team_id, team_topics)) = self.sockets.get_mut(&socket) else {
            return;
        };
        let team_id = *team_id;
        if team_topics.remove(&team_topic) {
            self.remove_follower(team_id, team_topic, socket);
        }
    }

    /// Records that a follower has read a thread to its end, `cursor`. If the thread wasn't delivered before,
    /// deliveries start at `cursor`. Otherwise the changes up to there are delivered to the other followers first.
    pub fn follower_reached(&mut self, team_id: Uuid, thread_id: Uuid, cursor: Cursor) -> Option<HubAction> {
        let followed = self.followed(team_id, TeamTopic::Thread(thread_id))?;
        if followed.delivered_to.is_none() {
            followed.delivered_to = Some(cursor);
        }
        self.thread_head(team_id, thread_id, cursor)
    }

    /// Handles a signal: something has changed, or may have.
    pub fn signal(&mut self, signal: &Signal) -> Vec<HubAction> {
        let team_id = signal.team_id;
        let Some(team) = self.teams.get_mut(&team_id) else {
            return Vec::new();
        };
        let mut actions = Vec::new();
        match (signal.topic.name(), signal.topic.id()) {
            (THREAD_NAME, Some(id)) => {
                actions.extend(team.thread_changed(team_id, id));
                actions.extend(team.wake(TeamTopic::Threads));
            }
            (THREADS_NAME, _) => {
                if team
                    .followed
                    .keys()
                    .any(|team_topic| matches!(team_topic, TeamTopic::Thread(_)))
                {
                    actions.push(HubAction::LookUp { team_id });
                }
                actions.extend(team.wake(TeamTopic::Threads));
            }
            (JOB_SESSIONS_NAME, _) => actions.extend(team.wake(TeamTopic::JobSessions)),
            (RUNS_NAME, _) => actions.extend(team.wake(TeamTopic::Runs)),
            (NOTIFICATIONS_NAME, Some(person)) => actions.extend(team.wake(TeamTopic::Notifications(person))),
            // A topic that only another version of the service knows.
            _ => {}
        }
        actions
    }

    /// Handles a thread's current position, which a look-up or a follower found.
    pub fn thread_head(&mut self, team_id: Uuid, thread_id: Uuid, head: Cursor) -> Option<HubAction> {
        let team = self.teams.get_mut(&team_id)?;
        let delivered_to = team.followed.get(&TeamTopic::Thread(thread_id))?.delivered_to;
        (delivered_to < Some(head)).then(|| team.thread_changed(team_id, thread_id))?
    }

    /// Handles the end of a read of a thread from `after` on. Returns the followers that receive what was read (none if
    /// it failed), and the next read if there is more.
    pub fn thread_read(
        &mut self,
        team_id: Uuid,
        thread_id: Uuid,
        after: Cursor,
        outcome: ReadOutcome,
    ) -> (Vec<SocketId>, Option<HubAction>) {
        let nothing = (Vec::new(), None);
        let Some(followed) = self.followed(team_id, TeamTopic::Thread(thread_id)) else {
            return nothing;
        };
        // All followers left during the read, and other followers may have come since. The result is not for them.
        if followed.read == ThreadRead::Idle || followed.delivered_to != Some(after) {
            return nothing;
        }
        let again = followed.read == ThreadRead::ReadingAgain;
        followed.read = ThreadRead::Idle;
        let ReadOutcome::To(to, more) = outcome else {
            return nothing;
        };
        followed.delivered_to = Some(to);
        let followers = followed.followers.iter().copied().collect();
        let next = (again || more).then(|| {
            followed.read = ThreadRead::Reading;
            HubAction::Read {
                team_id,
                thread_id,
                after: to,
            }
        });
        (followers, next)
    }

    /// Wakes the subscribers of the topics `threads`, `job-sessions` and `runs` of a team, whether or not there was a
    /// signal.
    pub fn wake_feeds(&self, team_id: Uuid) -> Vec<HubAction> {
        let Some(team) = self.teams.get(&team_id) else {
            return Vec::new();
        };
        let followed = [TeamTopic::Threads, TeamTopic::JobSessions, TeamTopic::Runs];
        followed
            .into_iter()
            .filter_map(|team_topic| team.wake(team_topic))
            .collect()
    }

    /// Returns the team's followed threads.
    pub fn followed_threads(&self, team_id: Uuid) -> Vec<Uuid> {
        self.team_topics(team_id)
            .filter_map(|team_topic| match team_topic {
                TeamTopic::Thread(id) => Some(id),
                _ => None,
            })
            .collect()
    }

    /// Returns the people of the team whose notifications are followed.
    pub fn followed_inboxes(&self, team_id: Uuid) -> Vec<Uuid> {
        self.team_topics(team_id)
            .filter_map(|team_topic| match team_topic {
                TeamTopic::Notifications(person) => Some(person),
                _ => None,
            })
            .collect()
    }

    fn team_topics(&self, team_id: Uuid) -> impl Iterator<Item = TeamTopic> + '_ {
        self.teams
            .get(&team_id)
            .into_iter()
            .flat_map(|team| team.followed.keys().copied())
    }

    fn followed(&mut self, team_id: Uuid, team_topic: TeamTopic) -> Option<&mut TopicState> {
        self.teams.get_mut(&team_id)?.followed.get_mut(&team_topic)
    }

    fn remove_follower(&mut self, team_id: Uuid, team_topic: TeamTopic, socket: SocketId) {
        let Some(team) = self.teams.get_mut(&team_id) else {
            return;
        };
        if let Some(followed) = team.followed.get_mut(&team_topic) {
            followed.followers.remove(&socket);
            if followed.followers.is_empty() {
                // A read that is still in progress will find no follower.
                team.followed.remove(&team_topic);
            }
        }
        if team.followed.is_empty() {
            self.teams.remove(&team_id);
        }
    }

    /// Checks that the two indexes of subscriptions agree. Panics if they don't.
    #[cfg(test)]
    fn check_invariants(&self) {
        for (socket, (team_id, team_topics)) in &self.sockets {
            for team_topic in team_topics {
                assert!(self.teams[team_id].followed[team_topic].followers.contains(socket));
            }
        }
        for (team_id, team) in &self.teams {
            assert!(!team.followed.is_empty());
            for (team_topic, followed) in &team.followed {
                assert!(!followed.followers.is_empty());
                for socket in &followed.followers {
                    let (of_team, team_topics) = &self.sockets[socket];
                    assert!(of_team == team_id && team_topics.contains(team_topic));
                }
                if !matches!(team_topic, TeamTopic::Thread(_)) {
                    assert!(followed.delivered_to.is_none() && followed.read == ThreadRead::Idle);
                }
                if followed.read != ThreadRead::Idle {
                    assert!(
                        followed.delivered_to.is_some(),
                        "a read in progress has a start position"
                    );
                }
            }
        }
    }
}

impl TeamState {
    fn thread_changed(&mut self, team_id: Uuid, thread_id: Uuid) -> Option<HubAction> {
        let team_topic = TeamTopic::Thread(thread_id);
        let followed = self.followed.get_mut(&team_topic)?;
        match (followed.read, followed.delivered_to) {
            // The thread's followers are new, and read its position themselves.
            (ThreadRead::Idle, None) => self.wake(team_topic),
            (ThreadRead::Idle, Some(after)) => {
                followed.read = ThreadRead::Reading;
                Some(HubAction::Read {
                    team_id,
                    thread_id,
                    after,
                })
            }
            _ => {
                followed.read = ThreadRead::ReadingAgain;
                None
            }
        }
    }

    fn wake(&self, team_topic: TeamTopic) -> Option<HubAction> {
        let followed = self.followed.get(&team_topic)?;
        Some(HubAction::Wake {
            team_topic,
            sockets: followed.followers.iter().copied().collect(),
        })
    }
}

#[cfg(test)]
mod tests;
