//! Runs the JavaScript of `docs/live.md` in a real browser.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use axum::response::Html;
use axum::routing::{get, post};
use axum::{Json, Router};
use daybook_tests::WAIT_LIMIT;
use daybook_tests::http::TestApp;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::LiveFixture;

/// A headless browser that ends with the test.
pub struct Browser {
    process: Child,
    _profile: TempDir,
}

impl Browser {
    pub fn open(program: &Path, url: &str) -> Self {
        let profile = TempDir::new().unwrap();
        let process = Command::new(program)
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--disable-dev-shm-usage",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            process,
            _profile: profile,
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .flat_map(|folder| ["chromium", "chromium-browser", "google-chrome"].map(|name| folder.join(name)))
        .find(|file| file.exists())
}

/// A TCP proxy in front of the service, whose connections the test can cut.
#[derive(Clone)]
struct Proxy {
    address: SocketAddr,
    connections: Arc<Mutex<JoinSet<()>>>,
}

impl Proxy {
    async fn to(service: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
        };
        let connections = proxy.connections.clone();
        tokio::spawn(async move {
            while let Ok((mut here, _)) = listener.accept().await {
                connections.lock().await.spawn(async move {
                    if let Ok(mut there) = TcpStream::connect(service).await {
                        let _ = tokio::io::copy_bidirectional(&mut here, &mut there).await;
                    }
                });
            }
        });
        proxy
    }

    async fn cut(&self) {
        self.connections.lock().await.shutdown().await;
    }
}

fn snippet() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/live.md");
    let text = std::fs::read_to_string(file).unwrap();
    let (_, code) = text.split_once("```js\n").unwrap();
    code.split_once("```").unwrap().0.to_owned()
}

#[tokio::test]
async fn a_page_follows_a_thread_and_resumes_after_a_cut() {
    let Some(program) = chromium() else {
        daybook_tests::skip_without("Chromium");
        return;
    };
    let fixture = LiveFixture::new().await;
    let (sender, mut shown) = mpsc::unbounded_channel::<(u64, Vec<i64>)>();
    let page = format!(
        "<!doctype html><script>const team = '{}', token = '{}';
         let times = 0;
         const show = (messages) => fetch('/shown', {{
             method: 'POST', headers: {{'Content-Type': 'application/json'}},
             body: JSON.stringify([++times, messages.map((message) => message.seq)]),
         }});
         {}
         follow('{}');</script>",
        fixture.grace.team_id,
        fixture.grace.credential.as_deref().unwrap(),
        snippet(),
        fixture.thread_id(),
    );
    let service = TestApp::serve(&fixture.app, |router| {
        let report = post(async move |Json(showing): Json<(u64, Vec<i64>)>| sender.send(showing).is_ok().to_string());
        let page = get(move || std::future::ready(Html(page.clone())));
        Router::new()
            .route("/page", page)
            .route("/shown", report)
            .fallback_service(router)
    })
    .await;
    let proxy = Proxy::to(service).await;
    let _browser = Browser::open(&program, &format!("http://{}/page", proxy.address));
    // A browser repeats a request without an answer. The test counts each report of the page once.
    let mut last = 0;
    let mut next = async || {
        loop {
            let (time, seqs) = timeout(WAIT_LIMIT, shown.recv())
                .await
                .expect("the page reports")
                .unwrap();
            if time > last {
                last = time;
                return seqs;
            }
        }
    };

    assert_eq!(next().await, [1]);
    fixture.change_budget("200").await;
    assert_eq!(next().await, [2]);
    proxy.cut().await;
    fixture.change_budget("300").await;
    fixture.change_budget("400").await;
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.extend(next().await);
    }
    assert_eq!(seen, [3, 4]);
}
