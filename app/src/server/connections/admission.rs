//! Admits connections, counts them, and makes room for new ones.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::activity::Activity;
use super::counts::{ConnectionCounts, Counts};
use super::limits::ConnectionLimits;
use super::unauthenticated::Unauthenticated;
use crate::clock::Clock;

/// Maximum number of connections beyond the limit that are being closed to make room for newer ones.
pub(super) const MAX_CLOSING: usize = 16;

/// The connections of a process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Connections(pub(super) Arc<ConnectionsState>);

/// The state that the connections of a process share.
#[derive(Debug)]
pub(super) struct ConnectionsState {
    pub(super) limits: ConnectionLimits,
    /// Measures how long connections are idle.
    clock: Clock,
    /// Open sockets, including upgraded ones.
    open: AtomicUsize,
    next_id: AtomicU64,
    pub(super) unauthenticated: Mutex<Unauthenticated>,
    pub(super) counts: Counts,
}

impl Connections {
    /// Creates an empty set of connections. Their timeouts are measured with `clock`.
    pub fn new(limits: ConnectionLimits, clock: Clock) -> Self {
        Self(Arc::new(ConnectionsState {
            limits,
            counts: Counts::new(clock.clone()),
            clock,
            open: AtomicUsize::new(0),
            next_id: AtomicU64::new(1),
            unauthenticated: Mutex::default(),
        }))
    }

    /// Returns statistics about the connections.
    pub fn counts(&self) -> ConnectionCounts {
        let open = self.0.open.load(Ordering::Relaxed);
        let unauthenticated = self.0.unauthenticated.lock().len();
        self.0.counts.read(open, unauthenticated, self.0.limits.max)
    }

    /// Counts one more connection, and closes an older one if that is needed to make room. Returns `None` if the limit
    /// is reached.
    pub(super) fn admit(&self, peer: SocketAddr) -> Option<(ConnectionGuard, Arc<Activity>)> {
        let shared = &self.0;
        let limits = &shared.limits;
        // Only the task that accepts connections adds some, so the numbers can't grow between the check and the
        // insertion.
        let open = shared.open.load(Ordering::Acquire);
        let mut unauthenticated = shared.unauthenticated.lock();
        let full = open >= limits.max || unauthenticated.len() >= limits.max_unauthenticated;
        if full {
            if open >= limits.max + MAX_CLOSING {
                return None;
            }
            unauthenticated.take_one()?.close();
            shared.counts.closed_for_room();
        }
        let id = shared.next_id.fetch_add(1, Ordering::Relaxed);
        let (address, weak) = (peer.ip(), Arc::downgrade(shared));
        let activity = Arc::new(Activity::new(shared.clock.clone(), move || {
            if let Some(shared) = weak.upgrade() {
                shared.keep(id, address);
            }
        }));
        unauthenticated.insert(id, address, activity.clone());
        shared.open.fetch_add(1, Ordering::AcqRel);
        let guard = ConnectionGuard {
            shared: shared.clone(),
            id,
            address,
        };
        Some((guard, activity))
    }
}

impl ConnectionsState {
    /// Exempts a connection from being closed to make room.
    fn keep(&self, id: u64, address: IpAddr) {
        self.unauthenticated.lock().remove(id, address);
    }

    /// Removes a closed socket from the count.
    fn leave(&self, id: u64, address: IpAddr) {
        self.keep(id, address);
        self.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// An open connection of the process, counted until this is dropped.
#[derive(Debug)]
pub(super) struct ConnectionGuard {
    shared: Arc<ConnectionsState>,
    id: u64,
    address: IpAddr,
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.shared.leave(self.id, self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn peer() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 1))
    }

    fn connections(max: usize) -> Connections {
        let http = Config::from_lookup(&|_| None).unwrap().http;
        let mut limits = ConnectionLimits::new(&http, 1_000);
        limits.max = max;
        limits.max_unauthenticated = max / 2;
        Connections::new(limits, Clock::system())
    }

    #[test]
    fn the_oldest_idle_unauthenticated_connection_makes_room() {
        let connections = connections(4);
        let (first_guard, first) = connections.admit(peer()).unwrap();
        let (_second_guard, second) = connections.admit(peer()).unwrap();
        // The first connection has a request under way, so it is not closed although it is the oldest.
        let request = first.begin();
        let (_third_guard, third) = connections.admit(peer()).unwrap();
        assert!(!first.is_closing() && second.is_closing() && !third.is_closing());
        let counts = connections.counts();
        assert_eq!((counts.open, counts.unauthenticated, counts.closed_for_room), (3, 2, 1));
        drop((request, first_guard));
        assert_eq!(connections.counts().open, 2);
    }

    #[test]
    fn authenticated_connections_are_never_closed_for_room() {
        let connections = connections(4);
        let mut guards = Vec::new();
        for _ in 0..4 {
            let (guard, activity) = connections.admit(peer()).unwrap();
            activity.begin().client().authenticated();
            guards.push((guard, activity));
        }
        assert!(connections.admit(peer()).is_none(), "all connections are authenticated");
        assert!(guards.iter().all(|(_, activity)| !activity.is_closing()));
        guards.pop();
        assert!(connections.admit(peer()).is_some());
    }

    #[test]
    fn busy_unauthenticated_connections_leave_half_to_members() {
        let connections = connections(4);
        let mut kept = Vec::new();
        for _ in 0..2 {
            let (guard, activity) = connections.admit(peer()).unwrap();
            let request = activity.begin();
            kept.push((guard, activity, request));
        }
        assert!(
            connections.admit(peer()).is_none(),
            "the share of unauthenticated connections is used up"
        );
        // A connection whose client sends nothing of the request's body may be closed.
        kept[1].2.client().waits_for_body(true);
        assert!(connections.admit(peer()).is_some());
        assert!(kept[1].1.is_closing());
    }

    #[test]
    fn there_are_never_many_more_than_the_limit() {
        let connections = connections(4);
        let mut guards = Vec::new();
        while let Some(admitted) = connections.admit(peer()) {
            guards.push(admitted);
        }
        assert_eq!(guards.len(), 4 + MAX_CLOSING);
    }
}
