//! Tests of the hub: a property test with sockets, threads and lost signals in any order, and what it can't show, that a
//! change isn't left to the next look-up.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::threads::thread_signal;

const TEAM: Uuid = Uuid::from_u128(1);
const THREADS: u128 = 3;
const SOCKETS: u64 = 4;

#[derive(Debug, Clone)]
enum WorldStep {
    /// A thread gets a message. Its signal is delivered or lost.
    Post {
        thread: u128,
        delivered: bool,
    },
    Join(u64),
    Leave(u64),
    Follow(u64, u128),
    Unfollow(u64, u128),
    /// A socket that is behind reads to the end for itself.
    Pull(u64, u128),
    /// The oldest pending read ends, successfully or not.
    Read {
        succeeds: bool,
        page: i64,
    },
    LookUp,
}

fn step() -> impl Strategy<Value = WorldStep> {
    let (thread, socket) = (0..THREADS, 0..SOCKETS);
    prop_oneof![
        4 => (thread.clone(), any::<bool>()).prop_map(|(thread, delivered)| WorldStep::Post { thread, delivered }),
        1 => socket.clone().prop_map(WorldStep::Join),
        1 => socket.clone().prop_map(WorldStep::Leave),
        2 => (socket.clone(), thread.clone()).prop_map(|(socket, thread)| WorldStep::Follow(socket, thread)),
        1 => (socket.clone(), thread.clone()).prop_map(|(socket, thread)| WorldStep::Unfollow(socket, thread)),
        3 => (socket, thread).prop_map(|(socket, thread)| WorldStep::Pull(socket, thread)),
        4 => (prop::bool::weighted(0.9), 1..4_i64).prop_map(|(succeeds, page)| WorldStep::Read { succeeds, page }),
        1 => Just(WorldStep::LookUp),
    ]
}

/// A socket's state as in `subscriptions`: for each thread the cursor, and whether the socket knows that it is behind.
#[derive(Debug, Default)]
struct SimulatedSocket {
    threads: BTreeMap<u128, (i64, bool)>,
}

#[derive(Debug, Default)]
struct World {
    hub: Hub,
    heads: BTreeMap<u128, i64>,
    clients: BTreeMap<u64, SimulatedSocket>,
    pending_reads: Vec<(u128, i64)>,
}

fn cursor(seq: i64) -> Cursor {
    Cursor { seq, revision: 0 }
}

impl World {
    fn act(&mut self, action: HubAction) {
        match action {
            HubAction::Read { thread_id, after, .. } => self.pending_reads.push((thread_id.as_u128(), after.seq)),
            HubAction::Wake {
                team_topic: TeamTopic::Thread(id),
                sockets,
            } => {
                for socket in sockets {
                    let client = self
                        .clients
                        .get_mut(&socket.0)
                        .expect("the hub wakes only connected sockets");
                    client
                        .threads
                        .get_mut(&id.as_u128())
                        .expect("the hub wakes only followers")
                        .1 = true;
                }
            }
            HubAction::Wake { .. } => unreachable!("this test follows only threads"),
            HubAction::LookUp { .. } => self.look_up(),
        }
    }

    fn look_up(&mut self) {
        for thread in self.hub.followed_threads(TEAM) {
            let head = self.heads.get(&thread.as_u128()).copied().unwrap_or_default();
            if let Some(action) = self.hub.thread_head(TEAM, thread, cursor(head)) {
                self.act(action);
            }
        }
    }

    fn read(&mut self, succeeds: bool, page: i64) {
        if self.pending_reads.is_empty() {
            return;
        }
        let (thread, after) = self.pending_reads.remove(0);
        let head = self.heads.get(&thread).copied().unwrap_or_default();
        let to = head.min(after + page);
        let reading = if succeeds {
            ReadOutcome::To(cursor(to), to < head)
        } else {
            ReadOutcome::Failed
        };
        let (followers, next) = self
            .hub
            .thread_read(TEAM, Uuid::from_u128(thread), cursor(after), reading);
        for socket in followers {
            let (has, behind) = self
                .clients
                .get_mut(&socket.0)
                .and_then(|client| client.threads.get_mut(&thread))
                .expect("only followers receive deliveries");
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
        assert!(*has <= head, "no client is ahead of the thread");
        *has = head;
        if let Some(action) = self.hub.follower_reached(TEAM, Uuid::from_u128(thread), cursor(head)) {
            self.act(action);
        }
    }

    fn take(&mut self, step: WorldStep) {
        match step {
            WorldStep::Post { thread, delivered } => {
                *self.heads.entry(thread).or_default() += 1;
                if delivered {
                    let topic = thread_signal(Uuid::from_u128(thread));
                    for action in self.hub.signal(&Signal { team_id: TEAM, topic }) {
                        self.act(action);
                    }
                }
            }
            WorldStep::Join(socket) => {
                if let std::collections::btree_map::Entry::Vacant(client) = self.clients.entry(socket) {
                    client.insert(SimulatedSocket::default());
                    self.hub.join(SocketId(socket), TEAM);
                }
            }
            WorldStep::Leave(socket) => {
                self.clients.remove(&socket);
                self.hub.leave(SocketId(socket));
            }
            WorldStep::Follow(socket, thread) => {
                if let Some(client) = self.clients.get_mut(&socket) {
                    client.threads.entry(thread).or_insert((0, true));
                    self.hub
                        .follow(SocketId(socket), TeamTopic::Thread(Uuid::from_u128(thread)));
                }
            }
            WorldStep::Unfollow(socket, thread) => {
                if let Some(client) = self.clients.get_mut(&socket) {
                    client.threads.remove(&thread);
                    self.hub
                        .unfollow(SocketId(socket), TeamTopic::Thread(Uuid::from_u128(thread)));
                }
            }
            WorldStep::Pull(socket, thread) => self.pull(socket, thread),
            WorldStep::Read { succeeds, page } => self.read(succeeds, page),
            WorldStep::LookUp => self.look_up(),
        }
    }

    /// Completes pending reads and look-ups, without new messages.
    fn settle(&mut self) {
        let everything = || (0..SOCKETS).flat_map(|socket| (0..THREADS).map(move |thread| (socket, thread)));
        for _ in 0..2 {
            self.look_up();
            for _ in 0..200 {
                self.read(true, 3);
                everything().for_each(|(socket, thread)| self.pull(socket, thread));
            }
        }
        assert!(self.pending_reads.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn every_follower_receives_every_message_in_the_end(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World::default();
        for step in steps {
            world.take(step);
            world.hub.check_invariants();
            for thread in 0..THREADS {
                let under_way = world.hub.followed(TEAM, TeamTopic::Thread(Uuid::from_u128(thread)))
                    .is_some_and(|followed| followed.read != ThreadRead::Idle);
                let pending_reads = world.pending_reads.iter().filter(|(read, _)| *read == thread).count();
                prop_assert!(!under_way || pending_reads > 0, "a read in progress that is not pending");
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

/// The read may have seen the thread before the change that the second signal announces.
#[test]
fn a_signal_during_a_read_leads_to_one_more_read() {
    let thread = Uuid::from_u128(1);
    let signal = Signal {
        team_id: TEAM,
        topic: thread_signal(thread),
    };
    let read_after = |seq| HubAction::Read {
        team_id: TEAM,
        thread_id: thread,
        after: cursor(seq),
    };
    let mut hub = Hub::default();
    hub.join(SocketId(1), TEAM);
    hub.follow(SocketId(1), TeamTopic::Thread(thread));
    assert_eq!(hub.follower_reached(TEAM, thread, cursor(0)), None);

    assert_eq!(hub.signal(&signal), [read_after(0)]);
    for _ in 0..2 {
        assert_eq!(hub.signal(&signal), [], "at most one read is in progress");
    }
    let ended = hub.thread_read(TEAM, thread, cursor(0), ReadOutcome::To(cursor(1), false));
    assert_eq!(ended, (vec![SocketId(1)], Some(read_after(1))));
    // No signal has arrived since the second read began.
    let ended = hub.thread_read(TEAM, thread, cursor(1), ReadOutcome::To(cursor(2), false));
    assert_eq!(ended, (vec![SocketId(1)], None));
}
