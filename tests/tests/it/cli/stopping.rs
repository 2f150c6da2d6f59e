//! Tests how a service stops while clients are still connected.

use std::io::Write;
use std::net::TcpStream;

use daybook_tests::wait_for_blocked_session;
use nix::sys::signal::Signal;
use reqwest::{Method, StatusCode};
use serde_json::json;
use sqlx::Connection as _;

use super::harness::{Folder, Service};
use crate::runs::process::{Service as RunningService, ServiceFixture, free_port};

/// In seconds: a service that waits that long is still running when the test's timeout ends.
const LONG_TIMEOUT_S: &str = "300";

/// Opens a client that sends half a request and then nothing, and waits until the service has accepted it.
fn slow_client(service: &Service) -> TcpStream {
    let mut socket = TcpStream::connect(&service.address).unwrap();
    socket.write_all(b"GET /healthz HTTP/1.1\r\nhost: da").unwrap();
    // Connections are accepted in order: once this one is answered, the other is there too.
    assert_eq!(
        service.request("GET", "/healthz", "", None),
        (200, json!({"status": "ok"}))
    );
    socket
}

#[test]
fn a_slow_client_does_not_keep_the_service_from_stopping() {
    let folder = Folder::new();
    let mut command = folder.command(&["serve"]);
    command
        .env("DAYBOOK_REQUEST_TIMEOUT", "1")
        .env("DAYBOOK_HEADER_TIMEOUT", LONG_TIMEOUT_S);
    let mut service = Service::start_command(&folder, command);
    let _socket = slow_client(&service);

    assert!(service.end(Signal::SIGTERM).success());
    assert_eq!(folder.postgres_pid(), None, "its PostgreSQL ends with it");
}

#[test]
fn a_second_signal_ends_the_service_at_once() {
    let folder = Folder::new();
    let mut command = folder.command(&["serve"]);
    command
        .env("DAYBOOK_REQUEST_TIMEOUT", LONG_TIMEOUT_S)
        .env("DAYBOOK_HEADER_TIMEOUT", LONG_TIMEOUT_S);
    let mut service = Service::start_command(&folder, command);
    let _socket = slow_client(&service);

    service.signal(Signal::SIGTERM);
    service.wait_for_stderr("stopping");
    assert!(service.end(Signal::SIGINT).success());
}

/// The request of a client that has gone leaves a statement that waits for a lock, and that keeps its connection.
#[tokio::test]
async fn a_statement_that_waits_for_a_lock_does_not_keep_the_service_from_stopping() {
    let place = ServiceFixture::new().await;
    let port = free_port();
    let mut command = place.command(port, place.storage.path());
    // It also limits statements: this one waits as long as the lock is held.
    command.env("DAYBOOK_REQUEST_TIMEOUT", LONG_TIMEOUT_S);
    let service = RunningService::start(command, port).await;
    let new = json!({"name": "Spring", "budget": "1"});
    let (status, campaign) = place.post(port, "/campaigns", &new).await.unwrap();
    assert_eq!(status, StatusCode::CREATED, "{campaign}");
    let id = campaign["id"].as_str().unwrap().to_owned();
    let mut connection = place.team.connection().await;
    let mut holding = connection.begin().await.unwrap();
    sqlx::query("SELECT FROM campaigns WHERE id = $1::uuid FOR UPDATE")
        .bind(&id)
        .fetch_one(&mut *holding)
        .await
        .unwrap();
    let change = place.request(port, Method::PATCH, &format!("/campaigns/{id}"));
    let change = change.header("if-match", "*").json(&json!({"budget": "2"}));
    let client = tokio::spawn(change.send());
    wait_for_blocked_session(&place.db).await;
    client.abort();

    service.stop().await;
    holding.rollback().await.unwrap();
}
