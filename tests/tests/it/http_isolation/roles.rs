//! Tests the rights of a viewer and of an API key, for every route.

use axum::http::{Method, StatusCode};
use daybook::tenancy::Role;
use daybook_tests::http::{Client, TestApp};
use serde_json::json;
use sqlx::Executor;

use super::routes::{all, one_of_each};

/// The routes that a viewer may use to change their own data.
const OWN_DATA_ROUTES: [&str; 14] = [
    "POST /v1/teams/{team_id}/live/tickets",
    "DELETE /v1/teams/{team_id}/notification-preferences/{event_type}/{object_type}",
    "PUT /v1/teams/{team_id}/notification-preferences/{event_type}/{object_type}",
    "PUT /v1/teams/{team_id}/notifications/read",
    "DELETE /v1/teams/{team_id}/notifications/{id}/read",
    "PUT /v1/teams/{team_id}/notifications/{id}/read",
    "POST /v1/teams/{team_id}/runs/{run_id}/tickets",
    "DELETE /v1/teams/{team_id}/threads/{id}/follow",
    "PUT /v1/teams/{team_id}/threads/{id}/follow",
    "DELETE /v1/teams/{team_id}/threads/{id}/mute",
    "PUT /v1/teams/{team_id}/threads/{id}/mute",
    "PUT /v1/teams/{team_id}/threads/{id}/read",
    "DELETE /v1/teams/{team_id}/watches/{object_type}",
    "PUT /v1/teams/{team_id}/watches/{object_type}",
];
/// The routes that a viewer may not even read.
const ADMIN_ROUTES: [&str; 2] = [
    "GET /v1/teams/{team_id}/api-keys",
    "GET /v1/teams/{team_id}/invitations",
];

#[tokio::test]
async fn a_viewer_reads_everything_and_changes_only_their_own_data() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let vera = app.member("vera", Role::Viewer).await;
    let mut values = one_of_each(&app, &ada, &app.member("grace", Role::Member).await).await;
    vera.put(&format!("/threads/{}/follow", values["threads"])).await.ok();
    ada.comment(&format!("/threads/{}", values["threads"]), "for @vera")
        .await;
    values.insert(
        "notifications",
        vera.inbox().await["items"][0]["id"].as_str().unwrap().to_owned(),
    );
    let before = app.team.events().await.len();

    let mut own = Vec::new();
    for route in all(&app).await.iter().filter(|route| route.is_of_a_team()) {
        let answer = route.request(&vera, &values).await;
        if route.method == "GET" {
            let expected = if ADMIN_ROUTES.contains(&route.name().as_str()) {
                StatusCode::FORBIDDEN
            } else {
                route.allowed_status()
            };
            assert_eq!(answer.status, expected, "{answer:?}");
        } else if answer.status.is_success() {
            own.push(route.name());
        } else {
            answer.problem(StatusCode::FORBIDDEN, "forbidden");
        }
    }
    assert_eq!(own, OWN_DATA_ROUTES);
    assert_eq!(app.team.events().await.len(), before);
}

#[tokio::test]
async fn a_key_has_the_rights_of_its_role_but_not_those_of_people() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let values = one_of_each(&app, &ada, &app.member("grace", Role::Member).await).await;
    let (viewer, _) = ada.make_key("reader", "viewer").await;
    let (member, _) = ada.make_key("importer", "member").await;
    let (admin, _) = ada.make_key("janitor", "admin").await;

    for route in all(&app).await.iter().filter(|route| route.is_of_a_team()) {
        let answer = route.request(&viewer, &values).await;
        let for_people = ["/watches", "/notifications", "/notification-preferences"]
            .iter()
            .any(|path| route.path.contains(path));
        let reads = route.method == "GET" || route.path.ends_with("/tickets");
        let expected = if reads && !ADMIN_ROUTES.contains(&route.name().as_str()) && !for_people {
            route.allowed_status()
        } else {
            StatusCode::FORBIDDEN
        };
        assert_eq!(answer.status, expected, "{answer:?}");
    }

    member.create_campaign("Imported", "1").await;
    let event = app.team.events().await.pop().unwrap();
    assert_eq!((event.actor.kind(), event.actor.name()), ("api_key", "importer"));
    let thread = format!("/threads/{}", values["threads"]);
    assert_eq!(member.comment(&thread, "imported").await["author"]["kind"], "api_key");
    let follow = member.put(&format!("{thread}/follow")).await;
    follow.problem(StatusCode::FORBIDDEN, "forbidden");
    assert_eq!(may_administer(&member).await, [403, 403, 403]);
    // An admin's key adds people, but can't make an owner.
    assert_eq!(may_administer(&admin).await, [201, 201, 403]);
}

/// Returns the status of adding a member, making a key, and making an owner.
async fn may_administer(client: &Client) -> [u16; 3] {
    let person = |name: &str, role: &str| json!({"subject": name, "display_name": name, "handle": name, "role": role});
    [
        client.post("/members", person("mia", "member")).await,
        client.post("/api-keys", json!({"name": "k", "role": "admin"})).await,
        client.post("/members", person("olga", "owner")).await,
    ]
    .map(|answer| answer.status.as_u16())
}

#[tokio::test]
async fn an_invalid_key_has_no_access() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let (key, id) = ada.make_key("robot", "member").await;
    let beta = app.db.team("Beta").await;
    app.member_of(&beta, "bob", Role::Owner).await;
    key.get("/campaigns").await.ok();

    let foreign = key.for_team(beta.id).get("/campaigns").await;
    let foreign = foreign.problem(StatusCode::UNAUTHORIZED, "unauthenticated");
    let unknown = key.for_team(uuid::Uuid::now_v7()).get("/campaigns").await;
    let unknown = unknown.problem(StatusCode::UNAUTHORIZED, "unauthenticated");
    assert_eq!(foreign["detail"], unknown["detail"]);
    key.request(Method::GET, "/v1/me")
        .await
        .problem(StatusCode::FORBIDDEN, "forbidden");

    let whole = key.credential.clone().unwrap();
    let mut forged = whole.clone();
    let last = forged.pop().unwrap();
    forged.push(if last == 'x' { 'y' } else { 'x' });
    for wrong in [forged.as_str(), "dbk_", "dbk_short_secret", &format!("{whole}!")] {
        let answer = app.bearer(wrong).get("/campaigns").await;
        let text = answer.text();
        answer.problem(StatusCode::UNAUTHORIZED, "unauthenticated");
        assert!(wrong == "dbk_" || !text.contains(wrong), "{text}");
    }

    let mut inside = app.team.connection().await;
    inside.execute("UPDATE api_keys SET expires_at = now()").await.unwrap();
    key.get("/campaigns")
        .await
        .problem(StatusCode::UNAUTHORIZED, "unauthenticated");
    inside.execute("UPDATE api_keys SET expires_at = NULL").await.unwrap();
    key.get("/campaigns").await.ok();
    ada.delete(&format!("/api-keys/{id}")).await.is(StatusCode::NO_CONTENT);
    key.get("/campaigns")
        .await
        .problem(StatusCode::UNAUTHORIZED, "unauthenticated");
}

#[tokio::test]
async fn a_keys_secret_is_shown_once_and_not_stored() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let made = ada.post("/api-keys", json!({"name": "robot", "role": "member"})).await;
    assert_eq!(made.header("cache-control").as_deref(), Some("no-store"));
    let made = made.is(StatusCode::CREATED).json();
    let whole = made["key"].as_str().unwrap();
    let secret = whole.rsplit('_').next().unwrap();
    assert_eq!(whole, format!("dbk_{}_{secret}", made["prefix"].as_str().unwrap()));
    let listed = ada.get("/api-keys").await.ok().to_string();
    assert!(listed.contains(made["prefix"].as_str().unwrap()) && !listed.contains(secret));
    let mut inside = app.team.connection().await;
    let row: String = sqlx::query_scalar("SELECT to_json(k)::text FROM api_keys k")
        .fetch_one(&mut inside)
        .await
        .unwrap();
    assert!(!row.contains(secret));
    assert!(row.contains("secret_sha256"));
}
