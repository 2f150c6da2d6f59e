//! A server that writes one line to stdout for each request.
//!
//! ```console
//! $ cargo run --package daybook-wide-events --example shop
//! $ curl -X POST 'http://127.0.0.1:3000/carts/7/checkout?card=4111111111111111'
//! $ curl http://127.0.0.1:3000/panic
//! ```

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use daybook_wide_events::{Sampling, WideEvent, WideEventConfig, WideEventLayer};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    // Health checks are only written if something is wrong.
    let sampling = Sampling::default().route("/healthz", 0.0);
    let config = WideEventConfig::new("shop").version("1.4.0").sampling(sampling);
    let layer = WideEventLayer::new(config);
    let events = layer.events().clone();
    let app = Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/carts/{id}/checkout", post(checkout))
        .route("/panic", get(fail))
        .layer(layer)
        .into_make_service_with_connect_info::<SocketAddr>();

    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    let stop = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    axum::serve(listener, app).with_graceful_shutdown(stop).await?;

    // Blocks until the buffered lines are written.
    events.close(Duration::from_secs(5));
    Ok(())
}

async fn checkout(event: WideEvent, Path(cart): Path<u32>) -> &'static str {
    event.set("cart.id", cart).set("cart.items", 3);
    charge().await;
    "thank you"
}

/// Adds fields without a parameter for the event.
async fn charge() {
    WideEvent::current()
        .set("payment.provider", "bank")
        .add("payment.attempts", 1);
}

async fn fail() -> &'static str {
    panic!("a defect")
}
