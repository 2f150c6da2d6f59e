//! Ports for services that restart on the same port.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::sync::Mutex;

/// The file in which Linux gives the range of ports for clients' connections and for listeners on any port.
const EPHEMERAL_RANGE_FILE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
const LOWEST_PORT: u16 = 10_000;

/// A locked file for each port that this process has reserved.
static TAKEN: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// Reserves a port until this process ends. No other test gets it, and no client's connection gets it while the service
/// restarts.
///
/// # Panics
/// If no port is free.
pub fn free_port() -> u16 {
    let mut taken = TAKEN.lock().unwrap();
    let uid = fs::metadata("/proc/self").map_or(0, |process| process.uid());
    let folder = std::env::temp_dir().join(format!("daybook-test-ports-{uid}"));
    fs::create_dir_all(&folder).unwrap();
    for _ in 0..1_000 {
        let port = rand::random_range(LOWEST_PORT..ephemeral_from());
        let file = File::create(folder.join(port.to_string())).unwrap();
        // The lock ends with the process, however that ends.
        if file.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            taken.push(file);
            return port;
        }
    }
    panic!("could not reserve a port below {}", ephemeral_from());
}

fn ephemeral_from() -> u16 {
    let range = fs::read_to_string(EPHEMERAL_RANGE_FILE).unwrap_or_default();
    let lowest = range.split_whitespace().next().and_then(|port| port.parse().ok());
    lowest.filter(|lowest| *lowest > LOWEST_PORT).unwrap_or(32_768)
}
