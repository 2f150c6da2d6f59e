//! All ways in which a request can be wrong, and failures inside the service.

use axum::Router;
use axum::http::{Method, StatusCode};
use axum::routing::get;
use daybook::assert_events;
use daybook::tenancy::Role;
use daybook::testing::TestDb;
use daybook_tests::http::{BODY_LIMIT_BYTES, TestApp, sample_program};
use serde_json::{Value, json};
use sqlx::Executor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn an_invalid_body_is_refused_with_its_fields() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let spring = ada.create_campaign("Spring", "100").await;
    let new = |body: Value| ada.post("/campaigns", body);

    for (body, fields) in [
        (json!({"name": "x", "budget": "1", "bugdet": "2"}), ["bugdet"]),
        (json!({"budget": "1"}), ["name"]),
        (json!({"name": "x"}), ["budget"]),
        (json!({"name": 7, "budget": "1"}), ["name"]),
        (json!({"name": " ", "budget": "1"}), ["name"]),
        (json!({"name": "x".repeat(201), "budget": "1"}), ["name"]),
        (json!({"name": "x", "budget": "-1"}), ["budget"]),
        (json!({"name": "x", "budget": "1000000000000000"}), ["budget"]),
        (json!({"name": "x", "budget": "0.0000001"}), ["budget"]),
        (json!({"name": "x", "budget": "1e3"}), ["budget"]),
        (json!({"name": "x", "budget": "NaN"}), ["budget"]),
        (
            json!({"name": "x", "budget": "1", "client_email": "nobody"}),
            ["client_email"],
        ),
        (json!({"name": "a\u{0}b", "budget": "1"}), ["name"]),
        (json!([]), ["$"]),
    ] {
        assert_eq!(new(body.clone()).await.wrong_fields(), fields, "{body}");
    }
    let bulk = |body: Value| ada.patch("/campaigns", body);
    let wrong_id = json!({"ids": [spring.id, "x"], "changes": {"name": "y"}});
    assert_eq!(bulk(wrong_id).await.wrong_fields(), ["ids[1]"]);
    let nested = json!({"ids": [spring.id], "changes": {"name": "y", "budget": {"amount": 1}}});
    assert_eq!(bulk(nested).await.wrong_fields(), ["changes.budget"]);
    let unknown = json!({"ids": [spring.id], "changes": {"nam": "y"}});
    assert_eq!(bulk(unknown).await.wrong_fields(), ["changes.nam"]);
    let nulls = json!({"ids": [spring.id], "changes": {"name": "a\u{0}", "client_email": "\u{0}@b"}});
    assert_eq!(
        bulk(nulls).await.wrong_fields(),
        ["changes.client_email", "changes.name"]
    );

    assert_eq!(
        ada.patch(&spring.path, json!({"name": null})).await.wrong_fields(),
        ["name"]
    );
    let state = json!({"state": "finished"});
    let step = ada.post(&format!("{}/transition", spring.path), state).if_match("*");
    assert_eq!(step.await.wrong_fields(), ["state"]);
    for (query, field) in [
        ("?limit=0", "limit"),
        ("?limit=201", "limit"),
        ("?limit=many", "limit"),
        ("?cursor=made-up", "cursor"),
        ("?state=finished", "state"),
        ("?stat=draft", "stat"),
        ("?state=draft%00", "state"),
    ] {
        assert_eq!(
            ada.get(&format!("/campaigns{query}")).await.wrong_fields(),
            [field],
            "{query}"
        );
    }
    assert_events!(app.team, ["CREATED campaign “Spring”"]);
}

#[tokio::test]
async fn each_kind_of_malformed_body_has_its_own_error() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let post = |body: &str| ada.team_request(Method::POST, "/campaigns").body(body.to_owned());
    let json = |body: &str| post(body).header("content-type", "application/json");
    let fine = r#"{"name": "x", "budget": "1"}"#;

    post(fine)
        .await
        .problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type");
    post(fine)
        .header("content-type", "text/plain")
        .await
        .problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type");
    post(fine)
        .header("content-type", "application/merge-patch+json; charset=utf-8")
        .await
        .is(StatusCode::CREATED);
    for broken in ["", "{", r#"{"name": "x", "budget": "1"} and more"#, "{'name': 'x'}"] {
        json(broken).await.problem(StatusCode::BAD_REQUEST, "bad-request");
    }
    let large = format!(r#"{{"name": "{}", "budget": "1"}}"#, "x".repeat(BODY_LIMIT_BYTES));
    let problem = json(&large).await.problem(StatusCode::PAYLOAD_TOO_LARGE, "too-large");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains(&BODY_LIMIT_BYTES.to_string())
    );
    let with_key = json(&large).idempotency_key("k").await;
    with_key.problem(StatusCode::PAYLOAD_TOO_LARGE, "too-large");
    assert_events!(app.team, ["CREATED campaign “x”"]);
}

#[tokio::test]
async fn every_error_is_a_complete_problem_document() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    // `problem` checks that each is complete.
    let nowhere = ada.request(Method::GET, "/v2/nowhere").await;
    nowhere.problem(StatusCode::NOT_FOUND, "not-found");
    ada.get("/nowhere").await.problem(StatusCode::NOT_FOUND, "not-found");
    for (method, path) in [
        (Method::DELETE, "/threads"),
        (Method::PUT, "/campaigns"),
        (Method::PATCH, "/notifications"),
    ] {
        let answer = ada.team_request(method, path).await;
        assert!(
            answer.header("allow").is_some(),
            "405 says what is allowed (RFC 9110 §15.5.6): {answer:?}"
        );
        answer.problem(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed");
    }
    let problem = ada
        .post("/campaigns", json!({}))
        .header("x-request-id", "shop:42")
        .await
        .problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid");
    assert_eq!(
        problem,
        json!({
            "type": "/problems/invalid",
            "title": "Invalid",
            "status": 422,
            "detail": "name: is missing, and required",
            "errors": [{"field": "name", "detail": "is missing, and required"}],
            "request_id": "shop:42",
        })
    );
    let refused = app.anonymous().get("/campaigns").await;
    assert_eq!(refused.header("www-authenticate").as_deref(), Some("Bearer"));
    let head = ada.team_request(Method::HEAD, "/campaigns").await.is(StatusCode::OK);
    assert!(head.body.is_empty());
}

#[tokio::test]
async fn internal_errors_do_not_leak_details() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let spring = ada.create_campaign("Spring", "100").await;
    app.db.owner().await.execute("DROP TABLE campaigns").await.unwrap();

    for answer in [
        ada.get("/campaigns").await,
        ada.get(&spring.path).await,
        ada.post("/campaigns", json!({"name": "x", "budget": "1"})).await,
        ada.post("/campaigns", json!({"name": "x", "budget": "1"}))
            .idempotency_key("k")
            .await,
        ada.patch(&spring.path, json!({"name": "y"})).await,
    ] {
        let text = answer.text();
        let problem = answer.problem(StatusCode::INTERNAL_SERVER_ERROR, "internal");
        for leak in [
            "campaigns",
            "relation",
            "42P01",
            "SELECT",
            "INSERT",
            "sqlx",
            "Postgres",
            "column",
        ] {
            assert!(!text.contains(leak), "{text} has {leak}");
        }
        let fields: Vec<_> = problem.as_object().unwrap().keys().cloned().collect();
        assert_eq!(fields, ["detail", "request_id", "status", "title", "type"]);
    }
    // The connections whose requests failed continue to work.
    for _ in 0..12 {
        ada.get("/threads").await.ok();
    }
    assert_events!(app.team, ["CREATED campaign “Spring”"]);
}

#[tokio::test]
async fn a_panic_affects_only_its_own_request_and_leaks_nothing() {
    async fn panics() {
        panic!("the password is hunter2");
    }
    let db = TestDb::with_migrations(sample_program().migrations().clone()).await;
    let routes = Router::new().route("/panic", get(panics).post(panics));
    let options = db.options();
    let app = TestApp::start_program(sample_program().routes(routes), db, options).await;
    let ada = app.member("ada", Role::Owner).await;
    for request in [
        ada.get("/panic"),
        ada.post("/panic", json!({})),
        ada.post("/panic", json!({})).idempotency_key("k"),
    ] {
        let answer = request.await;
        assert!(!answer.text().contains("hunter2"), "{answer:?}");
        answer.problem(StatusCode::INTERNAL_SERVER_ERROR, "internal");
    }
    ada.create_campaign("Spring", "1").await;
}

#[tokio::test]
async fn a_truncated_body_changes_nothing_and_differs_from_a_too_large_one() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let address = app.serve(|router| router).await;
    let whole = ada.post("/campaigns", json!({"name": "Spring", "budget": "100"}));
    for request in [whole.clone(), whole.idempotency_key("k")] {
        let bytes = request.http1_bytes();
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(&bytes[..bytes.len() - 5]).await.unwrap();
        socket.shutdown().await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains("ended before it was complete"), "{answer}");
    }
    assert!(app.team.events().await.is_empty());
}
