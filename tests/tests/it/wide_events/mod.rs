//! Wide events over real sockets: a test server whose stdout is a list of lines.

mod accounting;
mod bodies;
mod contents;
mod outcomes;
mod pipe;
mod secrets;

use std::net::SocketAddr;

use axum::Router;
use daybook::wide_events::{WideEventConfig, WideEventLayer, WideEvents};
use daybook_tests::WAIT_LIMIT;
use daybook_tests::wide_events::CapturedOutput;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A server with wide events.
pub struct WideEventServer {
    pub address: SocketAddr,
    pub events: WideEvents,
    written: CapturedOutput,
}

impl WideEventServer {
    pub async fn start(router: Router) -> Self {
        Self::start_with(router, |config| config).await
    }

    pub async fn start_with(router: Router, configure: impl FnOnce(WideEventConfig) -> WideEventConfig) -> Self {
        let written = CapturedOutput::default();
        let config = configure(WideEventConfig::new("shop").version("1.2.3").sink(written.sink()));
        let layer = WideEventLayer::new(config);
        let events = layer.events().clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = router.layer(layer).into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        Self {
            address,
            events,
            written,
        }
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends one request on a new connection, and returns the complete response.
    pub async fn send_request(&self, request: &str) -> String {
        let mut socket = self.connect().await;
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(WAIT_LIMIT, socket.read_to_end(&mut answer))
            .await
            .unwrap()
            .unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Returns all events, after everything that was begun has ended and is written.
    pub async fn wait_for_events(&self) -> Vec<Value> {
        self.wait_for_events_from(1).await
    }

    /// Like [`WideEventServer::wait_for_events`], after at least `begun` events have begun.
    pub async fn wait_for_events_from(&self, begun: u64) -> Vec<Value> {
        self.written.wait_for_events(&self.events, begun).await
    }

    /// Returns the only event.
    pub async fn event(&self) -> Value {
        let events = self.wait_for_events().await;
        let [event] = events.as_slice() else {
            panic!("expected exactly one event: {events:#?}");
        };
        event.clone()
    }
}

/// Returns a request that closes its connection.
pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n\r\n")
}

/// Returns how an event ended: outcome, status, bytes sent.
pub fn end_of(event: &Value) -> (&str, Option<u64>, Option<u64>) {
    (
        event["outcome"].as_str().unwrap(),
        event["status_code"].as_u64(),
        event["bytes_out"].as_u64(),
    )
}

/// Reads until `text` has arrived.
pub async fn read_until(socket: &mut TcpStream, text: &str) -> String {
    let mut read = Vec::new();
    let reading = async {
        let mut buffer = [0; 4096];
        while !String::from_utf8_lossy(&read).contains(text) {
            let bytes = socket.read(&mut buffer).await.unwrap();
            assert!(
                bytes > 0,
                "the connection ended before {text:?}: {}",
                String::from_utf8_lossy(&read)
            );
            read.extend_from_slice(&buffer[..bytes]);
        }
    };
    tokio::time::timeout(WAIT_LIMIT, reading).await.expect(text);
    String::from_utf8_lossy(&read).into_owned()
}
