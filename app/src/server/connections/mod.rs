//! A process's connections: their limits, which connections are kept, and when a connection is closed.
//!
//! **The life of a connection.** A new connection gets a [`ConnectionGuard`], or is refused with a plain `503` if the
//! limit is reached. It must send the head of its first request within the header timeout. After that it may be idle
//! between two requests for the idle timeout. A request whose body makes no progress ends after the body timeout (see
//! `uploads`). A connection whose client doesn't read a response is closed by the answer timeout here and by
//! `TCP_USER_TIMEOUT` in the kernel. The guard belongs to the socket itself, so that a WebSocket, which outlives its
//! request, still counts.
//!
//! **A share for authenticated work.** A connection is *unauthenticated* until one of its requests has entered a team.
//! Only a share of all connections may be unauthenticated. When this share, or the total limit, is used up, one
//! unauthenticated connection is closed to make room. It is chosen from the address that has the most connections: the
//! oldest without a request under way, else the oldest whose requests all wait for their client. So an unauthenticated
//! client can only shorten the life of idle unauthenticated connections, its own first.
//!
//! **Invariant:** the number of open sockets is at most the limit plus [`MAX_CLOSING`].

mod accept;
mod activity;
mod counts;
mod descriptors;
mod service;
mod socket;
mod unauthenticated;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use self::activity::Activity;
pub use self::counts::ConnectionCounts;
use self::counts::Counts;
pub use self::descriptors::raise_descriptor_limit;
use self::socket::ConnectionGuard;
use self::unauthenticated::Unauthenticated;
use crate::config::HttpConfig;

/// Maximum number of connections beyond the limit that are being closed to make room for newer ones.
const MAX_CLOSING: usize = 16;
/// Minimum number of connections of a process, and maximum if the settings don't set one.
const DEFAULT_RANGE: std::ops::RangeInclusive<u64> = 16..=65_536;
/// Timeout for the client to read one piece of a response (at most 64 KiB), as a multiple of the write timeout.
const WRITE_TIMEOUTS_PER_PIECE: u32 = 4;

/// The limits of a process's connections.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    /// Maximum number of connections.
    pub max: usize,
    /// Maximum number of unauthenticated connections.
    pub max_unauthenticated: usize,
    /// Maximum time for a new connection to send the head of its first request.
    pub header_timeout: Duration,
    /// Maximum time that a connection may stay open without a request.
    pub idle_timeout: Duration,
    /// Maximum time without an acknowledgement of sent data by the client.
    pub write_timeout: Duration,
}

impl ConnectionLimits {
    /// Returns the limits from the settings, for a process with this limit of descriptors.
    pub fn new(config: &HttpConfig, descriptors: u64) -> Self {
        let half = (descriptors / 2).clamp(*DEFAULT_RANGE.start(), *DEFAULT_RANGE.end());
        let max = config
            .connections
            .max
            .unwrap_or_else(|| usize::try_from(half).unwrap_or(usize::MAX));
        Self {
            max,
            max_unauthenticated: (max / 2).max(1),
            header_timeout: config.connections.header_timeout,
            idle_timeout: config.connections.idle_timeout,
            write_timeout: config.write_timeout,
        }
    }

    /// Returns the maximum time that a piece of a response may wait for its client.
    fn answer_timeout(&self) -> Duration {
        self.write_timeout * WRITE_TIMEOUTS_PER_PIECE
    }
}

/// The connections of a process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Connections(Arc<ConnectionsState>);

#[derive(Debug)]
struct ConnectionsState {
    limits: ConnectionLimits,
    /// Open sockets, including upgraded ones.
    open: AtomicUsize,
    next_id: AtomicU64,
    unauthenticated: Mutex<Unauthenticated>,
    counts: Counts,
}

impl Connections {
    /// Creates an empty set of connections.
    pub fn new(limits: ConnectionLimits) -> Self {
        Self(Arc::new(ConnectionsState {
            limits,
            open: AtomicUsize::new(0),
            next_id: AtomicU64::new(1),
            unauthenticated: Mutex::default(),
            counts: Counts::default(),
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
    fn admit(&self, peer: SocketAddr) -> Option<(ConnectionGuard, Arc<Activity>)> {
        let shared = &self.0;
        let limits = &shared.limits;
        // Only the accepting task adds connections, so the numbers can't grow between check and insertion.
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
        let activity = Arc::new(Activity::new(id, peer.ip(), Arc::downgrade(shared)));
        unauthenticated.insert(id, peer.ip(), activity.clone());
        shared.open.fetch_add(1, Ordering::AcqRel);
        Some((ConnectionGuard::new(shared.clone(), id, peer.ip()), activity))
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
        Connections::new(limits)
    }

    #[test]
    fn the_default_is_half_of_the_descriptors() {
        let http = Config::from_lookup(&|_| None).unwrap().http;
        let max = |descriptors| ConnectionLimits::new(&http, descriptors).max;
        assert_eq!((max(400), max(10), max(u64::MAX)), (200, 16, 65_536));
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
