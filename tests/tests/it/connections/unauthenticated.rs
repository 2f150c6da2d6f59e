//! Unauthenticated clients that hold connections, more of them than the process has descriptors.

use std::net::Ipv4Addr;
use std::time::Instant;

use daybook_tests::WAIT_LIMIT;
use reqwest::{Method, StatusCode};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::Command;

use super::{metric, open_connection};
use crate::runs::process::{Service, ServiceFixture, free_port};

const DESCRIPTORS: usize = 400;
const UNAUTHENTICATED: usize = 600;

async fn service(fixture: &ServiceFixture, port: u16) -> Service {
    let mut command = Command::new("sh");
    let script = format!(r#"ulimit -n {DESCRIPTORS} && exec "$0" serve"#);
    command.args(["-c", &script, env!("CARGO_BIN_EXE_daybook-under-test")]);
    fixture.set_environment(&mut command, port, fixture.storage.path());
    Service::start(command, port).await
}

/// The bytes that an unauthenticated client sends before it stops.
fn openings(team: &str) -> Vec<Vec<u8>> {
    let body = |headers: &str| {
        format!("POST /v1/teams/{team}/campaigns HTTP/1.1\r\nhost: test\r\n{headers}content-length: 1000\r\n\r\n{{")
            .into_bytes()
    };
    vec![
        Vec::new(),
        b"GET /healthz HTTP/1.1\r\nhost: te".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        // The preface, settings, and the beginning of a stream's headers.
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x40\x01\x01\x00\x00\x00\x01\x82"
            .to_vec(),
        // With an Idempotency-Key, the body is read before the service knows who sent it.
        body("content-type: application/json\r\nidempotency-key: a\r\n"),
        body("content-type: application/json\r\n"),
        b"GET /healthz HTTP/1.1\r\nhost: test\r\n\r\n".to_vec(),
    ]
}

async fn unauthenticated_clients(fixture: &ServiceFixture, port: u16, from: Ipv4Addr) -> Vec<TcpStream> {
    let openings = openings(&fixture.team.id.to_string());
    let mut held = Vec::new();
    for number in 0..UNAUTHENTICATED {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let mut stream = socket.connect((Ipv4Addr::LOCALHOST, port).into()).await.unwrap();
        // It may already be closed.
        let _ = stream.write_all(&openings[number % openings.len()]).await;
        held.push(stream);
    }
    held
}

fn open_descriptors(service: &Service) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", service.pid()))
        .unwrap()
        .count()
}

#[tokio::test]
async fn unauthenticated_connections_do_not_block_members() {
    daybook::server::raise_descriptor_limit();
    let fixture = ServiceFixture::new().await;
    let port = free_port();
    let service = service(&fixture, port).await;
    assert!(
        service.stderr().contains("open files: at most 400"),
        "{}",
        service.stderr()
    );
    let send = async |fixture: &ServiceFixture| {
        // A new connection each time, as a new client has.
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("http://127.0.0.1:{port}/v1/teams/{}/threads", fixture.team.id);
        let began = Instant::now();
        loop {
            let request = http.get(&url).bearer_auth(&fixture.token).timeout(WAIT_LIMIT);
            let status = request.send().await?.status();
            // While connections are closed to make room, the newest may be refused for a short time.
            if status != StatusCode::SERVICE_UNAVAILABLE || began.elapsed() > WAIT_LIMIT {
                return Ok::<_, reqwest::Error>(status);
            }
        }
    };
    assert_eq!(send(&fixture).await.unwrap(), StatusCode::OK);

    let held = unauthenticated_clients(&fixture, port, Ipv4Addr::new(127, 0, 0, 3)).await;
    for _ in 0..10 {
        assert_eq!(send(&fixture).await.unwrap(), StatusCode::OK, "{}", service.stderr());
    }
    assert!(open_descriptors(&service) < DESCRIPTORS);
    // It also works while unauthenticated clients connect again, from another address.
    let again = unauthenticated_clients(&fixture, port, Ipv4Addr::new(127, 0, 0, 2));
    let meanwhile = async {
        for _ in 0..10 {
            assert_eq!(send(&fixture).await.unwrap(), StatusCode::OK, "{}", service.stderr());
        }
    };
    let (again, ()) = tokio::join!(again, meanwhile);
    assert!(metric(&fixture, port, "connections").await <= metric(&fixture, port, "connections_limit").await);
    assert!(metric(&fixture, port, "connections_closed_for_room_total").await > 0.0);
    assert_eq!(
        metric(&fixture, port, "accept_errors_total").await,
        0.0,
        "some descriptors always stay free"
    );

    drop((held, again));
    let (status, _) = fixture.send_request(port, Method::GET, "/threads").await.unwrap();
    assert_eq!(status, StatusCode::OK);
    service.stop().await;
}

#[tokio::test]
async fn the_soft_limit_of_open_files_is_raised() {
    let fixture = ServiceFixture::new().await;
    let port = free_port();
    let mut command = Command::new("sh");
    let script = r#"ulimit -Sn 300 && ulimit -Hn 700 && exec "$0" serve"#;
    command.args(["-c", script, env!("CARGO_BIN_EXE_daybook-under-test")]);
    fixture.set_environment(&mut command, port, fixture.storage.path());
    let service = Service::start(command, port).await;
    let log = service.stderr();
    assert!(log.contains("open files: at most 700, raised from 300"), "{log}");
    assert!(log.contains("connections: at most 350"), "{log}");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", service.pid())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().nth(3), Some("700"), "{files}");
    service.stop().await;
}

#[tokio::test]
async fn running_out_of_descriptors_is_logged_and_counted_and_the_service_recovers() {
    daybook::server::raise_descriptor_limit();
    let fixture = ServiceFixture::new().await;
    let port = free_port();
    let mut command = Command::new("sh");
    // More connections are allowed than there are descriptors.
    let script = r#"ulimit -n 120 && exec "$0" serve"#;
    command.args(["-c", script, env!("CARGO_BIN_EXE_daybook-under-test")]);
    fixture.set_environment(&mut command, port, fixture.storage.path());
    command.env("DAYBOOK_CONNECTIONS", "1000");
    let service = Service::start(command, port).await;
    let (status, _) = fixture.send_request(port, Method::GET, "/threads").await.unwrap();
    assert_eq!(status, StatusCode::OK);
    let mut held = Vec::new();
    for _ in 0..200 {
        held.push(open_connection(port, b"").await);
    }
    daybook_tests::eventually("a log line about it", async || {
        service.stderr().contains("could not be accepted")
    })
    .await;
    let lines = service.stderr().matches("could not be accepted").count();
    drop(held);
    daybook_tests::eventually("an answer", async || {
        let response = fixture.send_request(port, Method::GET, "/threads").await;
        response.is_ok_and(|(status, _)| status == StatusCode::OK)
    })
    .await;
    assert!(metric(&fixture, port, "accept_errors_total").await >= lines as f64);
    service.stop().await;
}
