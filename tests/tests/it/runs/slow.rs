//! A test of readers that don't read.

use daybook_tests::WAIT_LIMIT;
use reqwest::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::process::{Service, ServiceFixture, free_port};

#[tokio::test]
async fn a_reader_that_does_not_read_is_disconnected_and_delays_no_other_client() {
    let fixture = ServiceFixture::new().await;
    let port = free_port();
    let mut command = fixture.command(port, fixture.storage.path());
    command.env("DAYBOOK_WRITE_TIMEOUT", "3");
    let service = Service::start(command, port).await;
    let run = fixture.run(port, json!({"name": "import"})).await;
    let line = format!(
        "{}\n",
        json!({"type": "console.line", "payload": {"message": "x".repeat(900)}})
    );
    // More than the sockets' buffers hold.
    for _ in 0..40 {
        let request = fixture.request(port, reqwest::Method::POST, &format!("/runs/{run}/events"));
        let request = request
            .header("content-type", "application/x-ndjson")
            .body(line.repeat(1_000));
        assert_eq!(fixture.send(request).await.unwrap().0, StatusCode::OK);
    }
    let request = format!(
        "GET /v1/teams/{}/runs/{run}/events HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\naccept: text/event-stream\r\n\r\n",
        fixture.team.id, fixture.token
    );
    let mut stuck = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stuck.write_all(request.as_bytes()).await.unwrap();
    let open = async || {
        let url = format!("http://127.0.0.1:{port}/metrics");
        let text = fixture.http.get(url).send().await.unwrap().text().await.unwrap();
        let line = text
            .lines()
            .find(|line| line.starts_with("daybook_wide_events_open "))
            .unwrap()
            .to_owned();
        line.split(' ').nth(1).unwrap().parse::<f64>().unwrap()
    };
    // The request for the metrics is counted, too.
    daybook_tests::eventually("the reader's request", async || open().await >= 2.0).await;
    // Other readers are served meanwhile.
    assert_eq!(fixture.log(port, run).await.len(), 40_002);
    daybook_tests::eventually("the end of the reader's request", async || open().await < 2.0).await;
    let mut got = 0;
    let mut block = vec![0; 1 << 16];
    loop {
        match tokio::time::timeout(WAIT_LIMIT, stuck.read(&mut block)).await.unwrap() {
            Ok(0) | Err(_) => break,
            Ok(read) => got += read,
        }
    }
    assert!(got < 40_000 * 900, "{got}");
    service.stop().await;
}
