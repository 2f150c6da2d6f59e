//! Starts the service as a separate process, which can be killed and restarted on the same port.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use daybook::auth::NewToken;
use daybook::config::JwtKey;
use daybook::tenancy::Role;
use daybook::testing::{TestDb, TestTeam};
use daybook_tests::WAIT_LIMIT;
use daybook_tests::http::{auth_config, sample_program, token};
pub use daybook_tests::ports::free_port;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use uuid::Uuid;

/// A team with a member and a folder for logs, on which services are started.
pub struct ServiceFixture {
    pub db: TestDb,
    pub team: TestTeam,
    pub storage: TempDir,
    pub token: String,
    pub http: reqwest::Client,
}

impl ServiceFixture {
    pub async fn new() -> Self {
        let db = TestDb::with_migrations(sample_program().migrations().clone()).await;
        let team = db.team("Acme").await;
        team.member("ada", Role::Owner).await;
        // Once for each process. If it is installed already, it is the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            db,
            team,
            storage: TempDir::new().unwrap(),
            token: token(&NewToken::new("ada")),
            http: reqwest::Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .unwrap(),
        }
    }

    /// Returns the command that starts the service on a port, with its logs in a folder.
    pub fn command(&self, port: u16, storage: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_daybook-under-test"));
        self.set_environment(&mut command, port, storage);
        command.arg("serve");
        command
    }

    /// Sets the environment of [`ServiceFixture::command`] for a command.
    pub fn set_environment(&self, command: &mut Command, port: u16, storage: &Path) {
        let JwtKey::Secret(secret) = auth_config().key.unwrap() else {
            panic!("a secret");
        };
        for (name, _) in std::env::vars_os() {
            let ours = name.to_string_lossy();
            if ours.starts_with("DAYBOOK_") || ours.starts_with("PG") {
                command.env_remove(&name);
            }
        }
        command
            .env("DATABASE_URL", daybook_tests::url_of(&self.db).unwrap())
            .env("DAYBOOK_BIND", format!("127.0.0.1:{port}"))
            .env("DAYBOOK_DATA_DIR", self.storage.path().join("data"))
            .env("DAYBOOK_STORAGE_DIR", storage)
            .env("DAYBOOK_JWT_SECRET", secret.expose())
            .env("DAYBOOK_JWT_ISSUER", auth_config().issuer)
            .env("DAYBOOK_SAMPLE_RATE", "0")
            .env("DAYBOOK_JOBS", "2")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .kill_on_drop(true);
    }

    pub async fn serve(&self, port: u16) -> Service {
        Service::start(self.command(port, self.storage.path()), port).await
    }

    /// Sends a request for the team's data. An error means that the service is not available.
    pub async fn send_request(&self, port: u16, method: Method, path: &str) -> reqwest::Result<(StatusCode, Value)> {
        self.send(self.request(port, method, path)).await
    }

    pub async fn post(&self, port: u16, path: &str, body: &Value) -> reqwest::Result<(StatusCode, Value)> {
        self.send(self.request(port, Method::POST, path).json(body)).await
    }

    pub fn request(&self, port: u16, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("http://127.0.0.1:{port}/v1/teams/{}{path}", self.team.id);
        let request = self.http.request(method, url).bearer_auth(&self.token);
        request.timeout(WAIT_LIMIT)
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> reqwest::Result<(StatusCode, Value)> {
        let answer = request.send().await?;
        let status = answer.status();
        let body = answer.bytes().await?;
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    /// Sends a request, and repeats it while the service is too busy.
    async fn post_until_accepted(&self, port: u16, path: &str, body: &Value) -> (StatusCode, Value) {
        let began = Instant::now();
        loop {
            let answer = self.post(port, path, body).await.unwrap();
            if answer.0 != StatusCode::SERVICE_UNAVAILABLE || began.elapsed() > WAIT_LIMIT {
                return answer;
            }
        }
    }

    /// Completes a run successfully.
    pub async fn complete(&self, port: u16, run: Uuid) {
        let path = format!("/runs/{run}/complete");
        let end = serde_json::json!({"status": "succeeded"});
        let (status, ended) = self.post_until_accepted(port, &path, &end).await;
        assert_eq!(status, StatusCode::OK, "{ended}");
    }

    /// Starts a run on the service at a port.
    pub async fn run(&self, port: u16, new: Value) -> Uuid {
        let (status, run) = self.post_until_accepted(port, "/runs", &new).await;
        assert_eq!(status, StatusCode::CREATED, "{run}");
        run["id"].as_str().unwrap().parse().unwrap()
    }

    /// Returns a request with one line of a writer that numbers its lines.
    pub fn line(&self, port: u16, run: Uuid, seq: u64) -> reqwest::RequestBuilder {
        let line = format!(r#"{{"type":"console.line","payload":{{"message":"{seq}"}}}}"#);
        self.request(port, Method::POST, &format!("/runs/{run}/events"))
            .header("content-type", "application/x-ndjson")
            .header("writer-id", "w")
            .header("writer-epoch", "1")
            .header("writer-seq", seq.to_string())
            .body(line)
    }

    /// Returns a complete log.
    pub async fn log(&self, port: u16, run: Uuid) -> Vec<Value> {
        let request = self.request(port, Method::GET, &format!("/runs/{run}/events"));
        let answer = request.header("accept", "application/x-ndjson").send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
        let text = answer.text().await.unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "a torn line: {text:?}");
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A running service.
pub struct Service {
    process: Child,
    stderr: Arc<Mutex<String>>,
}

impl Service {
    pub async fn start(mut command: Command, port: u16) -> Self {
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let stderr = Arc::new(Mutex::new(String::new()));
        let collected = stderr.clone();
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let mut ready = Some(ready);
            while let Ok(Some(line)) = lines.next_line().await {
                if line.contains("listening on http://")
                    && let Some(ready) = ready.take()
                {
                    let _ = ready.send(());
                }
                let _ = writeln!(collected.lock().unwrap(), "{line}");
            }
        });
        let waited = tokio::time::timeout(WAIT_LIMIT, is_ready).await;
        assert!(
            matches!(waited, Ok(Ok(()))),
            "no service on {port}: {}",
            stderr.lock().unwrap()
        );
        Self { process, stderr }
    }

    /// Returns what the service has written to stderr until now.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.process.id().unwrap()).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Kills the service with SIGKILL.
    pub async fn kill(mut self) {
        self.process.kill().await.unwrap();
    }

    /// Stops the service with SIGTERM, and waits until it ends.
    pub async fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        let status = tokio::time::timeout(WAIT_LIMIT, self.process.wait()).await;
        let status = status
            .unwrap_or_else(|_| panic!("it does not stop: {}", self.stderr()))
            .unwrap();
        assert!(status.success(), "{status}: {}", self.stderr());
    }
}
