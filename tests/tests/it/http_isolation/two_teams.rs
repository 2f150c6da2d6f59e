//! Two teams that are isolated from each other.

use axum::http::StatusCode;
use daybook::tenancy::Role;
use daybook_tests::http::{TestApp, TestResponse};
use serde_json::{Value, json};
use uuid::Uuid;

use super::routes::{all, one_of_each};

/// Returns a problem without the fields that belong to the one request.
fn without_request(answer: TestResponse) -> Value {
    let mut problem = answer.problem(StatusCode::NOT_FOUND, "not-found");
    problem.as_object_mut().unwrap().remove("request_id");
    problem
}

#[tokio::test]
async fn another_team_looks_like_an_unknown_team() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let values = one_of_each(&app, &ada, &app.member("grace", Role::Member).await).await;
    let before = app.team.events().await.len();
    let beta = app.db.team("Beta").await;
    let bob = app.member_of(&beta, "bob", Role::Owner).await;
    let nobody = app.bearer(daybook_tests::http::token(&daybook::auth::NewToken::new("nobody")));

    for route in all(&app).await.iter().filter(|route| route.is_of_a_team()) {
        let foreign = without_request(route.request(&bob.for_team(app.team.id), &values).await);
        let unknown = without_request(route.request(&bob.for_team(Uuid::now_v7()), &values).await);
        assert_eq!(foreign, unknown, "{}", route.name());
        assert_eq!(
            without_request(route.request(&nobody, &values).await),
            unknown,
            "{}",
            route.name()
        );
        let with_key = route
            .request(&bob.for_team(app.team.id), &values)
            .idempotency_key("k")
            .await;
        assert_eq!(without_request(with_key), unknown, "{}", route.name());
    }
    assert_eq!(app.team.events().await.len(), before);
}

#[tokio::test]
async fn another_teams_objects_are_not_found() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let theirs = one_of_each(&app, &ada, &app.member("grace", Role::Member).await).await;
    let beta = app.db.team("Beta").await;
    // Bob is in both teams, and uses Beta's paths for Acme's objects: his rights in Acme don't apply there.
    app.member("bob", Role::Owner).await;
    let bob = app.member_of(&beta, "bob", Role::Owner).await;

    let mut tested = 0;
    for route in all(&app).await {
        if route.is_of_a_team() && !route.after().is_empty() {
            let answer = route.request(&bob, &theirs).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{answer:?}");
            tested += 1;
        }
    }
    assert!(tested >= 18, "only {tested} routes have ids");
    let bulk = json!({"ids": [theirs["campaigns"]], "changes": {"budget": "9"}});
    bob.patch("/campaigns", bulk)
        .await
        .problem(StatusCode::NOT_FOUND, "not-found");
    let query = format!("/threads?object_type=campaign&object_id={}", theirs["campaigns"]);
    assert_eq!(bob.get(&query).await.ok(), json!({"items": [], "next": null}));
    assert!(beta.events().await.is_empty());
}

#[tokio::test]
async fn lists_and_cursors_show_only_one_team() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    for n in 0..3 {
        ada.create_campaign(&format!("n{n}"), "1").await;
    }
    let beta = app.db.team("Beta").await;
    let bob = app.member_of(&beta, "bob", Role::Owner).await;
    bob.create_campaign("theirs", "1").await;
    for list in ["/campaigns", "/threads", "/api-keys", "/members"] {
        let page = ada.get(&format!("{list}?limit=1")).await.ok();
        let Some(next) = page["next"].as_str() else { continue };
        // A cursor is a position, not a right: in another team it shows that team's rows.
        let with_theirs = bob.get(&format!("{list}?cursor={next}")).await.ok();
        assert!(
            !with_theirs.to_string().contains(&app.team.id.to_string()),
            "{with_theirs}"
        );
        assert!(!with_theirs.to_string().contains("“n"), "{with_theirs}");
    }
    let names: Vec<_> = bob.get("/campaigns").await.ok()["items"].as_array().unwrap().clone();
    assert_eq!(names.len(), 1);
    assert_eq!(names[0]["name"], "theirs");
}

#[tokio::test]
async fn a_removed_member_is_refused_from_the_next_request() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let bob = app.member("bob", Role::Admin).await;
    let (key, _) = bob.make_key("robot", "member").await;
    bob.create_campaign("Spring", "1").await;
    ada.delete(&format!("/members/{}", bob.id())).await.is(StatusCode::OK);
    bob.get("/campaigns").await.problem(StatusCode::NOT_FOUND, "not-found");
    bob.post("/campaigns", json!({"name": "x", "budget": "1"}))
        .await
        .problem(StatusCode::NOT_FOUND, "not-found");
    assert_eq!(
        bob.request(axum::http::Method::GET, "/v1/me").await.ok()["teams"],
        json!([])
    );
    // The key was revoked with the member who is responsible for it.
    let key = key.get("/campaigns").await;
    key.problem(StatusCode::UNAUTHORIZED, "unauthenticated");
}
