//! Who follows what, how far each thread has been told, and what to do about a hint: no sockets, no database,
//! no clock.
//!
//! **Threads** are read once for all their followers. The hub knows the place up to which a thread has been told
//! (`told`), and each delivery says from where to where it goes. A follower that isn't at its beginning (who has
//! just come, or was too slow for one) reads for itself, until it is.
//!
//! **Everything else** is read by each follower for itself: a hint wakes it.
//!
//! **Invariant:** of one thread at most one reading is under way, so that deliveries of a thread follow each other
//! without a gap. A hint that comes meanwhile is remembered, and answered by another reading.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use uuid::Uuid;

use crate::tenancy::{Hint, Moved};
use crate::threads::Cursor;

/// A socket, by a number of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub u64);

/// A topic of a team. Of notifications: a person's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
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

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Read what a thread has above `after`, and come back with [`Hub::read`].
    Read {
        /// The team.
        team_id: Uuid,
        /// The thread.
        thread_id: Uuid,
        /// The place up to which it has been told.
        after: Cursor,
    },
    /// Tell these sockets to look for themselves.
    Wake {
        /// At what.
        subject: Subject,
        /// Who.
        sockets: Vec<SocketId>,
    },
    /// Ask where the team's followed threads are, and come back with [`Hub::found`].
    LookUp {
        /// The team.
        team_id: Uuid,
    },
}

/// What came of a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Read up to there; `more` follows.
    To(Cursor, bool),
    /// It failed. The next look-up finds that the thread is ahead.
    Failed,
}

#[derive(Debug, Default)]
struct Team {
    followed: BTreeMap<Subject, Followed>,
}

#[derive(Debug, Default)]
struct Followed {
    by: BTreeSet<SocketId>,
    /// Of a thread: up to where it has been told; none until a follower has found out where it is.
    told: Option<Cursor>,
    work: Work,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Work {
    #[default]
    None,
    Reading,
    /// And once more after that.
    ReadingAgain,
}

/// Who follows what.
#[derive(Debug, Default)]
pub struct Hub {
    teams: HashMap<Uuid, Team>,
    sockets: HashMap<SocketId, (Uuid, HashSet<Subject>)>,
}

impl Hub {
    /// Lets a socket in.
    pub fn join(&mut self, socket: SocketId, team_id: Uuid) {
        self.sockets.insert(socket, (team_id, HashSet::new()));
    }

    /// A socket is gone.
    pub fn leave(&mut self, socket: SocketId) {
        let Some((team_id, subjects)) = self.sockets.remove(&socket) else {
            return;
        };
        for subject in subjects {
            self.forget(team_id, subject, socket);
        }
    }

    /// A socket follows a subject from now on. It looks where the subject is after this, so that whatever happens
    /// meanwhile is hinted at, or seen.
    pub fn follow(&mut self, socket: SocketId, subject: Subject) {
        let Some((team_id, subjects)) = self.sockets.get_mut(&socket) else {
            return;
        };
        subjects.insert(subject);
        let team = self.teams.entry(*team_id).or_default();
        team.followed.entry(subject).or_default().by.insert(socket);
    }

    /// A socket follows a subject no longer.
    pub fn unfollow(&mut self, socket: SocketId, subject: Subject) {
        let Some((team_id, subjects)) = self.sockets.get_mut(&socket) else {
            return;
        };
        let team_id = *team_id;
        if subjects.remove(&subject) {
            self.forget(team_id, subject, socket);
        }
    }

    /// A follower has read a thread for itself, up to `cursor`, where it ended. The hub goes on from there; others
    /// that it has told less are told first.
    pub fn reached(&mut self, team_id: Uuid, thread_id: Uuid, cursor: Cursor) -> Option<Action> {
        let followed = self.followed(team_id, Subject::Thread(thread_id))?;
        if followed.told.is_none() {
            followed.told = Some(cursor);
        }
        self.found(team_id, thread_id, cursor)
    }

    /// Something has moved, or may have.
    pub fn hint(&mut self, hint: Hint) -> Vec<Action> {
        let team_id = hint.team_id;
        let Some(team) = self.teams.get_mut(&team_id) else {
            return Vec::new();
        };
        let mut actions = Vec::new();
        match hint.moved {
            Moved::Thread(id) => {
                actions.extend(team.thread_moved(team_id, id));
                actions.extend(team.wake(Subject::Threads));
            }
            Moved::Threads => {
                if team
                    .followed
                    .keys()
                    .any(|subject| matches!(subject, Subject::Thread(_)))
                {
                    actions.push(Action::LookUp { team_id });
                }
                actions.extend(team.wake(Subject::Threads));
            }
            Moved::JobSessions => actions.extend(team.wake(Subject::JobSessions)),
            Moved::Runs => actions.extend(team.wake(Subject::Runs)),
            // For the workers, not for a socket.
            Moved::Work | Moved::Cancelled(_) | Moved::Access => {}
            Moved::Notifications(person) => actions.extend(team.wake(Subject::Notifications(person))),
        }
        actions
    }

    /// Where a thread is, as a look-up found.
    pub fn found(&mut self, team_id: Uuid, thread_id: Uuid, head: Cursor) -> Option<Action> {
        let team = self.teams.get_mut(&team_id)?;
        let told = team.followed.get(&Subject::Thread(thread_id))?.told;
        (told < Some(head)).then(|| team.thread_moved(team_id, thread_id))?
    }

    /// The reading of a thread from `after` on has ended. Its followers get what was read, unless it failed; then
    /// comes another one, if there is more.
    pub fn read(
        &mut self,
        team_id: Uuid,
        thread_id: Uuid,
        after: Cursor,
        reading: Reading,
    ) -> (Vec<SocketId>, Option<Action>) {
        let nobody = (Vec::new(), None);
        let Some(followed) = self.followed(team_id, Subject::Thread(thread_id)) else {
            return nobody;
        };
        // All its followers had left, and others have come since: it isn't theirs.
        if followed.work == Work::None || followed.told != Some(after) {
            return nobody;
        }
        let again = followed.work == Work::ReadingAgain;
        followed.work = Work::None;
        let Reading::To(to, more) = reading else { return nobody };
        followed.told = Some(to);
        let followers = followed.by.iter().copied().collect();
        let next = (again || more).then(|| {
            followed.work = Work::Reading;
            Action::Read {
                team_id,
                thread_id,
                after: to,
            }
        });
        (followers, next)
    }

    /// Those who follow all of a team's threads or sessions should look, hinted at or not.
    pub fn look_around(&self, team_id: Uuid) -> Vec<Action> {
        let Some(team) = self.teams.get(&team_id) else {
            return Vec::new();
        };
        let followed = [Subject::Threads, Subject::JobSessions, Subject::Runs];
        followed.into_iter().filter_map(|subject| team.wake(subject)).collect()
    }

    /// A team's followed threads.
    pub fn threads(&self, team_id: Uuid) -> Vec<Uuid> {
        self.subjects(team_id)
            .filter_map(|subject| match subject {
                Subject::Thread(id) => Some(id),
                _ => None,
            })
            .collect()
    }

    /// The people of a team whose notifications are followed.
    pub fn people(&self, team_id: Uuid) -> Vec<Uuid> {
        self.subjects(team_id)
            .filter_map(|subject| match subject {
                Subject::Notifications(person) => Some(person),
                _ => None,
            })
            .collect()
    }

    fn subjects(&self, team_id: Uuid) -> impl Iterator<Item = Subject> + '_ {
        self.teams
            .get(&team_id)
            .into_iter()
            .flat_map(|team| team.followed.keys().copied())
    }

    fn followed(&mut self, team_id: Uuid, subject: Subject) -> Option<&mut Followed> {
        self.teams.get_mut(&team_id)?.followed.get_mut(&subject)
    }

    fn forget(&mut self, team_id: Uuid, subject: Subject, socket: SocketId) {
        let Some(team) = self.teams.get_mut(&team_id) else {
            return;
        };
        if let Some(followed) = team.followed.get_mut(&subject) {
            followed.by.remove(&socket);
            if followed.by.is_empty() {
                // A reading that is still under way finds nobody to tell.
                team.followed.remove(&subject);
            }
        }
        if team.followed.is_empty() {
            self.teams.remove(&team_id);
        }
    }

    /// Panics where the two ways in which it keeps who follows what disagree.
    #[cfg(test)]
    fn check_invariants(&self) {
        for (socket, (team_id, subjects)) in &self.sockets {
            for subject in subjects {
                assert!(self.teams[team_id].followed[subject].by.contains(socket));
            }
        }
        for (team_id, team) in &self.teams {
            assert!(!team.followed.is_empty());
            for (subject, followed) in &team.followed {
                assert!(!followed.by.is_empty());
                for socket in &followed.by {
                    let (of, subjects) = &self.sockets[socket];
                    assert!(of == team_id && subjects.contains(subject));
                }
                if !matches!(subject, Subject::Thread(_)) {
                    assert!(followed.told.is_none() && followed.work == Work::None);
                }
                if followed.work != Work::None {
                    assert!(followed.told.is_some(), "a reading begins somewhere");
                }
            }
        }
    }
}

impl Team {
    fn thread_moved(&mut self, team_id: Uuid, thread_id: Uuid) -> Option<Action> {
        let subject = Subject::Thread(thread_id);
        let followed = self.followed.get_mut(&subject)?;
        match (followed.work, followed.told) {
            // Its followers have only just come, and find out for themselves where it is.
            (Work::None, None) => self.wake(subject),
            (Work::None, Some(after)) => {
                followed.work = Work::Reading;
                Some(Action::Read {
                    team_id,
                    thread_id,
                    after,
                })
            }
            _ => {
                followed.work = Work::ReadingAgain;
                None
            }
        }
    }

    fn wake(&self, subject: Subject) -> Option<Action> {
        let followed = self.followed.get(&subject)?;
        Some(Action::Wake {
            subject,
            sockets: followed.by.iter().copied().collect(),
        })
    }
}

#[cfg(test)]
mod tests;
