//! How a service ends while somebody is still connected.

use std::io::Write;
use std::net::TcpStream;

use nix::sys::signal::Signal;
use serde_json::json;

use super::harness::{Folder, Service};

/// In seconds: a service that waits for that is still there when a test's patience ends.
const LONG: &str = "300";

/// A client that sends half a request and then nothing, as the service has noticed.
fn dawdler(service: &Service) -> TcpStream {
    let mut socket = TcpStream::connect(&service.address).unwrap();
    socket.write_all(b"GET /healthz HTTP/1.1\r\nhost: da").unwrap();
    // Connections are accepted in order: once this one is answered, the other is there too.
    assert_eq!(service.ask("GET", "/healthz", "", None), (200, json!({"status": "ok"})));
    socket
}

#[test]
fn a_client_that_dawdles_keeps_no_service_from_stopping() {
    let folder = Folder::new();
    let mut command = folder.command(&["serve"]);
    command
        .env("DAYBOOK_REQUEST_TIMEOUT", "1")
        .env("DAYBOOK_HEADER_TIMEOUT", LONG);
    let mut service = Service::of(&folder, command);
    let _socket = dawdler(&service);

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
    let _socket = dawdler(&service);

    service.signal(Signal::SIGTERM);
    service.hear("stopping");
    assert!(service.end(Signal::SIGINT).success());
}
