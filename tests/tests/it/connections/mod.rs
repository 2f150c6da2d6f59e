//! Tests connections: unauthenticated clients that hold them, slow clients, and ambiguous heads.

mod heads;
mod limits;
mod timeouts;
mod unauthenticated;

use daybook_tests::WAIT_LIMIT;
use reqwest::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::runs::process::ServiceFixture;

/// Opens a connection and sends these bytes.
async fn open_connection(port: u16, bytes: &[u8]) -> TcpStream {
    let mut stream = timeout(WAIT_LIMIT, TcpStream::connect(("127.0.0.1", port)))
        .await
        .unwrap()
        .unwrap();
    // The connection may already be refused, which is also a response.
    let _ = stream.write_all(bytes).await;
    stream
}

/// Returns everything that arrives until the service closes the connection.
async fn read_until_closed(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let mut block = [0; 4096];
    loop {
        match timeout(WAIT_LIMIT, stream.read(&mut block))
            .await
            .expect("the service closes it")
        {
            Ok(0) | Err(_) => return String::from_utf8_lossy(&all).into_owned(),
            Ok(read) => all.extend_from_slice(&block[..read]),
        }
    }
}

/// Returns a metric's value.
async fn metric(fixture: &ServiceFixture, port: u16, name: &str) -> f64 {
    let url = format!("http://127.0.0.1:{port}/metrics");
    let mut text = String::new();
    // While connections are closed to make room, the newest may be refused for a short time.
    daybook_tests::eventually("a response of /metrics", async || {
        let answer = fixture.http.get(&url).send().await.unwrap();
        let is_ok = answer.status() == StatusCode::OK;
        text = answer.text().await.unwrap();
        is_ok
    })
    .await;
    let prefix = format!("daybook_{name} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&prefix));
    line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
}
