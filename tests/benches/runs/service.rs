//! The two servers: Daybook on a private PostgreSQL, and the bare one.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use daybook::App;
use daybook::auth::{NewToken, mint};
use daybook::campaigns;
use daybook::config::Config;
use daybook::postgres::PrivatePostgres;
use daybook::teams::{NewPerson, NewTeam, create_team};
use daybook::tenancy::{Database, DatabaseOptions};
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use uuid::Uuid;

use crate::bare;
use crate::client::{Connection, request};

const SECRET: &str = "a secret that only this benchmark knows";

pub(crate) struct Service {
    postgres: PrivatePostgres,
    owner: PgConnectOptions,
    pub(crate) folder: PathBuf,
    processes: Vec<Child>,
    pub(crate) port: u16,
    pub(crate) bare_port: u16,
    pub(crate) team_id: Uuid,
    token: String,
    version: String,
}

impl Service {
    pub(crate) async fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("daybook-bench-runs-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let postgres = PrivatePostgres::start(&folder).await.unwrap();
        let owner = postgres.owner_options();
        let program = App::new().migrator::<campaigns::Migrator>();
        program.migrations().up(&owner).await.unwrap();
        let database = Database::connect(DatabaseOptions::new(owner.clone())).await.unwrap();
        let database = program.equip(database).unwrap();
        daybook::events::ensure_partitions(&database).await.unwrap();
        let new = NewTeam {
            name: "Bench".to_owned(),
            owner: NewPerson {
                issuer: "daybook".to_owned(),
                subject: "ada".to_owned(),
                display_name: "Ada".to_owned(),
                email: None,
            },
            owner_handle: "ada".to_owned(),
        };
        let team_id = create_team(&database, new).await.unwrap();
        database.close().await;
        let config = Config::from_lookup(&|name| (name == "DAYBOOK_JWT_SECRET").then(|| SECRET.to_owned())).unwrap();
        let token = mint(&config.auth, &NewToken::new("ada"), chrono::TimeDelta::hours(2)).unwrap();

        let (port, bare_port) = (free_port(), free_port());
        let ours = Command::new(env!("CARGO_BIN_EXE_daybook-under-test"))
            .arg("serve")
            .env("DATABASE_URL", postgres.url())
            .env("DAYBOOK_BIND", format!("127.0.0.1:{port}"))
            .env("DAYBOOK_DATA_DIR", &folder)
            .env("DAYBOOK_JWT_SECRET", SECRET)
            .env("DAYBOOK_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let bare = Command::new(std::env::current_exe().unwrap())
            .args([bare::SERVE, &bare_port.to_string()])
            .arg(&folder)
            .spawn()
            .unwrap();
        for port in [port, bare_port] {
            while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        let mut connection = owner.connect().await.unwrap();
        let version = sqlx::query_scalar("SHOW server_version")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        Self {
            postgres,
            owner,
            folder,
            processes: vec![ours, bare],
            port,
            bare_port,
            team_id,
            token,
            version,
        }
    }

    pub(crate) fn machine(&self) -> String {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        format!(
            "PostgreSQL {}, {cores} cores shared by server, service and clients; wide events to /dev/null\n\n{:<58} {:>14} {:>14}   ratio",
            self.version, "", "bare", "Daybook"
        )
    }

    pub(crate) async fn owner(&self) -> PgConnection {
        self.owner.connect().await.unwrap()
    }

    /// Returns a request for a path under the team's.
    pub(crate) fn request(&self, method: &str, path: &str, content_type: &str, accept: &str, body: &str) -> Vec<u8> {
        let path = format!("/v1/teams/{}{path}", self.team_id);
        let bearer = format!("Bearer {}", self.token);
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", content_type),
            ("accept", accept),
        ];
        request(method, &path, &headers, body)
    }

    /// Creates a run that has begun.
    pub(crate) async fn run(&self, connection: &mut Connection) -> String {
        let body = r#"{"name":"bench","lost_after_seconds":3600}"#;
        let answer = connection
            .send_request(&self.request("POST", "/runs", "application/json", "*/*", body))
            .await;
        let run: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        run["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn complete(&self, connection: &mut Connection, run: &str) {
        let body = r#"{"status":"succeeded","exit_code":0}"#;
        let path = format!("/runs/{run}/complete");
        connection
            .send_request(&self.request("POST", &path, "application/json", "*/*", body))
            .await;
    }

    /// Appends lines, in requests of a thousand lines.
    pub(crate) async fn append(&self, connection: &mut Connection, run: &str, lines: usize) {
        for from in (0..lines).step_by(1_000) {
            let body = body(from, 1_000.min(lines - from));
            let path = format!("/runs/{run}/events");
            connection
                .send_request(&self.request("POST", &path, "application/x-ndjson", "*/*", &body))
                .await;
        }
    }

    pub(crate) fn log_file(&self, run: &str) -> PathBuf {
        let team = self.team_id.to_string();
        self.folder
            .join("storage/workspaces")
            .join(team)
            .join("runs")
            .join(run)
            .join("logs/events.ndjson")
    }

    /// Returns the resident memory of Daybook's process, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.processes[0].id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    pub(crate) async fn stop(mut self) {
        for process in &mut self.processes {
            process.kill().unwrap();
            process.wait().unwrap();
        }
        self.postgres.stop().await.unwrap();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Returns lines as a program prints them to its console.
pub(crate) fn body(from: usize, lines: usize) -> String {
    (from..from + lines)
        .map(|at| {
            format!(
                "{{\"type\":\"console.line\",\"payload\":{{\"stream\":\"stdout\",\"level\":\"info\",\"message\":\"   Compiling something v0.{at}.0 (registry) with a few more words\"}}}}\n"
            )
        })
        .collect()
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
