//! Every route, with values for its placeholders and a valid body.

use std::collections::BTreeMap;
use std::path::Path;

use axum::http::{Method, StatusCode};
use daybook::jobs::{SessionSpec, with_job_session};
use daybook::tenancy::{Context, Role};
use daybook_tests::http::{Client, TestApp, TestRequest};
use serde_json::{Value, json};

/// The routes that need no credential.
const PUBLIC_ROUTES: [&str; 4] = ["GET /healthz", "GET /metrics", "GET /openapi.json", "GET /readyz"];

/// A route, as in the OpenAPI document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    pub path: String,
    pub method: String,
}

impl Route {
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    pub fn is_of_a_team(&self) -> bool {
        self.path.starts_with("/v1/teams/{team_id}")
    }

    /// Returns the status for a caller who is allowed. No connection can become a WebSocket in these tests.
    pub fn allowed_status(&self) -> StatusCode {
        match self.name().as_str() {
            "GET /v1/teams/{team_id}/live" => StatusCode::BAD_REQUEST,
            // A member has no invitation to decline.
            "POST /v1/me/invitations/{team_id}/decline" => StatusCode::NOT_FOUND,
            // A team must keep an owner.
            "DELETE /v1/me" => StatusCode::CONFLICT,
            "POST /v1/teams/{team_id}/live/tickets" | "POST /v1/teams/{team_id}/runs/{run_id}/tickets" => {
                StatusCode::CREATED
            }
            "POST /v1/teams/{team_id}/job-sessions/retry" => StatusCode::ACCEPTED,
            // The only session did not come from the queue.
            "POST /v1/teams/{team_id}/job-sessions/{session_id}/retry"
            | "POST /v1/teams/{team_id}/job-sessions/{session_id}/cancel"
            // The run has not ended.
            | "GET /v1/teams/{team_id}/runs/{run_id}/summary" => StatusCode::CONFLICT,
            _ => StatusCode::OK,
        }
    }

    /// Returns the names in braces, without the team.
    pub fn placeholders(&self) -> Vec<String> {
        let names = self
            .path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        names.filter(|name| *name != "team_id").map(str::to_owned).collect()
    }

    /// Returns the word before the last placeholder: for `campaigns/{id}`, `campaigns`.
    pub fn after(&self) -> &str {
        let parts: Vec<_> = self.path.split('/').collect();
        let at = parts
            .iter()
            .rposition(|part| part.ends_with("id}") && *part != "{team_id}");
        at.map_or("", |at| parts[at - 1])
    }

    /// Returns the request with a valid body and with these values for its placeholders.
    pub fn request(&self, client: &Client, values: &BTreeMap<&str, String>) -> TestRequest {
        let mut path = self.path.replace("{team_id}", &client.team_id.to_string());
        for name in self.placeholders() {
            let key = if name.ends_with("id") {
                self.after()
            } else {
                name.as_str()
            };
            let value = values
                .get(key)
                .unwrap_or_else(|| panic!("{}: no value for {name} ({key})", self.name()));
            path = path.replace(&format!("{{{name}}}"), value);
        }
        let request = client.request(self.method.parse().unwrap(), &path).if_match("*");
        match self.body() {
            Some(body) => request.json(body),
            None => request,
        }
    }

    /// Returns a body for each route that takes one; a new route needs its body here.
    fn body(&self) -> Option<Value> {
        if matches!(self.method.as_str(), "GET" | "DELETE") {
            return None;
        }
        let Some(under) = self.path.strip_prefix("/v1/teams/{team_id}") else {
            return (self.name() == "PATCH /v1/me").then(|| json!({"display_name": "Ada"}));
        };
        let nobodys = "01900000-0000-7000-8000-000000000000";
        Some(match (self.method.as_str(), under) {
            ("POST", "/campaigns") => json!({"name": "Another", "budget": "1"}),
            ("PATCH", "/campaigns") => json!({"ids": [nobodys], "changes": {"budget": "2"}}),
            ("PATCH", "/campaigns/{id}") => json!({"budget": "3"}),
            ("POST", "/campaigns/{id}/transition") => json!({"state": "active"}),
            ("POST", "/threads/{id}/messages") | ("PATCH", "/threads/{id}/messages/{seq}") => json!({"body": "well"}),
            ("PUT", "/threads/{id}/read") => json!({"seq": 1}),
            ("PUT", "/notification-preferences/{event_type}/{object_type}") => json!({"in_app": false}),
            ("PUT", _) => return None,
            ("POST", "/members") => {
                json!({"subject": "new", "display_name": "New", "handle": "new", "role": "member"})
            }
            ("PATCH", "/members/{user_id}") => json!({"handle": "other"}),
            ("POST", "/live/tickets" | "/job-sessions/{session_id}/retry" | "/job-sessions/{session_id}/cancel") => {
                return None;
            }
            ("POST", "/job-sessions/retry") => json!({"job": "sync"}),
            ("POST", "/runs") => json!({"name": "nightly"}),
            ("POST", "/runs/{run_id}/events") => json!({"type": "console.line"}),
            ("POST", "/runs/{run_id}/complete") => json!({"status": "failed"}),
            ("POST", "/runs/{run_id}/cancel" | "/runs/{run_id}/tickets") => return None,
            ("POST", "/api-keys") => json!({"name": "another", "role": "viewer"}),
            ("POST", "/api-keys/{id}/adopt") => return None,
            _ => panic!("{} takes a body: add one here", self.name()),
        })
    }
}

/// Returns all routes, by path and method.
pub async fn all(app: &TestApp) -> Vec<Route> {
    let document = app.openapi().await;
    let paths = document["paths"].as_object().unwrap();
    let methods = ["get", "put", "post", "patch", "delete", "head", "options", "trace"];
    let mut routes: Vec<_> = paths
        .iter()
        .flat_map(|(path, item)| {
            let known = item
                .as_object()
                .unwrap()
                .keys()
                .filter(|key| methods.contains(&key.as_str()));
            known.map(|method| Route {
                path: path.clone(),
                method: method.to_uppercase(),
            })
        })
        .collect();
    routes.push(Route {
        path: "/openapi.json".to_owned(),
        method: "GET".to_owned(),
    });
    routes.sort();
    routes
}

/// Creates one object of each kind in the owner's team, by the word before its id. Grace is the member.
pub async fn one_of_each(app: &TestApp, owner: &Client, grace: &Client) -> BTreeMap<&'static str, String> {
    let (campaign, thread) = owner.campaign_with_thread("Spring").await;
    let comment = owner.comment(&thread, "hello").await;
    let (_, key) = owner.make_key("robot", "viewer").await;
    grace.comment(&thread, "hello to you").await;
    let notification = owner.inbox().await["items"][0]["id"].as_str().unwrap().to_owned();
    let context = Context::system(owner.team_id, "test");
    let story = context.correlation_id.to_string();
    let spec = SessionSpec::new("sync").context(context);
    let session = with_job_session(&app.database, spec, async |session| Ok(session.id()));
    let run = owner.post("/runs", json!({"name": "nightly"})).await.ok();
    let guest = format!("g-{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
    let invitation = owner.invite(&guest, "viewer").await.is(StatusCode::CREATED).json();
    BTreeMap::from([
        ("runs", run["id"].as_str().unwrap().to_owned()),
        ("campaigns", campaign.id),
        ("job-sessions", session.await.unwrap().to_string()),
        ("stories", story),
        ("threads", thread.trim_start_matches("/threads/").to_owned()),
        ("seq", comment["seq"].to_string()),
        ("api-keys", key),
        ("invitations", invitation["id"].as_str().unwrap().to_owned()),
        ("members", grace.id().to_string()),
        ("notifications", notification),
        ("object_type", "campaign".to_owned()),
        ("event_type", "DELETED".to_owned()),
    ])
}

#[tokio::test]
async fn every_route_is_on_the_golden_list() {
    let app = TestApp::start().await;
    let mut listed = String::new();
    for route in all(&app).await {
        listed.push_str(&route.name());
        listed.push('\n');
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/routes.txt");
    if std::env::var_os("DAYBOOK_BLESS").is_some() {
        std::fs::write(&file, &listed).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(
        listed,
        golden,
        "routes differ from {}; DAYBOOK_BLESS=1 rewrites it",
        file.display()
    );
}

#[tokio::test]
async fn anonymous_callers_are_refused_by_all_routes_except_the_public_ones() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let values = one_of_each(&app, &ada, &app.member("grace", Role::Member).await).await;
    let before = app.team.events().await.len();
    let mut open = Vec::new();
    for route in all(&app).await {
        let answer = route.request(&app.anonymous(), &values).await;
        if answer.status == StatusCode::UNAUTHORIZED {
            assert_eq!(
                answer.header("www-authenticate").as_deref(),
                Some("Bearer"),
                "{answer:?}"
            );
            answer.problem(StatusCode::UNAUTHORIZED, "unauthenticated");
        } else {
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
            open.push(route.name());
        }
    }
    assert_eq!(open, PUBLIC_ROUTES);
    assert_eq!(app.team.events().await.len(), before);
}

#[tokio::test]
async fn the_owner_reaches_every_route() {
    // Other tests here expect a refusal with these values. This test shows that the objects exist.
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    for route in all(&app).await {
        let mut values = one_of_each(&app, &ada, &grace).await;
        if route.path.ends_with("/members/{user_id}") && route.method == "DELETE" {
            values.insert("members", app.member("gone", Role::Viewer).await.id().to_string());
        }
        let answer = route.request(&ada, &values).await;
        // No object has the id in the bulk request's body.
        let bulk = route.name() == "PATCH /v1/teams/{team_id}/campaigns";
        assert!(
            bulk || answer.status.is_success() || answer.status == route.allowed_status(),
            "{answer:?}"
        );
        let event = app.wide_event().await;
        assert_eq!(event["route"], route.path, "{event:#}");
        assert_eq!(event["schema_errors"], serde_json::Value::Null, "{event:#}");
    }
}

#[tokio::test]
async fn invalid_ids_are_not_found() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let fine = one_of_each(&app, &ada, &app.member("grace", Role::Member).await).await;
    let long = "7".repeat(3_000);
    let wrong = [
        "x",
        "0",
        "-1",
        "%00",
        "%ff",
        "%F0%9F%98%80",
        "..",
        "*",
        "%27%3B--",
        "9223372036854775808",
        &long,
    ];
    for route in all(&app).await {
        let names: Vec<_> = route.placeholders();
        for name in names.iter().filter(|name| !name.ends_with("_type")) {
            let key = if name.ends_with("id") { route.after() } else { name };
            for value in wrong {
                let mut values = fine.clone();
                values.insert(fine.get_key_value(key).unwrap().0, value.to_owned());
                let answer = route.request(&ada, &values).await;
                assert_eq!(answer.status, StatusCode::NOT_FOUND, "{value}: {answer:?}");
            }
        }
        if route.is_of_a_team() {
            for value in wrong {
                let path = route.path.replace("{team_id}", value).replace(['{', '}'], "");
                let answer = ada.request(route.method.parse().unwrap(), &path).if_match("*").await;
                assert_eq!(answer.status, StatusCode::NOT_FOUND, "{value}: {answer:?}");
            }
        }
    }
    for value in ["%00", "%ff", "A", "-", "a%20b", &long] {
        for method in [Method::PUT, Method::DELETE] {
            for path in [
                "/watches/X",
                "/notification-preferences/X/campaign",
                "/notification-preferences/*/X",
            ] {
                let request = ada.team_request(method.clone(), &path.replace('X', value));
                let answer = request.json(json!({"in_app": false})).await;
                assert!(!answer.status.is_server_error(), "{value}: {answer:?}");
            }
        }
    }
}
