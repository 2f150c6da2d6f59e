//! The clients that send requests to a server.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread;

const CONNECTIONS: u64 = 8;
const REQUEST: &[u8] = b"GET /carts/7 HTTP/1.1\r\nhost: shop.test\r\nuser-agent: bench/1\r\naccept: */*\r\n\r\n";

/// Sends a number of requests over a few open connections, one after the other on each.
pub fn requests(address: SocketAddr, requests: u64) {
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|_| thread::spawn(move || client(address, requests / CONNECTIONS)))
        .collect();
    for client in clients {
        client.join().unwrap();
    }
}

fn client(address: SocketAddr, requests: u64) {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_nodelay(true).unwrap();
    let mut buffer = [0; 2048];
    for _ in 0..requests {
        socket.write_all(REQUEST).unwrap();
        let mut read = 0;
        while !buffer[..read].ends_with(b"\r\n\r\nok") {
            let bytes = socket.read(&mut buffer[read..]).unwrap();
            assert!(bytes > 0, "the server closed the connection");
            read += bytes;
        }
    }
}

/// Returns the requests per second that `wrk` reports.
pub fn wrk(address: SocketAddr) -> f64 {
    let output = Command::new("wrk")
        .args(["-t1", "-c64", "-d3s", &format!("http://{address}/carts/7")])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.starts_with("Requests/sec:")).unwrap();
    line.trim_start_matches("Requests/sec:").trim().parse().unwrap()
}
