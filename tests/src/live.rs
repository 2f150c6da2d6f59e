//! A client of the live socket.

use std::net::SocketAddr;

use axum::http::HeaderValue;
use axum::http::header::AUTHORIZATION;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::WAIT_LIMIT;
use crate::http::Client;

/// The client's end of an open socket.
#[derive(Debug)]
pub struct LiveClient(pub WebSocketStream<TcpStream>);

impl LiveClient {
    /// Opens a socket to the client's team with the client's credential.
    pub async fn connect(address: SocketAddr, client: &Client) -> Self {
        let request = Self::request(address, client, "");
        Self::try_connect(address, request).await.unwrap()
    }

    /// Does the same as [`LiveClient::connect`], but with a small receive buffer in the kernel, so that frames that the
    /// client doesn't read soon stay in the service.
    pub async fn connect_with_small_buffer(address: SocketAddr, client: &Client) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4 * 1024).unwrap();
        let stream = socket.connect(address).await.unwrap();
        let (socket, _) = client_async(Self::request(address, client, ""), stream).await.unwrap();
        Self(socket)
    }

    /// Builds the request for a socket, so that a test can change it before it is sent. `query` includes its `?`.
    pub fn request(address: SocketAddr, client: &Client, query: &str) -> Request {
        let url = format!("ws://{address}/v1/teams/{}/live{query}", client.team_id);
        request(&url, client.credential.as_deref())
    }

    /// Opens the socket at `url` over a connection to `address`.
    pub async fn open(address: SocketAddr, url: &str, credential: Option<&str>) -> Self {
        Self::try_connect(address, request(url, credential)).await.unwrap()
    }

    /// Opens a socket. If the service refuses it, returns the response's status and problem document.
    pub async fn try_connect(address: SocketAddr, request: Request) -> Result<Self, (u16, Value)> {
        let stream = TcpStream::connect(address).await.unwrap();
        match timeout(WAIT_LIMIT, client_async(request, stream)).await.unwrap() {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(Error::Http(answer)) => {
                let body = answer.body().as_deref().unwrap_or_default();
                Err((
                    answer.status().as_u16(),
                    serde_json::from_slice(body).unwrap_or_default(),
                ))
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Sends a frame.
    pub async fn send(&mut self, frame: Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// Returns the next frame, of any type.
    pub async fn next(&mut self) -> Value {
        let text = timeout(WAIT_LIMIT, self.next_text())
            .await
            .expect("a frame within the time limit");
        serde_json::from_str(&text.expect("a frame, not the end of the socket")).unwrap()
    }

    /// Returns the next frame as text; `None` if the socket has ended.
    pub async fn next_text(&mut self) -> Option<String> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => return Some(text.as_str().to_owned()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return None,
            }
        }
    }

    /// Waits until the service closes the socket, and returns its close code and reason.
    pub async fn wait_for_close(&mut self) -> (u16, String) {
        loop {
            match timeout(WAIT_LIMIT, self.0.next())
                .await
                .expect("a close within the time limit")
            {
                Some(Ok(Message::Close(Some(close)))) => return (close.code.into(), close.reason.to_string()),
                Some(Ok(_)) => {}
                other => panic!("no close with a reason: {other:?}"),
            }
        }
    }

    /// Follows a thread from `seq`, and returns the `subscribed` frame.
    pub async fn follow_thread(&mut self, thread_id: &str, seq: Option<i64>) -> Value {
        let mut frame = json!({"type": "subscribe", "topic": format!("thread:{thread_id}")});
        if let Some(seq) = seq {
            frame["seq"] = json!(seq);
        }
        self.follow(frame).await
    }

    /// Subscribes, and returns the `subscribed` frame.
    pub async fn follow(&mut self, frame: Value) -> Value {
        self.send(frame).await;
        let subscribed = self.next().await;
        assert_eq!(subscribed["type"], "subscribed", "{subscribed}");
        subscribed
    }

    /// Sends a ping, and returns the frames that arrive before the pong. After that, no frame that was sent earlier is
    /// still on its way.
    pub async fn frames_until_pong(&mut self) -> Vec<Value> {
        self.send(json!({"type": "ping"})).await;
        let mut frames = Vec::new();
        loop {
            let frame = self.next().await;
            if frame["type"] == "pong" {
                return frames;
            }
            frames.push(frame);
        }
    }
}

fn request(url: &str, credential: Option<&str>) -> Request {
    let mut request = url.into_client_request().unwrap();
    if let Some(credential) = credential {
        let value = HeaderValue::from_str(&format!("Bearer {credential}")).unwrap();
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    request
}
