//! The bare ways: LISTEN and NOTIFY on plain connections, and axum's own WebSocket with a broadcast channel.

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, Utf8Bytes, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::get;
use tokio::sync::broadcast;

/// Sends each broadcast message to every socket, and does nothing else.
pub(crate) fn broadcaster() -> (Router, broadcast::Sender<Utf8Bytes>) {
    let (sender, _) = broadcast::channel(16);
    let router = Router::new().route("/live", get(follow)).with_state(sender.clone());
    (router, sender)
}

async fn follow(State(sender): State<broadcast::Sender<Utf8Bytes>>, upgrade: WebSocketUpgrade) -> Response {
    let mut frames = sender.subscribe();
    upgrade.on_upgrade(async move |mut socket| {
        loop {
            let sent = tokio::select! {
                frame = frames.recv() => match frame {
                    Ok(frame) => socket.send(Message::Text(frame)).await,
                    Err(_) => return,
                },
                received = socket.recv() => match received {
                    Some(Ok(_)) => Ok(()),
                    _ => return,
                },
            };
            if sent.is_err() {
                return;
            }
        }
    })
}
