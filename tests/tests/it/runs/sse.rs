//! Reads server-sent events from a connection.

use std::net::SocketAddr;

use daybook_tests::WAIT_LIMIT;
use daybook_tests::http::Client;
use serde_json::Value;
use tokio::time::timeout;

/// A stream of events.
pub struct Events {
    response: reqwest::Response,
    buffer: Vec<u8>,
    pub location: Option<String>,
}

/// A server-sent event.
#[derive(Debug, Default)]
pub struct Event {
    pub id: Option<String>,
    pub name: Option<String>,
    pub data: String,
}

/// Returns the line's sequence number, and the line.
pub fn event(event: &Event) -> (u64, Value) {
    assert_eq!(event.name, None, "{event:?}");
    let line: Value = serde_json::from_str(&event.data).unwrap();
    let sequence = event.id.as_deref().unwrap().parse().unwrap();
    assert_eq!(line["sequence"], sequence);
    (sequence, line)
}

impl Events {
    pub async fn open(address: &SocketAddr, client: &Client, path: &str, headers: &[(&str, &str)]) -> Self {
        let url = format!("http://{address}/v1/teams/{}{path}", client.team_id);
        let mut request = http().get(url).header("accept", "text/event-stream");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Self::of(request.bearer_auth(client.credential.as_deref().unwrap())).await
    }

    pub async fn post(address: &SocketAddr, client: &Client, path: &str, body: Value) -> Self {
        let url = format!("http://{address}/v1/teams/{}{path}", client.team_id);
        let request = http().post(url).json(&body);
        Self::of(request.bearer_auth(client.credential.as_deref().unwrap())).await
    }

    async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        assert!(response.status().is_success(), "{response:?}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        let location = response
            .headers()
            .get("location")
            .map(|value| value.to_str().unwrap().to_owned());
        Self {
            response,
            buffer: Vec::new(),
            location,
        }
    }

    /// Returns the next event; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let text: Vec<u8> = self.buffer.drain(..end + 2).collect();
                let text = String::from_utf8(text).unwrap();
                let mut event = Event::default();
                for line in text.lines() {
                    match line.split_once(": ") {
                        Some(("id", id)) => event.id = Some(id.to_owned()),
                        Some(("event", name)) => event.name = Some(name.to_owned()),
                        Some(("data", data)) => event.data.push_str(data),
                        _ => {}
                    }
                }
                if !event.data.is_empty() {
                    return Some(event);
                }
                continue;
            }
            let chunk = timeout(WAIT_LIMIT, self.response.chunk()).await.expect("an event");
            let chunk = chunk.unwrap()?;
            self.buffer.extend_from_slice(&chunk);
        }
    }
}

fn http() -> reqwest::Client {
    // Once for each process. If it is installed already, it is the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}
