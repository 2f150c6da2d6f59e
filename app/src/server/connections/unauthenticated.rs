//! Unauthenticated connections, and the choice of the one that is closed to make room.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use super::activity::Activity;

/// Unauthenticated connections, grouped by client address and ordered by age.
#[derive(Debug, Default)]
pub(super) struct Unauthenticated {
    total: usize,
    by_address: HashMap<IpAddr, BTreeMap<u64, Arc<Activity>>>,
    /// The same addresses, ordered by their number of connections.
    by_count: BTreeSet<(usize, IpAddr)>,
}

impl Unauthenticated {
    pub(super) fn len(&self) -> usize {
        self.total
    }

    pub(super) fn insert(&mut self, id: u64, address: IpAddr, activity: Arc<Activity>) {
        let network = network(address);
        let of_address = self.by_address.entry(network).or_default();
        self.by_count.remove(&(of_address.len(), network));
        of_address.insert(id, activity);
        self.by_count.insert((of_address.len(), network));
        self.total += 1;
    }

    pub(super) fn remove(&mut self, id: u64, address: IpAddr) -> Option<Arc<Activity>> {
        let network = network(address);
        let of_address = self.by_address.get_mut(&network)?;
        let removed = of_address.remove(&id)?;
        let left = of_address.len();
        if left == 0 {
            self.by_address.remove(&network);
        }
        self.by_count.remove(&(left + 1, network));
        if left > 0 {
            self.by_count.insert((left, network));
        }
        self.total -= 1;
        Some(removed)
    }

    /// Removes and returns the connection to close, if there is one. It is chosen from the address that has the most
    /// connections, so that a client with many closes its own: the oldest without a request under way, else the oldest
    /// whose requests all wait for their client.
    pub(super) fn take_one(&mut self) -> Option<Arc<Activity>> {
        let (id, network) = self.by_count.iter().rev().find_map(|(_, network)| {
            let of_address = self.by_address.get(network)?;
            let oldest = |may: fn(&Activity) -> bool| of_address.iter().find(|(_, activity)| may(activity));
            let (id, _) = oldest(Activity::is_idle).or_else(|| oldest(Activity::waits_for_its_client))?;
            Some((*id, *network))
        })?;
        self.remove(id, network)
    }
}

/// Returns what counts as one client: an IPv4 address, or the IPv6 network of a subscriber.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_address_with_most_connections_loses_one() {
        let mut connections = Unauthenticated::default();
        let mut activities = Vec::new();
        for (id, from) in [(1, "10.0.0.1"), (2, "10.0.0.2"), (3, "10.0.0.2"), (4, "10.0.0.2")] {
            let activity = Arc::new(Activity::new(Clock::system(), || {}));
            activities.push((id, activity.clone()));
            connections.insert(id, address(from), activity);
        }
        let mut taken = Vec::new();
        while let Some(activity) = connections.take_one() {
            let same = activities.iter().find(|(_, known)| Arc::ptr_eq(known, &activity));
            taken.extend(same.map(|(id, _)| *id));
        }
        // If two addresses have the same number, the greater address is chosen.
        assert_eq!(taken, [2, 3, 4, 1]);
        assert_eq!(connections.len(), 0);
        assert!(connections.by_count.is_empty() && connections.by_address.is_empty());
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        assert_eq!(network(address("2001:db8::1")), network(address("2001:db8::ffff:2")));
        assert_ne!(network(address("2001:db8::1")), network(address("2001:db8:0:1::1")));
        assert_eq!(network(address("::ffff:10.0.0.1")), address("10.0.0.1"));
    }
}
