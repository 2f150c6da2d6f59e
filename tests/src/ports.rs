//! Ports for processes that have to be told one, and find it again after a restart.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

/// The lowest port that the system may give to whoever asks for any, connections of clients among them.
const EPHEMERAL: &str = "/proc/sys/net/ipv4/ip_local_port_range";
const LOWEST: u16 = 10_000;

/// The files that say which ports are taken by this process.
static TAKEN: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A port that nobody else gets as long as this process lives: neither a test beside this one, nor a client's connection
/// while the service that listens there is started again.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    let mut taken = TAKEN.lock().unwrap();
    let folder = std::env::temp_dir().join("daybook-test-ports");
    fs::create_dir_all(&folder).unwrap();
    for _ in 0..1_000 {
        let port = rand::random_range(LOWEST..ephemeral_from());
        let file = File::create(folder.join(port.to_string())).unwrap();
        // The lock ends with the process, however that ends.
        if file.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            taken.push(file);
            return port;
        }
    }
    panic!("no port is free below {}", ephemeral_from());
}

fn ephemeral_from() -> u16 {
    let range = fs::read_to_string(EPHEMERAL).unwrap_or_default();
    let lowest = range.split_whitespace().next().and_then(|port| port.parse().ok());
    lowest.filter(|lowest| *lowest > LOWEST).unwrap_or(32_768)
}
