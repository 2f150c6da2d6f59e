//! Tests campaigns over HTTP. [`refusals`] has the invalid requests, [`lost_updates`] the concurrent changes.

pub mod lost_updates;
mod refusals;

use axum::Router;
use axum::http::{Method, StatusCode};
use axum::routing::get;
use daybook::assert_events;
use daybook::error::{Error, Result};
use daybook::http::Team;
use daybook::tenancy::Role;
use daybook::testing::TestDb;
use daybook_tests::http::{TestApp, sample_program};
use serde_json::{Value, json};

#[tokio::test]
async fn changes_of_a_campaign_appear_in_its_thread_and_notify_its_watcher() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Viewer).await;
    grace.put("/watches/campaign").await.ok();

    let answer = ada
        .post(
            "/campaigns",
            json!({"name": "Spring", "budget": "100", "client_email": "client@example.com"}),
        )
        .await
        .is(StatusCode::CREATED);
    let made = answer.json();
    let path = format!("/campaigns/{}", made["id"].as_str().unwrap());
    assert_eq!(
        answer.header("location").unwrap(),
        format!("/v1/teams/{}{path}", app.team.id)
    );
    assert_eq!((&made["state"], &made["budget"]), (&json!("draft"), &json!("100")));

    let changed = ada
        .patch(&path, json!({"budget": "250.00", "client_email": null}))
        .if_match(&answer.etag())
        .await;
    assert_ne!(changed.etag(), answer.etag());
    assert_eq!(changed.ok()["budget"], "250.00");
    let same = ada.patch(&path, json!({"budget": 250})).await;
    assert_eq!(same.ok()["budget"], "250.00", "the same amount is not a change");

    for (state, reason) in [
        ("active", Value::Null),
        ("approved", json!("looks good")),
        ("done", Value::Null),
    ] {
        let step = ada
            .post(&format!("{path}/transition"), json!({"state": state, "reason": reason}))
            .if_match("*");
        assert_eq!(step.await.ok()["state"], state);
    }
    let back = ada
        .post(&format!("{path}/transition"), json!({"state": "draft"}))
        .if_match("*");
    back.await.problem(StatusCode::CONFLICT, "illegal-transition");

    let shown = ada.get(&path).await;
    assert_eq!(shown.json()["state"], "done");
    ada.delete(&format!("{path}?reason=a%20duplicate"))
        .if_match(&shown.etag())
        .await
        .is(StatusCode::NO_CONTENT);
    ada.get(&path).await.problem(StatusCode::NOT_FOUND, "not-found");

    assert_events!(
        app.team,
        [
            "CREATED campaign “Spring”",
            "UPDATED campaign “Spring”: budget 100 → 250.00, client_email redacted",
            "STATE_CHANGED campaign “Spring”: draft → active",
            "STATE_CHANGED campaign “Spring”: active → approved (looks good)",
            "STATE_CHANGED campaign “Spring”: approved → done",
            "DELETED campaign “Spring” (a duplicate)",
        ]
    );
    let threads = grace.get("/threads").await.ok();
    assert_eq!(threads["items"].as_array().unwrap().len(), 1);
    let thread = format!("/threads/{}", threads["items"][0]["id"].as_str().unwrap());
    let sentences = grace.thread_texts(&thread).await;
    assert_eq!(sentences.len(), 6);
    assert_eq!(sentences[0], "Ada created campaign “Spring”");
    assert!(sentences[1].starts_with("Ada changed campaign “Spring”: budget from 100 to 250.00, client email"));
    assert!(!sentences[1].contains("example.com"), "redacted values do not appear");
    assert_eq!(sentences[2], "Ada moved campaign “Spring” from draft to active");
    assert_eq!(sentences[3], "Ada approved campaign “Spring”: looks good");
    assert_eq!(sentences[4], "Ada moved campaign “Spring” to Done");
    assert_eq!(sentences[5], "Ada deleted campaign “Spring”: a duplicate");

    assert_eq!(grace.unread().await, ["1 × Ada created campaign “Spring” (watcher)"]);
    assert!(ada.unread().await.is_empty(), "the actor is not notified");
}

#[tokio::test]
async fn many_campaigns_are_changed_together_or_not_at_all() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let spring = ada.create_campaign("Spring", "100").await;
    let summer = ada.create_campaign("Summer", "250").await;

    let both = json!({"ids": [spring.id, summer.id], "changes": {"budget": "250.0"}});
    assert_eq!(ada.patch("/campaigns", both).await.ok(), json!({"updated": 2}));
    let unknown_id = "01900000-0000-7000-8000-000000000000";
    let half = json!({"ids": [spring.id, unknown_id], "changes": {"name": "Autumn"}});
    ada.patch("/campaigns", half)
        .await
        .problem(StatusCode::NOT_FOUND, "not-found");
    assert_events!(
        app.team,
        [
            "CREATED campaign “Spring”",
            "CREATED campaign “Summer”",
            "UPDATED campaign “Spring”: budget 100 → 250.0",
        ]
    );
    assert_eq!(ada.get(&spring.path).await.ok()["name"], "Spring");
    let stale = ada.delete(&spring.path).if_match(&spring.etag).await;
    stale.problem(StatusCode::PRECONDITION_FAILED, "precondition-failed");
    // A row that already had the value keeps the version that the client read.
    let seen = ada
        .patch(&summer.path, json!({"name": "Summer"}))
        .if_match(&summer.etag);
    seen.await.ok();
    let none = json!({"ids": [], "changes": {"name": "x"}});
    assert_eq!(ada.patch("/campaigns", none).await.wrong_fields(), ["ids"]);
}

#[tokio::test]
async fn lists_are_paged_without_gaps_or_repetitions() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    for n in 0..7 {
        ada.create_campaign(&format!("n{n}"), "1").await;
    }
    let (mut names, mut path) = (Vec::new(), "/campaigns?limit=3".to_owned());
    loop {
        let page = ada.get(&path).await.ok();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 3);
        names.extend(items.iter().map(|item| item["name"].as_str().unwrap().to_owned()));
        // This row is newer than all of them, so no page shows it.
        ada.create_campaign("late", "1").await;
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/campaigns?limit=3&cursor={next}");
    }
    assert_eq!(names, ["n6", "n5", "n4", "n3", "n2", "n1", "n0"]);

    let drafts = ada.get("/campaigns?state=draft&limit=200").await.ok();
    assert_eq!(drafts["items"].as_array().unwrap().len(), 10);
    let active = ada.get("/campaigns?state=active").await.ok();
    assert_eq!(active, json!({"items": [], "next": null}));
}

#[tokio::test]
async fn a_budget_is_returned_with_the_digits_that_were_sent() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    for (sent, kept) in [
        (json!("250.00"), "250.00"),
        (json!("999999999999999.999999"), "999999999999999.999999"),
        (json!("0"), "0"),
        (json!(12.5), "12.5"),
        (json!(1_000_000), "1000000"),
    ] {
        let made = ada.post("/campaigns", json!({"name": "x", "budget": sent})).await.ok();
        assert_eq!(made["budget"], kept);
        let path = format!("/campaigns/{}", made["id"].as_str().unwrap());
        assert_eq!(ada.get(&path).await.ok()["budget"], kept);
    }
}

#[tokio::test]
async fn a_change_must_name_the_version_it_changes() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    let spring = ada.create_campaign("Spring", "100").await;
    let transition = format!("{}/transition", spring.path);

    let newer = grace
        .patch(&spring.path, json!({"budget": "200"}))
        .if_match(&spring.etag)
        .await;
    let newest = newer.etag();
    newer.is(StatusCode::OK);
    for stale in [&spring.etag, "W/\"1\"", &format!("{}, \"other\"", spring.etag)] {
        for request in [
            ada.patch(&spring.path, json!({"budget": "300"})),
            ada.post(&transition, json!({"state": "active"})),
            ada.delete(&spring.path),
        ] {
            request
                .if_match(stale)
                .await
                .problem(StatusCode::PRECONDITION_FAILED, "precondition-failed");
        }
    }
    for request in [
        ada.patch(&spring.path, json!({"budget": "300"}))
            .without_header("if-match"),
        ada.post(&transition, json!({"state": "active"})),
        ada.delete(&spring.path).without_header("if-match"),
    ] {
        request
            .await
            .problem(StatusCode::PRECONDITION_REQUIRED, "precondition-required");
    }
    let unquoted = ada.delete(&spring.path).if_match(newest.trim_matches('"'));
    unquoted.await.problem(StatusCode::BAD_REQUEST, "bad-request");
    assert_eq!(ada.get(&spring.path).await.ok()["budget"], "200");

    let listed = format!("\"another\", {newest}");
    let changed = ada
        .patch(&spring.path, json!({"budget": "300"}))
        .if_match(&listed)
        .await
        .is(StatusCode::OK);
    // A proxy that compresses a response makes its tag weak. A change, a transition and a deletion accept a weak tag.
    let weak = |etag: String| format!("W/{etag}");
    let changed = ada
        .patch(&spring.path, json!({"budget": "400"}))
        .if_match(&weak(changed.etag()))
        .await
        .is(StatusCode::OK);
    let moved = ada
        .post(&transition, json!({"state": "active"}))
        .if_match(&format!("\"another\", {}", weak(changed.etag())))
        .await
        .is(StatusCode::OK);
    ada.delete(&spring.path)
        .if_match(&weak(moved.etag()))
        .await
        .is(StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_keys_expiry_must_be_in_a_year_that_can_be_written() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let key = |at: &str| ada.post("/api-keys", json!({"name": "k", "role": "member", "expires_at": at}));
    let refused = key("+12000-01-01T00:00:00Z").await;
    assert_eq!(refused.wrong_fields(), ["expires_at"]);
    key("9999-12-31T23:59:59Z").await.is(StatusCode::CREATED);
}

#[tokio::test]
async fn a_requests_id_and_correlation_are_on_its_events() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    ada.post("/campaigns", json!({"name": "x", "budget": "1"}))
        .header("x-request-id", "job-7")
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        .await
        .is(StatusCode::CREATED);
    let event = app.team.events().await.pop().unwrap();
    assert_eq!(event.request_id.as_deref(), Some("job-7"));
    assert_eq!(
        event.correlation_id.simple().to_string(),
        "4bf92f3577b34da6a3ce929d0e0e4736"
    );
    assert_eq!(event.via.as_deref(), Some("http"));
}

#[tokio::test]
async fn health_does_not_depend_on_the_database_but_readiness_does() {
    let app = TestApp::start().await;
    let anybody = app.anonymous();
    assert_eq!(
        anybody.request(Method::GET, "/readyz").await.ok(),
        json!({"status": "ok"})
    );
    app.database.close().await;
    let ready = anybody.request(Method::GET, "/readyz").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ready.json(), json!({"status": "the database does not answer"}));
    assert_eq!(
        anybody.request(Method::GET, "/healthz").await.ok(),
        json!({"status": "ok"})
    );
}

#[tokio::test]
async fn a_route_reads_the_programs_own_values() {
    #[derive(Debug, Clone)]
    struct Greeting(&'static str);
    let greet = async |team: Team| -> Result<&'static str> {
        let Greeting(greeting) = team
            .extension::<Greeting>()
            .ok_or_else(|| Error::internal("the program has no Greeting"))?;
        Ok(*greeting)
    };
    let program = sample_program()
        .routes(Router::new().route("/greeting", get(greet)))
        .extension(Greeting("Hello"));
    let db = TestDb::with_migrations(program.migrations().clone()).await;
    let options = db.options();
    let app = TestApp::start_program(program, db, options).await;
    let ada = app.member("ada", Role::Owner).await;
    assert_eq!(ada.get("/greeting").await.is(StatusCode::OK).text(), "Hello");
}
