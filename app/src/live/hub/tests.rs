//! The hub among sockets, threads and hints that get lost, in any order of things.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const TEAM: Uuid = Uuid::from_u128(1);
const THREADS: u128 = 3;
const SOCKETS: u64 = 4;

#[derive(Debug, Clone)]
enum Step {
    /// A thread gets a message, and its hint is heard or lost.
    Post {
        thread: u128,
        heard: bool,
    },
    Join(u64),
    Leave(u64),
    Follow(u64, u128),
    Unfollow(u64, u128),
    /// A socket that is behind reads for itself, to the end.
    Pull(u64, u128),
    /// The oldest reading that is under way ends, well or not.
    Read {
        well: bool,
        page: i64,
    },
    LookUp,
}

fn step() -> impl Strategy<Value = Step> {
    let (thread, socket) = (0..THREADS, 0..SOCKETS);
    prop_oneof![
        4 => (thread.clone(), any::<bool>()).prop_map(|(thread, heard)| Step::Post { thread, heard }),
        1 => socket.clone().prop_map(Step::Join),
        1 => socket.clone().prop_map(Step::Leave),
        2 => (socket.clone(), thread.clone()).prop_map(|(socket, thread)| Step::Follow(socket, thread)),
        1 => (socket.clone(), thread.clone()).prop_map(|(socket, thread)| Step::Unfollow(socket, thread)),
        3 => (socket, thread).prop_map(|(socket, thread)| Step::Pull(socket, thread)),
        4 => (prop::bool::weighted(0.9), 1..4_i64).prop_map(|(well, page)| Step::Read { well, page }),
        1 => Just(Step::LookUp),
    ]
}

/// A socket as `follows` has it: a cursor for each thread, and whether it knows that it is behind.
#[derive(Debug, Default)]
struct Client {
    threads: BTreeMap<u128, (i64, bool)>,
}

#[derive(Debug, Default)]
struct World {
    hub: Hub,
    heads: BTreeMap<u128, i64>,
    clients: BTreeMap<u64, Client>,
    readings: Vec<(u128, i64)>,
}

fn cursor(seq: i64) -> Cursor {
    Cursor { seq, revision: 0 }
}

impl World {
    fn act(&mut self, action: Action) {
        match action {
            Action::Read { thread_id, after, .. } => self.readings.push((thread_id.as_u128(), after.seq)),
            Action::Wake {
                subject: Subject::Thread(id),
                sockets,
            } => {
                for socket in sockets {
                    let client = self
                        .clients
                        .get_mut(&socket.0)
                        .expect("the hub wakes those who are there");
                    client.threads.get_mut(&id.as_u128()).expect("who follow").1 = true;
                }
            }
            Action::Wake { .. } => unreachable!("only threads are followed here"),
            Action::LookUp { .. } => self.look_up(),
        }
    }

    fn look_up(&mut self) {
        for thread in self.hub.threads(TEAM) {
            let head = self.heads.get(&thread.as_u128()).copied().unwrap_or_default();
            if let Some(action) = self.hub.found(TEAM, thread, cursor(head)) {
                self.act(action);
            }
        }
    }

    fn read(&mut self, well: bool, page: i64) {
        if self.readings.is_empty() {
            return;
        }
        let (thread, after) = self.readings.remove(0);
        let head = self.heads.get(&thread).copied().unwrap_or_default();
        let to = head.min(after + page);
        let reading = if well {
            Reading::To(cursor(to), to < head)
        } else {
            Reading::Failed
        };
        let (followers, next) = self.hub.read(TEAM, Uuid::from_u128(thread), cursor(after), reading);
        for socket in followers {
            let (has, behind) = self
                .clients
                .get_mut(&socket.0)
                .and_then(|client| client.threads.get_mut(&thread))
                .expect("only followers are told");
            if *has == after {
                *has = to;
            } else if *has < to {
                *behind = true;
            }
        }
        next.into_iter().for_each(|action| self.act(action));
    }

    fn pull(&mut self, socket: u64, thread: u128) {
        let head = self.heads.get(&thread).copied().unwrap_or_default();
        let Some((has, behind)) = self
            .clients
            .get_mut(&socket)
            .and_then(|client| client.threads.get_mut(&thread))
        else {
            return;
        };
        if !std::mem::take(behind) {
            return;
        }
        assert!(*has <= head, "nobody is ahead of what there is");
        *has = head;
        if let Some(action) = self.hub.reached(TEAM, Uuid::from_u128(thread), cursor(head)) {
            self.act(action);
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Post { thread, heard } => {
                *self.heads.entry(thread).or_default() += 1;
                if heard {
                    let moved = Moved::Thread(Uuid::from_u128(thread));
                    for action in self.hub.hint(Hint { team_id: TEAM, moved }) {
                        self.act(action);
                    }
                }
            }
            Step::Join(socket) => {
                if let std::collections::btree_map::Entry::Vacant(client) = self.clients.entry(socket) {
                    client.insert(Client::default());
                    self.hub.join(SocketId(socket), TEAM);
                }
            }
            Step::Leave(socket) => {
                self.clients.remove(&socket);
                self.hub.leave(SocketId(socket));
            }
            Step::Follow(socket, thread) => {
                if let Some(client) = self.clients.get_mut(&socket) {
                    client.threads.entry(thread).or_insert((0, true));
                    self.hub
                        .follow(SocketId(socket), Subject::Thread(Uuid::from_u128(thread)));
                }
            }
            Step::Unfollow(socket, thread) => {
                if let Some(client) = self.clients.get_mut(&socket) {
                    client.threads.remove(&thread);
                    self.hub
                        .unfollow(SocketId(socket), Subject::Thread(Uuid::from_u128(thread)));
                }
            }
            Step::Pull(socket, thread) => self.pull(socket, thread),
            Step::Read { well, page } => self.read(well, page),
            Step::LookUp => self.look_up(),
        }
    }

    /// Nothing new happens; what is under way ends, and everything is looked up once.
    fn settle(&mut self) {
        let everything = || (0..SOCKETS).flat_map(|socket| (0..THREADS).map(move |thread| (socket, thread)));
        for _ in 0..2 {
            self.look_up();
            for _ in 0..200 {
                self.read(true, 3);
                everything().for_each(|(socket, thread)| self.pull(socket, thread));
            }
        }
        assert!(self.readings.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn whoever_follows_gets_everything_in_the_end(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World::default();
        for step in steps {
            world.take(step);
            world.hub.check_invariants();
            for thread in 0..THREADS {
                let under_way = world.hub.followed(TEAM, Subject::Thread(Uuid::from_u128(thread)))
                    .is_some_and(|followed| followed.work != Work::None);
                let readings = world.readings.iter().filter(|(read, _)| *read == thread).count();
                prop_assert!(!under_way || readings > 0, "a reading that nobody ends");
            }
        }
        world.settle();
        world.hub.check_invariants();
        for (socket, client) in &world.clients {
            for (thread, (has, behind)) in &client.threads {
                let head = world.heads.get(thread).copied().unwrap_or_default();
                prop_assert_eq!((*has, *behind), (head, false), "socket {} of thread {}", socket, thread);
            }
        }
    }
}
