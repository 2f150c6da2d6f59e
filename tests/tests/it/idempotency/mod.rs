//! `Idempotency-Key`: a POST that is sent twice has one effect and one response, whatever happens in between.

mod attempts;

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use daybook::assert_events;
use daybook::live::LiveOptions;
use daybook::tenancy::Role;
use daybook::testing::TestDb;
use daybook_tests::http::{Client, TestApp, TestRequest, TestResponse, impersonation, sample_program};
use daybook_tests::{WAIT_LIMIT, count, eventually, wait_for_blocked_session};
use serde_json::json;
use sqlx::{Connection, Executor, PgConnection};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

const REPLAYED: &str = "idempotent-replayed";

fn spring(client: &Client) -> TestRequest {
    client.post("/campaigns", json!({"name": "Spring", "budget": "100"}))
}

fn assert_same_response(first: &TestResponse, second: &TestResponse) {
    assert_eq!(first.status, second.status);
    assert_eq!(first.body, second.body);
    for header in ["content-type", "etag", "location"] {
        assert_eq!(first.header(header), second.header(header), "{header}");
    }
}

#[tokio::test]
async fn a_repeated_request_has_one_effect_and_the_same_response() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let first = spring(&ada).idempotency_key("k-1").await.is(StatusCode::CREATED);
    assert_eq!(first.header(REPLAYED), None);
    for _ in 0..3 {
        let again = spring(&ada).idempotency_key("k-1").await;
        assert_same_response(&first, &again);
        assert_eq!(again.header(REPLAYED).as_deref(), Some("true"));
    }
    assert_events!(app.team, ["CREATED campaign “Spring”"]);
    spring(&ada).idempotency_key("k-2").await.is(StatusCode::CREATED);
    assert_eq!(
        app.team.events().await.len(),
        2,
        "a different key is a different request"
    );

    let (_, thread) = ada.campaign_with_thread("Summer").await;
    let comment = || {
        ada.post(&format!("{thread}/messages"), json!({"body": "once"}))
            .idempotency_key("k-3")
    };
    let (first, again) = (comment().await.is(StatusCode::CREATED), comment().await);
    assert_same_response(&first, &again);
    assert_eq!(ada.get(&thread).await.ok()["last_seq"], 2);
}

#[tokio::test]
async fn a_key_belongs_to_one_request() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    spring(&ada).idempotency_key("k").await.is(StatusCode::CREATED);
    let other_body = ada
        .post("/campaigns", json!({"name": "Spring", "budget": "101"}))
        .idempotency_key("k");
    assert_eq!(other_body.await.wrong_fields(), ["Idempotency-Key"]);
    let other_path = ada
        .post("/campaigns?x=1", json!({"name": "Spring", "budget": "100"}))
        .idempotency_key("k");
    assert_eq!(other_path.await.wrong_fields(), ["Idempotency-Key"]);
    assert_events!(app.team, ["CREATED campaign “Spring”"]);
    for wrong in ["", "two words", "ä", &"k".repeat(256)] {
        assert_eq!(
            spring(&ada).idempotency_key(wrong).await.wrong_fields(),
            ["Idempotency-Key"],
            "{wrong}"
        );
    }
    assert_eq!(app.team.events().await.len(), 1);
}

#[tokio::test]
async fn a_key_belongs_to_its_actor_and_team() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    let beta = app.db.team("Beta").await;
    let ada_in_beta = app.member_of(&beta, "ada", Role::Owner).await;
    let (robot, _) = ada.make_key("robot", "member").await;
    app.member("linus", Role::Member).await;
    let ada_for_linus = app.bearer(impersonation("ada", "linus"));
    let mut bodies = Vec::new();
    for client in [&ada, &grace, &ada_in_beta, &robot, &ada_for_linus] {
        let answer = spring(client).idempotency_key("the-same").await.is(StatusCode::CREATED);
        assert_eq!(answer.header(REPLAYED), None);
        bodies.push(answer.body);
    }
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies.len(), 5);
    // One of the five records the creation of the robot's key.
    assert_eq!((app.team.events().await.len(), beta.events().await.len()), (5, 1));
}

#[tokio::test]
async fn ten_concurrent_requests_have_one_effect_and_one_response() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let asking: Vec<_> = (0..10)
        .map(|_| tokio::spawn(spring(&ada).idempotency_key("k").into_future()))
        .collect();
    let mut answers = Vec::new();
    for one in asking {
        answers.push(one.await.unwrap().is(StatusCode::CREATED));
    }
    answers
        .iter()
        .for_each(|answer| assert_same_response(&answers[0], answer));
    assert_eq!(
        answers
            .iter()
            .filter(|answer| answer.header(REPLAYED).is_none())
            .count(),
        1
    );
    assert_events!(app.team, ["CREATED campaign “Spring”"]);
}

#[tokio::test]
async fn a_refused_request_leaves_its_key_free() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let vera = app.member("vera", Role::Viewer).await;
    let campaign = ada.create_campaign("Summer", "1").await;
    let step = |state: &str| {
        let path = format!("{}/transition", campaign.path);
        ada.post(&path, json!({"state": state}))
            .if_match("*")
            .idempotency_key("k")
    };
    ada.post("/campaigns", json!({"budget": "1"}))
        .idempotency_key("k")
        .await
        .wrong_fields();
    // Refused in its transaction, after it took the key.
    step("paused").await.problem(StatusCode::CONFLICT, "illegal-transition");
    step("active")
        .if_match("\"1\"")
        .await
        .problem(StatusCode::PRECONDITION_FAILED, "precondition-failed");
    spring(&vera)
        .idempotency_key("k")
        .await
        .problem(StatusCode::FORBIDDEN, "forbidden");
    let mut inside = app.team.connection().await;
    assert_eq!(count(&mut inside, "idempotency_keys").await, 0);
    let done = step("active").await.is(StatusCode::OK);
    assert_same_response(&done, &step("active").await);
}

#[tokio::test]
async fn a_lost_response_is_reported_as_lost() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    spring(&ada).idempotency_key("k").await.is(StatusCode::CREATED);
    // The state after a crash between the commit and the storing of the response.
    let mut inside = app.team.connection().await;
    let lost = "UPDATE idempotency_keys SET status = NULL, content_type = NULL, etag = NULL, body = NULL";
    inside.execute(lost).await.unwrap();
    spring(&ada)
        .idempotency_key("k")
        .await
        .problem(StatusCode::CONFLICT, "outcome-unknown");
    let other = ada
        .post("/campaigns", json!({"name": "x", "budget": "1"}))
        .idempotency_key("k")
        .await;
    assert_eq!(other.wrong_fields(), ["Idempotency-Key"]);
    assert_events!(app.team, ["CREATED campaign “Spring”"]);
}

#[tokio::test]
async fn a_response_with_a_secret_is_not_stored() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let make = || {
        ada.post("/api-keys", json!({"name": "robot", "role": "member"}))
            .idempotency_key("k")
    };
    let made = make().await.is(StatusCode::CREATED).json();
    make().await.problem(StatusCode::CONFLICT, "outcome-unknown");
    assert_eq!(ada.get("/api-keys").await.ok()["items"].as_array().unwrap().len(), 1);
    let mut inside = app.team.connection().await;
    let rows: Vec<String> = sqlx::query_scalar("SELECT to_json(k)::text FROM idempotency_keys k")
        .fetch_all(&mut inside)
        .await
        .unwrap();
    let body: Option<Vec<u8>> = sqlx::query_scalar("SELECT body FROM idempotency_keys")
        .fetch_one(&mut inside)
        .await
        .unwrap();
    assert_eq!((rows.len(), body), (1, None));
    assert!(!rows[0].contains(made["key"].as_str().unwrap().rsplit('_').next().unwrap()));
}

/// Creates a campaign and locks its row, so that a request that changes it waits.
async fn campaign_with_locked_row(app: &TestApp, ada: &Client) -> (String, PgConnection) {
    let campaign = ada.create_campaign("Spring", "100").await;
    let mut holder = app.team.connection().await;
    holder.execute("BEGIN").await.unwrap();
    sqlx::query("SELECT FROM campaigns WHERE id = $1::uuid FOR UPDATE")
        .bind(&campaign.id)
        .execute(&mut holder)
        .await
        .unwrap();
    (format!("{}/transition", campaign.path), holder)
}

#[tokio::test]
async fn a_repeated_request_waits_for_the_first_one() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let (path, mut holder) = campaign_with_locked_row(&app, &ada).await;
    let step = || {
        ada.post(&path, json!({"state": "active"}))
            .if_match("*")
            .idempotency_key("k")
    };
    let first = tokio::spawn(step().into_future());
    wait_for_blocked_session(&app.db).await;
    let second = tokio::spawn(step().into_future());
    // Longer than a repeated request waits for a response after the work is done.
    let mut owner = app.db.owner().await;
    eventually("two sessions that have waited long", async || {
        let sql = "SELECT count(*) = 2 FROM pg_stat_activity WHERE datname = current_database()
                   AND wait_event_type = 'Lock' AND clock_timestamp() - query_start > '2.2 s'";
        sqlx::query_scalar(sql).fetch_one(&mut owner).await.unwrap()
    })
    .await;
    holder.execute("ROLLBACK").await.unwrap();
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_same_response(&first.is(StatusCode::OK), &second.is(StatusCode::OK));
    assert_events!(
        app.team,
        [
            "CREATED campaign “Spring”",
            "STATE_CHANGED campaign “Spring”: draft → active"
        ]
    );
}

/// Signals when a request is dropped before its response.
fn notify_on_drop(router: Router, dropped: Arc<Notify>) -> Router {
    struct Unanswered(Option<Arc<Notify>>);
    impl Unanswered {
        fn answered(mut self) {
            self.0 = None;
        }
    }
    impl Drop for Unanswered {
        fn drop(&mut self) {
            if let Some(dropped) = self.0.take() {
                dropped.notify_one();
            }
        }
    }
    router.layer(from_fn(move |request: Request, next: Next| {
        let unanswered = Unanswered(Some(dropped.clone()));
        async move {
            let response = next.run(request).await;
            unanswered.answered();
            response
        }
    }))
}

/// Sends a request that has to wait for a lock, disconnects, and frees the lock after the service has noticed.
async fn disconnect_while_waiting(app: &TestApp, request: TestRequest, mut holder: PgConnection) {
    let dropped = Arc::new(Notify::new());
    let address = app.serve(|router| notify_on_drop(router, dropped.clone())).await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(&request.http1_bytes()).await.unwrap();
    wait_for_blocked_session(&app.db).await;
    drop(socket);
    let noticed = timeout(WAIT_LIMIT, dropped.notified()).await;
    noticed.expect("the service notices that its client has disconnected");
    holder.execute("ROLLBACK").await.unwrap();
    holder.close().await.unwrap();
}

#[tokio::test]
async fn after_a_disconnect_the_work_is_done_and_its_response_kept() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let (path, holder) = campaign_with_locked_row(&app, &ada).await;
    let step = || {
        ada.post(&path, json!({"state": "active"}))
            .if_match("*")
            .idempotency_key("k")
    };
    disconnect_while_waiting(&app, step(), holder).await;
    let again = step().await.is(StatusCode::OK);
    assert_eq!(again.header(REPLAYED).as_deref(), Some("true"));
    assert_eq!(again.json()["state"], "active");
    assert_events!(
        app.team,
        [
            "CREATED campaign “Spring”",
            "STATE_CHANGED campaign “Spring”: draft → active"
        ]
    );
}

#[tokio::test]
async fn without_a_key_a_disconnect_undoes_the_whole_request() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let (path, holder) = campaign_with_locked_row(&app, &ada).await;
    let step = ada.post(&path, json!({"state": "active"})).if_match("*");
    disconnect_while_waiting(&app, step.clone(), holder).await;
    // The row is free only after the dropped transaction has ended; none of its changes are there.
    assert_eq!(step.await.ok()["state"], "active");
    assert_events!(
        app.team,
        [
            "CREATED campaign “Spring”",
            "STATE_CHANGED campaign “Spring”: draft → active"
        ]
    );
}

#[tokio::test]
async fn work_that_times_out_is_undone_even_with_a_key() {
    let program = sample_program();
    let db = TestDb::with_migrations(program.migrations().clone()).await;
    let options = db.options();
    let limit = Duration::from_secs(1);
    let impatient = TestApp::start_program_with_timeout(limit, program, db, options).await;
    let ada = impatient.member("ada", Role::Owner).await;
    // All other requests may take as long as they need.
    let app = impatient.second_process(LiveOptions::default()).await;
    let patient = app.bearer(ada.credential.clone().unwrap());
    let (path, mut holder) = campaign_with_locked_row(&app, &patient).await;
    let step = |client: &Client| {
        client
            .post(&path, json!({"state": "active"}))
            .if_match("*")
            .idempotency_key("k")
    };
    let first = tokio::spawn(step(&ada).into_future());
    wait_for_blocked_session(&app.db).await;
    let waits = Instant::now();
    let first = first.await.unwrap();
    first.problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable");
    // The time for the work began before it waited for the lock. So when the response's time is over, the work's time
    // is over, too.
    sleep_until(waits + limit).await;
    holder.execute("ROLLBACK").await.unwrap();
    // The row is free only after the dropped transaction has ended; it did not take a key.
    let done = step(&patient).await.is(StatusCode::OK);
    assert_eq!(done.header(REPLAYED), None);
    assert_events!(
        app.team,
        [
            "CREATED campaign “Spring”",
            "STATE_CHANGED campaign “Spring”: draft → active"
        ]
    );
}
