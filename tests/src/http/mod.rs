//! The service as its clients see it: a team, its people, and their requests.
//!
//! ```ignore
//! let app = TestApp::start().await;
//! let ada = app.member("ada", Role::Owner).await;
//! ada.create_campaign("Spring", "100").await;
//! let threads = ada.get("/threads").await.ok();
//! ```
//!
//! Requests go through the router that `main.rs` serves, without a socket. [`TestApp::serve`] is for tests that need a
//! socket.

mod people;
mod request;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header::{AUTHORIZATION, ETAG};
use axum::http::{HeaderMap, Method, StatusCode};
use chrono::TimeDelta;
use daybook::App;
use daybook::auth::{ActingPerson, Authenticator, NewToken, mint};
use daybook::campaigns::{self, campaign};
use daybook::config::{AuthConfig, Config, ConnectionsConfig, JwtKey, Secret, WideEventsConfig};
use daybook::events::Consumers;
use daybook::jobs::JobsParts;
use daybook::live::{Live, LiveOptions};
use daybook::notifications::send_notifications;
use daybook::runs::{Runs, RunsOptions};
use daybook::server::{AppState, ConnectionLimits, Connections, wide_event_config};
use daybook::tenancy::{Database, DatabaseOptions, Role};
use daybook::testing::{TestDb, TestTeam};
use daybook::threads::post_to_thread;
use daybook::wide_events::WideEvents;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::WAIT_LIMIT;
use crate::wide_events::CapturedOutput;
pub use request::{TestRequest, TestResponse};

/// The secret that signs the tests' tokens.
pub const SECRET: &str = "the secret of the tests' own identity provider";
/// The issuer of the people of [`TestTeam`].
pub const ISSUER: &str = "https://issuer.test";
/// The smallest limit that can be set, so that a test can quickly build a larger body.
pub const BODY_LIMIT_BYTES: usize = 64 * 1024;

/// The number of descriptors that a served [`TestApp`] assumes.
const MAX_DESCRIPTORS: u64 = 40_000;

/// Returns the program of `main.rs`. It names its consumers, because the linker would add those of other tests.
pub fn sample_program() -> App {
    App::new()
        .model::<campaign::Model>()
        .migrator::<campaigns::Migrator>()
        .routes(campaigns::routes())
        .consumers(Consumers::of([post_to_thread::CONSUMER, send_notifications::CONSUMER]).unwrap())
}

/// Returns the configuration of the trusted token issuer.
pub fn auth_config() -> AuthConfig {
    AuthConfig::new(Some(JwtKey::Secret(Secret::new(SECRET))), ISSUER)
}

/// The whole service with one team, Acme, on its own database.
#[derive(Clone, Debug)]
pub struct TestApp {
    /// The database's handle for tests.
    pub db: TestDb,
    /// The database, as the service uses it.
    pub database: Database,
    /// The team Acme.
    pub team: TestTeam,
    /// The service's live sockets.
    pub live: Live,
    /// The wide events of its requests.
    pub wide_events: WideEvents,
    /// The service's run logs.
    pub runs: Runs,
    /// The folder of the run logs.
    pub storage: Arc<TempDir>,
    written: CapturedOutput,
    router: Router,
}

impl TestApp {
    /// Starts without any people.
    pub async fn start() -> Self {
        let db = TestDb::with_migrations(sample_program().migrations().clone()).await;
        let options = db.options().max_connections(6);
        Self::start_with(db, options).await
    }

    /// Starts on a given database and pool, with [`sample_program`]'s migrations.
    pub async fn start_with(db: TestDb, options: DatabaseOptions) -> Self {
        Self::start_program(sample_program(), db, options).await
    }

    /// Starts another program, with [`sample_program`]'s migrations.
    pub async fn start_program(program: App, db: TestDb, options: DatabaseOptions) -> Self {
        Self::start_program_with_timeout(WAIT_LIMIT, program, db, options).await
    }

    /// Starts with this timeout for each request.
    pub async fn start_program_with_timeout(
        request_timeout: Duration,
        program: App,
        db: TestDb,
        options: DatabaseOptions,
    ) -> Self {
        let team = db.team("Acme").await;
        let storage = Arc::new(TempDir::new().unwrap());
        Self::start_process(
            team,
            request_timeout,
            LiveOptions::default(),
            storage,
            program,
            db,
            options,
        )
        .await
    }

    /// Starts the service of another process on the same database, with these options of its live sockets.
    pub async fn second_process(&self, options: LiveOptions) -> Self {
        let (db, team) = (self.db.clone(), self.team.clone());
        let (database, storage) = (db.options(), self.storage.clone());
        Self::start_process(team, WAIT_LIMIT, options, storage, sample_program(), db, database).await
    }

    async fn start_process(
        team: TestTeam,
        request_timeout: Duration,
        live: LiveOptions,
        storage: Arc<TempDir>,
        mut program: App,
        db: TestDb,
        options: DatabaseOptions,
    ) -> Self {
        let direct = options.connect.clone();
        let written = CapturedOutput::default();
        let wide_events = wide_event_config(&wide_events_config()).unwrap().sink(written.sink());
        let wide_events = WideEvents::new(program.wide_event_config(wide_events));
        let database = program.equip(Database::connect(options).await.unwrap()).unwrap();
        let runs = Runs::new(run_options(&storage), database.clock().clone());
        let database = JobsParts::update(database, |parts| parts.wide_events = Some(wide_events.clone())).unwrap();
        let database = runs.clone().attach(database);
        let mut http = Config::from_lookup(&|_| None).unwrap().http;
        http.bind = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        http.body_limit_bytes = BODY_LIMIT_BYTES;
        http.request_timeout = request_timeout;
        http.write_timeout = Duration::from_secs(30);
        http.connections = ConnectionsConfig::default();
        let authenticator = Authenticator::new(&auth_config()).unwrap();
        let direct = (!live.ignore_signals).then_some(direct);
        let live = Live::start(&database, direct, live).unwrap();
        let state = AppState::new(database.clone(), authenticator, http, live.clone(), None)
            .with_wide_events(wide_events.clone());
        Self {
            db,
            database,
            team,
            live,
            wide_events,
            runs,
            storage,
            written,
            router: program.into_router(state),
        }
    }

    /// Adds a person to Acme, and returns a client with their token.
    pub async fn member(&self, handle: &str, role: Role) -> Client {
        self.member_of(&self.team, handle, role).await
    }

    /// Adds a person to a team, and returns a client with their token.
    pub async fn member_of(&self, team: &TestTeam, handle: &str, role: Role) -> Client {
        let member = team.member(handle, role).await;
        Client {
            user_id: Some(member.user_id),
            ..self.client(team.id, Some(token(&NewToken::new(handle))))
        }
    }

    /// Returns a client without a credential, for Acme's paths.
    pub fn anonymous(&self) -> Client {
        self.client(self.team.id, None)
    }

    /// Returns a client with this credential, for Acme's paths.
    pub fn bearer(&self, credential: impl Into<String>) -> Client {
        self.client(self.team.id, Some(credential.into()))
    }

    fn client(&self, team_id: Uuid, credential: Option<String>) -> Client {
        Client {
            router: self.router.clone(),
            team_id,
            user_id: None,
            credential,
        }
    }

    /// Serves over a socket until the test ends, wrapped in the layers that `around` adds; returns the address.
    pub async fn serve(&self, around: impl FnOnce(Router) -> Router) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = around(self.router.clone());
        let limits = ConnectionLimits::new(&Config::from_lookup(&|_| None).unwrap().http, MAX_DESCRIPTORS);
        let connections = Connections::new(limits, self.database.clock().clone());
        tokio::spawn(async move { connections.serve(listener, router, std::future::pending()).await });
        address
    }

    /// Returns the wide events of all requests, after all of them have ended.
    pub async fn wide_events(&self) -> Vec<Value> {
        self.written.wait_for_events(&self.wide_events, 1).await
    }

    /// Returns the wide event of the newest request.
    pub async fn wide_event(&self) -> Value {
        self.wide_events().await.pop().unwrap()
    }

    /// Returns the document at `/openapi.json`.
    pub async fn openapi(&self) -> Value {
        self.anonymous().request(Method::GET, "/openapi.json").await.ok()
    }

    /// Returns the number of messages that `work` sends to the database, and its result.
    pub async fn round_trips<T>(&self, work: impl Future<Output = T>) -> (u64, T) {
        let before = self.database.stats().round_trips();
        let done = work.await;
        (self.database.stats().round_trips() - before, done)
    }
}

/// Returns the service's options, with a smaller write-ahead log.
pub fn run_options(storage: &TempDir) -> RunsOptions {
    RunsOptions::new(storage.path(), "http://elsewhere.test").segment_bytes(8 << 20)
}

/// Returns the service's default configuration of wide events.
fn wide_events_config() -> WideEventsConfig {
    Config::from_lookup(&|_| None).unwrap().wide_events
}

/// Returns a token of the tests' identity provider that is valid for an hour.
pub fn token(token: &NewToken) -> String {
    mint(&auth_config(), token, TimeDelta::hours(1)).unwrap()
}

/// Returns a token of `subject` that `acting` uses.
pub fn impersonation(acting: &str, subject: &str) -> String {
    token(&NewToken::new(subject).acting(ActingPerson {
        issuer: ISSUER.to_owned(),
        subject: acting.to_owned(),
    }))
}

/// A client with or without a credential, and the team whose paths it requests.
#[derive(Clone, Debug)]
pub struct Client {
    /// The person's row in `users`, if they are a member.
    pub user_id: Option<Uuid>,
    /// The team for the paths of [`Client::get`] and similar functions.
    pub team_id: Uuid,
    /// The credential for `Authorization: Bearer …`.
    pub credential: Option<String>,
    router: Router,
}

impl Client {
    /// Returns the same person as a client of another team.
    #[must_use]
    pub fn for_team(&self, team_id: Uuid) -> Self {
        Self {
            team_id,
            ..self.clone()
        }
    }

    /// Returns the id of the person's row.
    pub fn id(&self) -> Uuid {
        self.user_id.unwrap()
    }

    /// Gets a path under the team's.
    pub fn get(&self, path: &str) -> TestRequest {
        self.team_request(Method::GET, path)
    }

    /// Posts JSON to a path under the team's.
    pub fn post(&self, path: &str, body: Value) -> TestRequest {
        self.team_request(Method::POST, path).json(body)
    }

    /// Sends a PATCH for any version (`If-Match: *`).
    pub fn patch(&self, path: &str, body: Value) -> TestRequest {
        self.team_request(Method::PATCH, path).json(body).if_match("*")
    }

    /// Sends a PUT without a body.
    pub fn put(&self, path: &str) -> TestRequest {
        self.team_request(Method::PUT, path)
    }

    /// Sends a DELETE for any version (`If-Match: *`).
    pub fn delete(&self, path: &str) -> TestRequest {
        self.team_request(Method::DELETE, path).if_match("*")
    }

    /// Returns any request to a path under the team's.
    pub fn team_request(&self, method: Method, path: &str) -> TestRequest {
        self.request(method, &format!("/v1/teams/{}{path}", self.team_id))
    }

    /// Returns any request to any path.
    pub fn request(&self, method: Method, path: &str) -> TestRequest {
        let mut headers = HeaderMap::new();
        if let Some(credential) = &self.credential {
            headers.insert(AUTHORIZATION, format!("Bearer {credential}").parse().unwrap());
        }
        TestRequest {
            router: self.router.clone(),
            method,
            path: path.to_owned(),
            headers,
            body: Vec::new(),
        }
    }

    /// Creates a campaign.
    pub async fn create_campaign(&self, name: &str, budget: &str) -> Campaign {
        let answer = self.post("/campaigns", json!({"name": name, "budget": budget})).await;
        let etag = answer.header(ETAG.as_str());
        Campaign::new(&answer.is(StatusCode::CREATED).json(), etag)
    }

    /// Returns the id of a campaign's thread.
    pub async fn thread_of(&self, campaign: &Campaign) -> String {
        let path = format!("/threads?object_type=campaign&object_id={}", campaign.id);
        let page = self.get(&path).await.ok();
        page["items"][0]["id"].as_str().unwrap().to_owned()
    }

    /// Creates a campaign, and returns it with its thread's path.
    pub async fn campaign_with_thread(&self, name: &str) -> (Campaign, String) {
        let campaign = self.create_campaign(name, "100").await;
        let thread = format!("/threads/{}", self.thread_of(&campaign).await);
        (campaign, thread)
    }

    /// Comments on a thread, by its path, and returns the message.
    pub async fn comment(&self, thread: &str, body: &str) -> Value {
        let answer = self.post(&format!("{thread}/messages"), json!({"body": body})).await;
        answer.is(StatusCode::CREATED).json()
    }

    /// Returns the content of a thread, by its path: sentences, and comments as `Ada: text`.
    pub async fn thread_texts(&self, thread: &str) -> Vec<String> {
        let page = self.get(&format!("{thread}/messages?limit=200")).await.ok();
        page["items"].as_array().unwrap().iter().map(message_text).collect()
    }

    /// Returns the inbox.
    pub async fn inbox(&self) -> Value {
        self.get("/notifications").await.ok()
    }

    /// Returns the unread notifications, newest first: `2 × Ada created campaign “Spring” (watcher)`.
    pub async fn unread(&self) -> Vec<String> {
        let inbox = self.get("/notifications?unread=true").await.ok();
        let lines: Vec<_> = inbox["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(notification_line)
            .collect();
        assert_eq!(inbox["unread"], lines.len(), "the total is the number of listed items");
        lines
    }

    /// Creates an API key, and returns a client that has it, and the key's id.
    pub async fn make_key(&self, name: &str, role: &str) -> (Self, String) {
        let answer = self.post("/api-keys", json!({"name": name, "role": role})).await;
        let made = answer.is(StatusCode::CREATED).json();
        let holder = Self {
            user_id: None,
            credential: Some(made["key"].as_str().unwrap().to_owned()),
            ..self.clone()
        };
        (holder, made["id"].as_str().unwrap().to_owned())
    }
}

fn message_text(message: &Value) -> String {
    match message["kind"].as_str() {
        Some("system") => message["event"]["text"].as_str().unwrap().to_owned(),
        _ => format!(
            "{}: {}",
            message["author"]["name"].as_str().unwrap(),
            message["body"].as_str().unwrap_or("(taken back)")
        ),
    }
}

fn notification_line(item: &Value) -> String {
    format!(
        "{} × {} ({})",
        item["unread_count"],
        item["text"].as_str().unwrap(),
        item["reason"].as_str().unwrap()
    )
}

/// A campaign, as a client knows it.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// Its id.
    pub id: String,
    /// Its path under the team's.
    pub path: String,
    /// The version that the client last read.
    pub etag: String,
}

impl Campaign {
    fn new(json: &Value, etag: Option<String>) -> Self {
        let id = json["id"].as_str().unwrap().to_owned();
        Self {
            path: format!("/campaigns/{id}"),
            id,
            etag: etag.unwrap(),
        }
    }
}
