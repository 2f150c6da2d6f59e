//! What the service's requests record in their wide events.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use axum::routing::{any, post};
use daybook::prelude::*;
use daybook::server::event_schema;
use daybook::testing::TestDb;
use daybook::wide_events::{EventSchema, HashKey, Redaction, Treatment};
use daybook_tests::http::{Client, TestApp, sample_program};
use daybook_tests::live::LiveClient;
use serde_json::{Value, json};

use crate::schema::assert_golden;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Starts the service with routes that fail in every way.
async fn start_with_failing_routes(request_timeout: Duration) -> (TestApp, Client) {
    static ATTEMPTS: AtomicU32 = AtomicU32::new(0);
    let rename = "UPDATE campaigns SET name = 'lost' WHERE team_id = current_setting('daybook.team_id')::uuid";
    let forgets = async move |team: Team| -> Result<&'static str> {
        let tx = team.begin().await?;
        tx.execute_unprepared(rename).await?;
        Ok("done")
    };
    let reads_and_drops = async |team: Team| -> Result<&'static str> {
        let tx = team.begin().await?;
        tx.execute_unprepared("SELECT 1").await?;
        Ok("done")
    };
    let meets = async |team: Team| -> Result<&'static str> {
        team.write(async |tx| {
            if ATTEMPTS.fetch_add(1, Ordering::Relaxed) < 2 {
                tx.execute_unprepared("DO $$ BEGIN RAISE EXCEPTION 'met' USING ERRCODE = '40001'; END $$")
                    .await?;
            }
            Ok(())
        })
        .await?;
        Ok("done")
    };
    let fails = async |team: Team| -> Result<&'static str> {
        let tx = team.begin().await?;
        tx.execute_unprepared("SELECT * FROM no_such_table").await?;
        Ok("done")
    };
    let panics = async |_: Team| -> &'static str { panic!("this test's own panic") };
    let hangs = async |_: Team| -> &'static str { std::future::pending().await };
    let routes = axum::Router::new()
        .route("/forgets", post(forgets))
        .route("/reads", any(reads_and_drops))
        .route("/meets", post(meets))
        .route("/fails", post(fails))
        .route("/panics", any(panics))
        .route("/hangs", any(hangs));
    let program = sample_program().routes(routes);
    let db = TestDb::with_migrations(program.migrations().clone()).await;
    let options = db.options().max_connections(4);
    let app = TestApp::start_program_with_timeout(request_timeout, program, db, options).await;
    let ada = app.member("ada", Role::Owner).await;
    (app, ada)
}

async fn start_failing_routes() -> (TestApp, Client) {
    start_with_failing_routes(daybook_tests::WAIT_LIMIT).await
}

#[tokio::test]
async fn the_event_of_a_change_has_the_actor_the_change_and_its_cost() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let body = json!({"name": "Spring", "budget": "100"});
    let answer = ada
        .post("/campaigns", body)
        .header("traceparent", TRACE)
        .header("x-request-id", "r-7")
        .await;
    let answer = answer.is(StatusCode::CREATED);
    let created = answer.json();
    let event = app.wide_event().await;
    let recorded = app.team.events().await.pop().unwrap();

    assert_eq!(
        (&event["outcome"], &event["status_code"]),
        (&json!("success"), &json!(201))
    );
    assert_eq!(event["route"], "/v1/teams/{team_id}/campaigns");
    assert_eq!(event["team_id"], app.team.id.to_string());
    assert_eq!(event["actor"], json!({"kind": "user", "id": ada.id()}));
    assert_eq!(event["events"], json!({"count": 1, "ids": [recorded.id]}));
    assert_eq!(recorded.object_id, created["id"].as_str().unwrap());
    assert_eq!(
        (&event["service"], &event["schema_errors"]),
        (&json!("daybook"), &Value::Null)
    );
    let database = &event["database"];
    assert_eq!(
        (&database["transactions"], &database["round_trips"]),
        (&json!(1), &json!(6))
    );
    assert!(database["time_us"].as_u64().unwrap() > 0);
    assert!(database["rolled_back"].is_null() && database["dropped_with_writes"].is_null());

    // One id connects the request to the event that it recorded.
    assert_eq!(event["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(event["correlation_id"], recorded.correlation_id.to_string());
    assert_eq!(
        (&event["request_id"], recorded.request_id.as_deref()),
        (&json!("r-7"), Some("r-7"))
    );
    assert!(
        answer
            .header("traceparent")
            .unwrap()
            .contains(event["span_id"].as_str().unwrap())
    );
}

#[tokio::test]
async fn invalid_ids_are_replaced_everywhere() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let body = json!({"name": "Spring", "budget": "100"});
    let answer = ada
        .post("/campaigns", body)
        .header("x-request-id", "no good")
        .header("traceparent", "00-no")
        .await;
    let event = app.wide_event().await;
    let recorded = app.team.events().await.pop().unwrap();
    assert_eq!(event["replaced_ids"], json!(["x-request-id", "traceparent"]));
    assert_eq!(answer.header("x-request-id"), recorded.request_id);
    assert_eq!(event["correlation_id"], recorded.correlation_id.to_string());
}

#[tokio::test]
async fn the_event_of_a_refusal_has_its_reason_and_no_recorded_events() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let other = app.db.team("Other").await;
    ada.for_team(other.id)
        .get("/threads")
        .await
        .problem(StatusCode::NOT_FOUND, "not-found");
    let event = app.wide_event().await;
    assert_eq!(event["outcome"], "client_error");
    assert_eq!(
        event["error"],
        json!({"type": "NotFound", "message": "no such team", "code": "not-found", "retriable": false})
    );
    assert_eq!(
        (&event["team_id"], &event["actor"], &event["events"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert_eq!(event["database"]["round_trips"], 1);

    ada.post("/campaigns", json!({"name": "", "budget": "1"})).await;
    let event = app.wide_event().await;
    assert_eq!(
        (&event["error"]["type"], &event["error"]["code"]),
        (&json!("Invalid"), &json!("invalid"))
    );
    app.anonymous().get("/threads").await;
    assert_eq!(app.wide_event().await["error"]["code"], "unauthenticated");
    app.anonymous().request(Method::GET, "/no/such/route").await;
    let event = app.wide_event().await;
    assert_eq!((&event["route"], &event["status_code"]), (&Value::Null, &json!(404)));
}

#[tokio::test]
async fn details_that_the_client_does_not_see_are_in_the_event() {
    let (app, ada) = start_failing_routes().await;
    let answer = ada.post("/fails", json!({})).await;
    assert!(!format!("{answer:?}").contains("no_such_table"));
    let event = app.wide_event().await;
    assert_eq!(
        (&event["outcome"], &event["sample_reason"]),
        (&json!("error"), &json!("error"))
    );
    assert_eq!(
        (&event["error"]["type"], &event["error"]["code"]),
        (&json!("Internal"), &json!("internal"))
    );
    assert!(
        event["error"]["causes"].to_string().contains("42P01 undefined_table"),
        "{event:#}"
    );
    assert_eq!(event["database"]["rolled_back"], 1);
}

#[tokio::test]
async fn a_forgotten_commit_is_reported() {
    let (app, ada) = start_failing_routes().await;
    ada.create_campaign("Spring", "100").await;
    ada.post("/forgets", json!({})).await.is(StatusCode::OK);
    let event = app.wide_event().await;
    assert_eq!((&event["outcome"], &event["events"]), (&json!("error"), &Value::Null));
    assert_eq!(event["error"]["type"], "ForgottenCommit");
    assert_eq!(event["database"]["dropped_with_writes"], 1);
    assert_eq!(event["database"]["forgotten_commits"], 1);
    ada.post("/reads", json!({})).await.is(StatusCode::OK);
    assert!(app.wide_event().await["database"]["dropped_with_writes"].is_null());
}

#[tokio::test]
async fn retried_transactions_are_counted() {
    let (app, ada) = start_failing_routes().await;
    ada.post("/meets", json!({})).await.is(StatusCode::OK);
    let event = app.wide_event().await;
    let database = &event["database"];
    assert_eq!(
        (
            &database["retries"],
            &database["transactions"],
            &database["rolled_back"]
        ),
        (&json!(2), &json!(3), &json!(2))
    );
}

#[tokio::test]
async fn panics_and_timeouts_have_their_own_outcomes() {
    let (app, ada) = start_failing_routes().await;
    ada.get("/panics")
        .await
        .problem(StatusCode::INTERNAL_SERVER_ERROR, "internal");
    let event = app.wide_event().await;
    assert_eq!(
        (&event["outcome"], &event["status_code"]),
        (&json!("panic"), &json!(500))
    );
    assert!(
        event["error"]["causes"].to_string().contains("this test's own panic"),
        "{event:#}"
    );
    let (app, ada) = start_with_failing_routes(Duration::from_millis(200)).await;
    ada.get("/hangs")
        .await
        .problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable");
    let event = app.wide_event().await;
    assert_eq!(
        (&event["outcome"], &event["status_code"]),
        (&json!("timeout"), &json!(503))
    );
    assert_eq!(event["error"]["retriable"], true);
}

#[tokio::test]
async fn a_replayed_response_is_marked_and_records_no_events() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let create = || {
        ada.post("/campaigns", json!({"name": "Spring", "budget": "100"}))
            .idempotency_key("k-1")
    };
    create().await.is(StatusCode::CREATED);
    let first = app.wide_event().await;
    assert_eq!(
        (&first["events"]["count"], &first["replayed"]),
        (&json!(1), &Value::Null)
    );
    create().await.is(StatusCode::CREATED);
    let again = app.wide_event().await;
    assert_eq!((&again["events"], &again["replayed"]), (&Value::Null, &json!(true)));
    assert_eq!(again["status_code"], 201);
    assert_eq!(again["error"], Value::Null);
}

#[tokio::test]
async fn many_events_are_counted_and_twenty_ids_are_listed() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let mut ids = Vec::new();
    for n in 0..25 {
        ids.push(ada.create_campaign(&format!("Campaign {n}"), "100").await.id);
    }
    ada.patch("/campaigns", json!({"ids": ids, "changes": {"budget": "5"}}))
        .await
        .is(StatusCode::OK);
    let event = app.wide_event().await;
    assert_eq!(event["events"]["count"], 25, "{event:#}");
    assert_eq!(event["events"]["ids"].as_array().unwrap().len(), 20);
}

#[tokio::test]
async fn a_live_socket_has_two_events_and_neither_has_its_ticket() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let address = app.serve(|router| router).await;
    let ticket = ada
        .post("/live/tickets", json!({}))
        .await
        .is(StatusCode::CREATED)
        .json();
    let ticket = ticket["ticket"].as_str().unwrap();
    let url = format!("ws://{address}/v1/teams/{}/live?ticket={ticket}", app.team.id);
    let mut socket = LiveClient::open(address, &url, None).await;
    socket.frames_until_pong().await;
    // The socket reads as long as it is open; that is not part of the request.
    let (_, thread) = ada.campaign_with_thread("Spring").await;
    socket.follow_thread(thread.trim_start_matches("/threads/"), None).await;
    drop(socket);
    daybook_tests::eventually("the socket's wide event", async || {
        app.wide_events().await.iter().any(|event| event["kind"] == "socket")
    })
    .await;
    let events = app.wide_events().await;
    let upgrade = events.iter().find(|event| event["outcome"] == "upgraded").unwrap();
    let end = events.iter().find(|event| event["kind"] == "socket").unwrap();
    assert_eq!(
        (&upgrade["status_code"], &upgrade["query"]),
        (&json!(101), &json!({"ticket": "[REDACTED]"}))
    );
    assert_eq!(
        (&end["outcome"], &end["ended_by"]),
        (&json!("success"), &json!("client"))
    );
    assert_eq!(
        (&end["request_id"], &end["trace_id"]),
        (&upgrade["request_id"], &upgrade["trace_id"])
    );
    assert_eq!(
        (&end["team_id"], &end["actor"]),
        (&upgrade["team_id"], &upgrade["actor"])
    );
    assert_eq!(end["actor"]["id"], ada.id().to_string());
    assert!(events.iter().all(|event| event["kind"] != "late"), "{events:#?}");
    assert!(!events.iter().any(|event| event.to_string().contains(ticket)));
}

#[tokio::test]
async fn a_program_can_add_its_own_rules_and_types() {
    let key = HashKey::new("2026-11", b"a key of the tests, long enough").unwrap();
    let routes = axum::Router::new().route(
        "/carts",
        any(async |event: WideEvent| {
            event
                .set("cart.items", "two")
                .set("customer.name", "Ada")
                .set("build.ip", "10.0.0.1");
        }),
    );
    let program = sample_program().routes(routes).wide_events(|config| {
        let mut schema = event_schema();
        schema["properties"]["cart"] = json!({"type": "object", "properties": {"items": {"type": "integer"}}});
        let redaction = Redaction::default()
            .path("customer.name", Treatment::Hash)
            .leave("build.ip")
            .hash_key(key);
        config.redaction(redaction).schema(EventSchema::new(&schema).ok())
    });
    let db = TestDb::with_migrations(program.migrations().clone()).await;
    let options = db.options();
    let app = TestApp::start_program(program, db, options).await;
    app.anonymous().get("/carts").await.is(StatusCode::OK);
    let event = app.wide_event().await;
    assert_eq!(
        event["schema_errors"],
        json!([r#"/cart/items: "two" is not of type "integer""#])
    );
    assert!(
        event["customer"]["name"]
            .as_str()
            .unwrap()
            .starts_with("hmac-sha256:2026-11:"),
        "{event:#}"
    );
    assert_eq!(event["build"]["ip"], "10.0.0.1");
}

#[tokio::test]
async fn metrics_count_all_requests() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    ada.create_campaign("Spring", "100").await;
    ada.get("/threads/no-id").await;
    app.wide_events().await;
    let answer = app
        .anonymous()
        .request(Method::GET, "/metrics")
        .await
        .is(StatusCode::OK);
    assert!(
        answer
            .header("content-type")
            .unwrap()
            .starts_with("application/openmetrics-text")
    );
    let text = answer.text();
    assert!(text.ends_with("# EOF\n"), "{text}");
    let value = |name: &str| -> f64 {
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")))
            .expect(name);
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    };
    // The request for the metrics is still open.
    assert_eq!(value("daybook_wide_events_received_total"), 3.0);
    assert_eq!(value("daybook_wide_events_open"), 1.0);
    let ended = ["emitted", "sampled_out", "dropped"].map(|what| value(&format!("daybook_wide_events_{what}_total")));
    assert_eq!(ended, [2.0, 0.0, 0.0]);
    assert_eq!(value("daybook_requests_ended_total{outcome=\"success\"}"), 1.0);
    assert_eq!(value("daybook_requests_ended_total{outcome=\"client_error\"}"), 1.0);
    assert!(value("daybook_database_round_trips_total") >= 6.0);
    assert!(value("daybook_database_time_seconds_total") > 0.0);
    assert_eq!(value("daybook_events_default_partition_rows"), 0.0);
}

#[test]
fn the_schema_of_wide_events_is_golden() {
    let schema = serde_json::to_string_pretty(&daybook::server::event_schema()).unwrap();
    assert_golden("wide_event.schema.json", &format!("{schema}\n"));
}
