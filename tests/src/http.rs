//! The service as its clients see it: a team, its people, and what they ask.
//!
//! ```ignore
//! let app = TestApp::start().await;
//! let ada = app.member("ada", Role::Owner).await;
//! ada.create_campaign("Spring", "100").await;
//! let threads = ada.get("/threads").await.ok();
//! ```
//!
//! Requests go through the router that `main.rs` serves, without a socket; [`TestApp::serve`] is for what only
//! a socket shows.

use std::fmt;
use std::future::IntoFuture;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, ETAG, IF_MATCH};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use chrono::TimeDelta;
use daybook::auth::{ActingPerson, Authenticator, NewToken, mint};
use daybook::config::{AuthConfig, HttpConfig, JwtKey, Secret};
use daybook::events::Consumers;
use daybook::http::AppState;
use daybook::notifications::send_notifications;
use daybook::tenancy::{Database, DatabaseOptions, Role};
use daybook::testing::{TestDb, TestTeam};
use daybook::threads::post_to_thread;
use daybook::{App, campaigns};
use daybook_entity::campaign;
use daybook_migration::sample;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower::ServiceExt;
use uuid::Uuid;

/// Signs the tests' tokens.
pub const SECRET: &str = "the secret of the tests' own identity provider";
/// Who vouches for the people of [`TestTeam`].
pub const ISSUER: &str = "https://issuer.test";
/// As small as it may be set, so that a body over it is quickly made.
pub const BODY_LIMIT_BYTES: usize = 64 * 1024;

/// The program of `main.rs`. Consumers are named, since the linker would add those of other tests.
pub fn sample_program() -> App {
    App::new()
        .model::<campaign::Model>()
        .migrator::<sample::Migrator>()
        .routes(campaigns::routes())
        .consumers(Consumers::of([post_to_thread::CONSUMER, send_notifications::CONSUMER]).unwrap())
}

/// Whose tokens are believed.
pub fn auth_config() -> AuthConfig {
    AuthConfig {
        key: Some(JwtKey::Secret(Secret::new(SECRET))),
        issuer: ISSUER.to_owned(),
        audience: None,
    }
}

/// The whole service with one team, Acme, on a database of its own.
#[derive(Clone, Debug)]
pub struct TestApp {
    /// The database's handle for tests.
    pub db: TestDb,
    /// As the service has it.
    pub database: Database,
    /// Acme.
    pub team: TestTeam,
    router: Router,
}

impl TestApp {
    /// Without anybody in it.
    pub async fn start() -> Self {
        let db = TestDb::with_migrations(sample_program().migrations().clone()).await;
        let options = DatabaseOptions {
            max_connections: 6,
            ..db.options()
        };
        Self::start_with(db, options).await
    }

    /// On a database and a pool of the test's own, with [`sample_program`]'s migrations.
    pub async fn start_with(db: TestDb, options: DatabaseOptions) -> Self {
        let program = sample_program();
        let database = program.equip(Database::connect(options).await.unwrap()).unwrap();
        let http = HttpConfig {
            bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            body_limit_bytes: BODY_LIMIT_BYTES,
            request_timeout: Duration::from_secs(20),
        };
        let authenticator = Authenticator::new(&auth_config()).unwrap();
        let state = AppState::new(database.clone(), authenticator, http, None);
        let team = db.team("Acme").await;
        Self {
            db,
            database,
            team,
            router: program.into_router(state),
        }
    }

    /// Adds a person to Acme, and gives them a token.
    pub async fn member(&self, handle: &str, role: Role) -> Client {
        self.member_of(&self.team, handle, role).await
    }

    /// Adds a person to a team, and gives them a token.
    pub async fn member_of(&self, team: &TestTeam, handle: &str, role: Role) -> Client {
        let member = team.member(handle, role).await;
        Client {
            user_id: Some(member.user_id),
            ..self.client(team.id, Some(token(&NewToken::new(handle))))
        }
    }

    /// Somebody without credentials at Acme's door.
    pub fn anonymous(&self) -> Client {
        self.client(self.team.id, None)
    }

    /// Whoever holds a credential, at Acme's door.
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

    /// Serves over a socket, until the test ends, behind what `around` wraps the service in; says where.
    pub async fn serve(&self, around: impl FnOnce(Router) -> Router) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = around(self.router.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    /// The document at `/openapi.json`.
    pub async fn openapi(&self) -> Value {
        self.anonymous().at(Method::GET, "/openapi.json").await.ok()
    }

    /// How many messages to the database `work` costs.
    pub async fn round_trips<T>(&self, work: impl Future<Output = T>) -> (u64, T) {
        let before = self.database.stats().round_trips();
        let done = work.await;
        (self.database.stats().round_trips() - before, done)
    }
}

/// A token of the tests' identity provider that holds for an hour.
pub fn token(token: &NewToken) -> String {
    mint(&auth_config(), token, TimeDelta::hours(1)).unwrap()
}

/// A token of `subject`'s that `acting` uses.
pub fn impersonation(acting: &str, subject: &str) -> String {
    token(&NewToken {
        acting: Some(ActingPerson {
            issuer: ISSUER.to_owned(),
            subject: acting.to_owned(),
        }),
        ..NewToken::new(subject)
    })
}

/// Somebody with a credential, or without one, at a team's door.
#[derive(Clone, Debug)]
pub struct Client {
    /// Their row in `users`, if they are a member.
    pub user_id: Option<Uuid>,
    /// Whose routes [`Client::get`] and its like ask.
    pub team_id: Uuid,
    /// What they present as `Authorization: Bearer …`.
    pub credential: Option<String>,
    router: Router,
}

impl Client {
    /// The same person at another team's door.
    #[must_use]
    pub fn at_team(&self, team_id: Uuid) -> Self {
        Self {
            team_id,
            ..self.clone()
        }
    }

    /// The person's row.
    pub fn id(&self) -> Uuid {
        self.user_id.unwrap()
    }

    /// Asks for a path under the team's.
    pub fn get(&self, path: &str) -> Ask {
        self.ask(Method::GET, path)
    }

    /// Posts JSON to a path under the team's.
    pub fn post(&self, path: &str, body: Value) -> Ask {
        self.ask(Method::POST, path).json(body)
    }

    /// Sends changes, whatever the version: `If-Match: *`.
    pub fn patch(&self, path: &str, body: Value) -> Ask {
        self.ask(Method::PATCH, path).json(body).if_match("*")
    }

    /// Puts, without a body.
    pub fn put(&self, path: &str) -> Ask {
        self.ask(Method::PUT, path)
    }

    /// Deletes, whatever the version: `If-Match: *`.
    pub fn delete(&self, path: &str) -> Ask {
        self.ask(Method::DELETE, path).if_match("*")
    }

    /// Any request to a path under the team's.
    pub fn ask(&self, method: Method, path: &str) -> Ask {
        self.at(method, &format!("/v1/teams/{}{path}", self.team_id))
    }

    /// Any request to any path.
    pub fn at(&self, method: Method, path: &str) -> Ask {
        let mut headers = HeaderMap::new();
        if let Some(credential) = &self.credential {
            headers.insert(AUTHORIZATION, format!("Bearer {credential}").parse().unwrap());
        }
        Ask {
            router: self.router.clone(),
            method,
            path: path.to_owned(),
            headers,
            body: Vec::new(),
        }
    }

    /// Makes a campaign.
    pub async fn create_campaign(&self, name: &str, budget: &str) -> Campaign {
        let answer = self.post("/campaigns", json!({"name": name, "budget": budget})).await;
        let etag = answer.header(ETAG.as_str());
        Campaign::new(&answer.is(StatusCode::CREATED).json(), etag)
    }

    /// An object's thread.
    pub async fn thread_of(&self, campaign: &Campaign) -> String {
        let path = format!("/threads?object_type=campaign&object_id={}", campaign.id);
        let page = self.get(&path).await.ok();
        page["items"][0]["id"].as_str().unwrap().to_owned()
    }

    /// A campaign and its thread's path.
    pub async fn campaign_with_thread(&self, name: &str) -> (Campaign, String) {
        let campaign = self.create_campaign(name, "100").await;
        let thread = format!("/threads/{}", self.thread_of(&campaign).await);
        (campaign, thread)
    }

    /// Comments on a thread, by its path, and gives the message.
    pub async fn comment(&self, thread: &str, body: &str) -> Value {
        let answer = self
            .post(&format!("{thread}/messages"), json!({"body": body}))
            .await;
        answer.is(StatusCode::CREATED).json()
    }

    /// What a thread says, by its path: sentences, and comments as `Ada: text`.
    pub async fn reads(&self, thread: &str) -> Vec<String> {
        let page = self.get(&format!("{thread}/messages?limit=200")).await.ok();
        page["items"].as_array().unwrap().iter().map(told).collect()
    }

    /// The inbox.
    pub async fn inbox(&self) -> Value {
        self.get("/notifications").await.ok()
    }

    /// What is unread, newest first: `2 × Ada created campaign “Spring” (watcher)`.
    pub async fn unread(&self) -> Vec<String> {
        let inbox = self.get("/notifications?unread=true").await.ok();
        let lines: Vec<_> = inbox["items"].as_array().unwrap().iter().map(notified).collect();
        assert_eq!(inbox["unread"], lines.len(), "the total counts what is listed");
        lines
    }

    /// Makes an API key and gives whoever holds it, and the key's id.
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

fn told(message: &Value) -> String {
    match message["kind"].as_str() {
        Some("system") => message["event"]["text"].as_str().unwrap().to_owned(),
        _ => format!(
            "{}: {}",
            message["author"]["name"].as_str().unwrap(),
            message["body"].as_str().unwrap_or("(taken back)")
        ),
    }
}

fn notified(item: &Value) -> String {
    format!(
        "{} × {} ({})",
        item["unread_count"],
        item["text"].as_str().unwrap(),
        item["reason"].as_str().unwrap()
    )
}

/// A campaign as a client knows it.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// Its id.
    pub id: String,
    /// Its path under the team's.
    pub path: String,
    /// The version that was seen.
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

/// A request that is sent when it is awaited.
#[derive(Clone, Debug)]
#[must_use = "a request that nobody awaits is not sent"]
pub struct Ask {
    router: Router,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Ask {
    /// With a JSON body.
    pub fn json(self, body: Value) -> Self {
        self.header(CONTENT_TYPE.as_str(), "application/json")
            .body(body.to_string())
    }

    /// With a body of whatever bytes, its type left as it is.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// With a header, in place of one of that name.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, value.parse().unwrap());
        self
    }

    /// Without a header.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    /// Of the version that was seen.
    pub fn if_match(self, etag: &str) -> Self {
        self.header(IF_MATCH.as_str(), etag)
    }

    /// With an `Idempotency-Key`.
    pub fn once(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    /// As the bytes that a client sends over HTTP/1.1, on a connection that it doesn't mean to use again.
    pub fn on_the_wire(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n", self.method, self.path);
        text.push_str(&format!("content-length: {}\r\n", self.body.len()));
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    async fn send(self) -> Answer {
        let asked = format!("{} {}", self.method, self.path);
        let mut request = Request::builder().method(self.method).uri(&self.path);
        *request.headers_mut().unwrap() = self.headers;
        let response = self
            .router
            .oneshot(request.body(Body::from(self.body)).unwrap())
            .await
            .unwrap();
        let (parts, body) = response.into_parts();
        Answer {
            asked,
            status: parts.status,
            headers: parts.headers,
            body: to_bytes(body, usize::MAX).await.unwrap().to_vec(),
        }
    }
}

impl IntoFuture for Ask {
    type Output = Answer;
    type IntoFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// What came back.
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, byte for byte.
    pub body: Vec<u8>,
    asked: String,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answered {}: {}", self.asked, self.status, self.text())
    }
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<String> {
        Some(self.headers.get(name)?.to_str().unwrap().to_owned())
    }

    /// The `ETag`.
    pub fn etag(&self) -> String {
        self.header(ETAG.as_str()).unwrap_or_else(|| panic!("{self:?} has no ETag"))
    }

    /// Must have this status.
    pub fn is(self, status: StatusCode) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Must be a success; its JSON, null for an empty body.
    pub fn ok(self) -> Value {
        assert!(self.status.is_success(), "{self:?}");
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// Must be a whole problem document of this status and code.
    pub fn problem(self, status: StatusCode, code: &str) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type").as_deref(), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["type"], format!("/problems/{code}"), "{self:?}");
        assert_eq!(problem["status"], status.as_u16(), "{self:?}");
        assert!(!problem["title"].as_str().unwrap().is_empty(), "{self:?}");
        assert!(!problem["detail"].as_str().unwrap().is_empty(), "{self:?}");
        assert_eq!(problem["request_id"], self.header("x-request-id").unwrap(), "{self:?}");
        problem
    }

    /// Must be 422; the fields that were wrong, in order.
    pub fn wrong_fields(self) -> Vec<String> {
        let problem = self.problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid");
        let errors = problem["errors"].as_array().unwrap().clone();
        errors
            .iter()
            .map(|error| {
                assert!(!error["detail"].as_str().unwrap().is_empty(), "{problem}");
                error["field"].as_str().unwrap().to_owned()
            })
            .collect()
    }
}
