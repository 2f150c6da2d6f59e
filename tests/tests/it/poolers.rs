//! Tests the service behind PgBouncer in transaction mode: each transaction may get another server connection, so
//! neither prepared statements nor settings may be kept on a connection between transactions.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use axum::http::{Method, StatusCode};
use daybook::signals::channel;
use daybook::tenancy::{DatabaseOptions, Role};
use daybook::testing::TestDb;
use daybook_tests::eventually;
use daybook_tests::http::{Client, TestApp, sample_program};
use daybook_tests::live::LiveClient;
use nix::unistd::geteuid;
use serde_json::json;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};
use tempfile::TempDir;

/// The number of connections to the server, fewer than the clients that share them.
const SERVER_CONNECTIONS: i64 = 2;

/// PgBouncer, in front of one database, as one role.
struct Pooler {
    process: Child,
    port: u16,
    _folder: TempDir,
}

impl Pooler {
    /// Returns `None` if there is no PgBouncer, or if the tests' server requires a password.
    fn start(db: &TestDb, role: &str) -> Option<Self> {
        let Some(program) = program() else {
            daybook_tests::skip_without("PgBouncer");
            return None;
        };
        let server = db.owner_options();
        let (Some(socket), true) = (server.get_socket(), db.superuser_options().is_some()) else {
            daybook_tests::skip_without("a server that lets the pooler in without a password");
            return None;
        };
        let port = daybook_tests::ports::free_port();
        let database = server.get_database().unwrap();
        let folder = TempDir::new().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let file = folder.path().join("pgbouncer.ini");
        let settings = format!(
            "[databases]\n\
             {database} = host={host} port={server_port} dbname={database} user={role}\n\
             [pgbouncer]\n\
             listen_addr = 127.0.0.1\n\
             listen_port = {port}\n\
             unix_socket_dir =\n\
             auth_type = any\n\
             pool_mode = transaction\n\
             default_pool_size = {SERVER_CONNECTIONS}\n\
             max_client_conn = 100\n\
             ignore_startup_parameters = extra_float_digits,options\n\
             client_tls_sslmode = disable\n\
             server_tls_sslmode = disable\n",
            host = socket.display(),
            server_port = server.get_port(),
        );
        fs::write(&file, settings).unwrap();
        let mut command = Command::new(program);
        command
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if geteuid().is_root() {
            // PgBouncer refuses to run as root, and only the server's own user can reach the socket.
            let server_user = socket.metadata().unwrap();
            command.uid(server_user.uid()).gid(server_user.gid());
        }
        Some(Self {
            process: command.spawn().unwrap(),
            port,
            _folder: folder,
        })
    }

    fn options(&self, db: &TestDb) -> PgConnectOptions {
        // Any user name works: the pooler connects to the server as its own role.
        let options = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(self.port);
        options
            .username("anybody")
            .database(db.owner_options().get_database().unwrap())
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian installs it in a folder that is not in the PATH of ordinary users.
    let folders = std::env::split_paths(&path).chain([Path::new("/usr/sbin").to_owned()]);
    folders
        .map(|folder| folder.join("pgbouncer"))
        .find(|file| file.exists())
}

#[tokio::test]
async fn many_teams_share_two_server_connections_and_nothing_else() {
    let db = TestDb::with_migrations(sample_program().migrations().clone()).await;
    let role = format!("daybook_pooled_{}", std::process::id());
    let Some(pooler) = Pooler::start(&db, &role) else {
        return;
    };
    // The pooler runs only with the tests' own server, which has a superuser, because its owner may not create roles.
    let mut superuser = db.superuser_options().unwrap().connect().await.unwrap();
    superuser
        .execute(AssertSqlSafe(format!("CREATE ROLE {role} LOGIN IN ROLE daybook_app")))
        .await
        .unwrap();
    eventually("a pooler that answers", async || {
        match pooler.options(&db).connect().await {
            Ok(connection) => connection.close().await.is_ok(),
            Err(_) => false,
        }
    })
    .await;

    let options = DatabaseOptions::new(pooler.options(&db))
        .assume_app_role(false)
        .statement_cache(false)
        .strict_roles(true)
        .max_connections(12);
    let app = TestApp::start_with(db.clone(), options).await;
    assert_eq!(
        app.anonymous().request(Method::GET, "/readyz").await.ok(),
        json!({"status": "ok"})
    );
    daybook::events::ensure_partitions(&app.database).await.unwrap();

    let mut teams = Vec::new();
    for name in ["red", "green", "blue"] {
        let team = db.team(name).await;
        let ada = app.member_of(&team, &format!("ada-{name}"), Role::Owner).await;
        let grace = app.member_of(&team, "grace", Role::Viewer).await;
        grace.put("/watches/campaign").await.ok();
        teams.push((name, team, ada, grace));
    }
    let mut working = Vec::new();
    for n in 0..12 {
        let (name, _, ada, _) = &teams[n % 3];
        let other = teams[(n + 1) % 3].1.id;
        working.push(tokio::spawn(work(ada.clone(), other, (*name).to_owned(), n)));
    }
    for one in working {
        one.await.unwrap();
    }
    for (name, team, ada, grace) in &teams {
        let campaigns = ada.get("/campaigns?limit=200").await.ok();
        let items = campaigns["items"].as_array().unwrap();
        assert_eq!(items.len(), 4 * ROUNDS);
        assert!(
            items
                .iter()
                .all(|item| item["name"].as_str().unwrap().starts_with(name))
        );
        assert_eq!(grace.get("/notifications?limit=1").await.ok()["unread"], 4 * ROUNDS);
        let events = team.events().await;
        assert_eq!(events.len(), 4 * ROUNDS * 3, "created, changed, moved");
        assert!(events.iter().all(|event| event.actor.name() == format!("Ada-{name}")));
    }
    let grace = teams[0].3.request(Method::GET, "/v1/me").await.ok();
    assert_eq!(grace["teams"].as_array().unwrap().len(), 3);

    // LISTEN would stay on a connection that other clients use next, so it isn't used; live updates are found by
    // polling.
    let through = channel::open(pooler.options(&db), "daybook_test").await.unwrap_err();
    let cause = std::error::Error::source(&through).map_or_else(|| through.to_string(), ToString::to_string);
    assert!(cause.contains("there is a pooler"), "{cause}");
    channel::open(db.owner_options(), "daybook_test").await.unwrap();
    let (ada, address) = (&teams[0].2, app.serve(|router| router).await);
    let mut live = LiveClient::connect(address, ada).await;
    live.follow(json!({"type": "subscribe", "topic": "threads"})).await;
    ada.create_campaign("Heard", "1").await;
    assert_eq!(live.next().await["thread"]["object_label"], "Heard");
    drop(live);

    let used: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_stat_activity WHERE usename = $1")
        .bind(&role)
        .fetch_one(&mut superuser)
        .await
        .unwrap();
    assert!((1..=SERVER_CONNECTIONS).contains(&used), "{used} server connections");
    app.database.close().await;
    drop(pooler);
    eventually("the pooler's connections closed", async || {
        let left: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_stat_activity WHERE usename = $1")
            .bind(&role)
            .fetch_one(&mut superuser)
            .await
            .unwrap();
        left == 0
    })
    .await;
    superuser
        .execute(AssertSqlSafe(format!("DROP ROLE {role}")))
        .await
        .unwrap();
}

const ROUNDS: usize = 4;

/// Does everything that a request can do with a connection, including refusals.
pub async fn work(ada: Client, other_team: uuid::Uuid, name: String, worker: usize) {
    for round in 0..ROUNDS {
        let label = format!("{name} {worker}.{round}");
        let new = || {
            ada.post("/campaigns", json!({"name": label, "budget": "1"}))
                .idempotency_key(&label.replace(' ', "-"))
        };
        let made = new().await.is(StatusCode::CREATED).json();
        assert_eq!(
            new().await.is(StatusCode::CREATED).json(),
            made,
            "the answer is repeated, not the work"
        );
        let path = format!("/campaigns/{}", made["id"].as_str().unwrap());
        assert_eq!(ada.patch(&path, json!({"budget": "2"})).await.ok()["name"], label);
        let step = ada
            .post(&format!("{path}/transition"), json!({"state": "active"}))
            .if_match("*");
        assert_eq!(step.await.ok()["state"], "active");
        // Requests that are refused before a transaction, inside it, and when it enters the team.
        assert_eq!(
            ada.patch(&path, json!({"budget": "-1"})).await.wrong_fields(),
            ["budget"]
        );
        let stale = ada.patch(&path, json!({"budget": "3"})).if_match("\"1\"").await;
        stale.problem(StatusCode::PRECONDITION_FAILED, "precondition-failed");
        ada.for_team(other_team)
            .get(&path)
            .await
            .problem(StatusCode::NOT_FOUND, "not-found");

        let query = format!(
            "/threads?object_type=campaign&object_id={}",
            made["id"].as_str().unwrap()
        );
        let thread = ada.get(&query).await.ok()["items"][0]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let thread = format!("/threads/{thread}");
        assert_eq!(ada.comment(&thread, &label).await["seq"], 4);
        let lines = ada.thread_texts(&thread).await;
        assert_eq!(lines.len(), 4);
        assert!(lines.iter().all(|line| line.contains(&label)), "{lines:?}");
        assert!(ada.unread().await.is_empty());
    }
}
