//! Tests how a service stops while clients are still connected.

use std::io::Write;
use std::net::TcpStream;

use nix::sys::signal::Signal;
use serde_json::json;

use super::harness::{Folder, Service};

/// In seconds: a service that waits that long is still running when the test's timeout ends.
const LONG: &str = "300";

/// Opens a client that sends half a request and then nothing, and waits until the service has accepted it.
fn slow_client(service: &Service) -> TcpStream {
    let mut socket = TcpStream::connect(&service.address).unwrap();
    socket.write_all(b"GET /healthz HTTP/1.1\r\nhost: da").unwrap();
    // Connections are accepted in order: once this one is answered, the other is there too.
    assert_eq!(service.ask("GET", "/healthz", "", None), (200, json!({"status": "ok"})));
    socket
}

#[test]
fn a_slow_client_does_not_keep_the_service_from_stopping() {
    let folder = Folder::new();
    let mut command = folder.command(&["serve"]);
    command
        .env("DAYBOOK_REQUEST_TIMEOUT", "1")
        .env("DAYBOOK_HEADER_TIMEOUT", LONG);
    let mut service = Service::of(&folder, command);
    let _socket = slow_client(&service);

    assert!(service.end(Signal::SIGTERM).success());
    assert_eq!(folder.postgres_pid(), None, "its PostgreSQL ends with it");
}

#[test]
fn a_second_signal_ends_the_service_at_once() {
    let folder = Folder::new();
    let mut command = folder.command(&["serve"]);
    command
        .env("DAYBOOK_REQUEST_TIMEOUT", LONG)
        .env("DAYBOOK_HEADER_TIMEOUT", LONG);
    let mut service = Service::of(&folder, command);
    let _socket = slow_client(&service);

    service.signal(Signal::SIGTERM);
    service.hear("stopping");
    assert!(service.end(Signal::SIGINT).success());
}
