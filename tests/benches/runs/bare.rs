//! The floor: an axum handler that writes one shared file with group commit, and one that streams a file.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path as Captured, State};
use axum::routing::{get, post};
use tokio::sync::oneshot;
use tokio_util::io::ReaderStream;

pub(crate) const SERVE: &str = "serve-bare";

#[derive(Default)]
struct Queue {
    waiting: Mutex<Vec<(Bytes, oneshot::Sender<()>)>>,
    wake: Condvar,
}

/// Serves until it is killed.
pub(crate) fn serve(port: u16, folder: &Path) {
    let shared = Arc::new(Queue::default());
    let queue = shared.clone();
    let mut file = File::create(folder.join("shared.log")).unwrap();
    std::thread::spawn(move || {
        loop {
            let mut waiting = queue.waiting.lock().unwrap();
            while waiting.is_empty() {
                waiting = queue.wake.wait(waiting).unwrap();
            }
            let group = std::mem::take(&mut *waiting);
            drop(waiting);
            let bytes: Vec<u8> = group.iter().flat_map(|(bytes, _)| bytes.iter().copied()).collect();
            file.write_all(&bytes).unwrap();
            file.sync_data().unwrap();
            for (_, done) in group {
                let _ = done.send(());
            }
        }
    });
    let router = Router::new()
        .route("/append", post(append))
        .route("/file/{*path}", get(stream))
        .with_state(shared);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        axum::serve(listener, router).await.unwrap();
    });
}

async fn append(State(queue): State<Arc<Queue>>, body: Bytes) -> &'static str {
    let (done, safe) = oneshot::channel();
    queue.waiting.lock().unwrap().push((body, done));
    queue.wake.notify_one();
    safe.await.unwrap();
    "ok"
}

async fn stream(Captured(path): Captured<String>) -> Body {
    let file = tokio::fs::File::open(format!("/{path}")).await.unwrap();
    // Pieces larger than the usual 4 KiB, which would make the floor look slow.
    Body::from_stream(ReaderStream::with_capacity(file, 64 << 10))
}
