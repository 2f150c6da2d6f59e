//! Handlers that begin more than one transaction, or fail after their commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Extension;
use axum::http::StatusCode;
use axum::routing::post;
use daybook::assert_events;
use daybook::prelude::*;
use daybook::testing::TestDb;
use daybook_tests::campaign;
use daybook_tests::http::{Client, TestApp, sample_program};
use serde_json::Value;

use super::assert_same_response;

async fn create(tx: &TeamTx, name: &str) -> Result<()> {
    let campaign = campaign::ActiveModel {
        name: Set(name.to_owned()),
        ..Default::default()
    };
    create_model_with_event(tx, campaign, Track::All).await.map(drop)
}

/// Conflicts with another transaction at its first attempt.
async fn conflicts_once(team: Team, Extension(attempts): Extension<Arc<AtomicU32>>) -> Result<StatusCode> {
    team.write(async |tx| {
        create(tx, "Spring").await?;
        if attempts.fetch_add(1, Ordering::SeqCst) == 0 {
            let conflict = sqlx::query("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$");
            tx.execute_sql(conflict).await?;
        }
        Ok(())
    })
    .await?;
    Ok(StatusCode::CREATED)
}

async fn commits_twice(team: Team) -> Result<StatusCode> {
    for name in ["Spring", "Summer"] {
        team.write(async |tx| create(tx, name).await).await?;
    }
    Ok(StatusCode::CREATED)
}

async fn fails_after_its_commit(team: Team) -> Result<StatusCode> {
    team.write(async |tx| create(tx, "Spring").await).await?;
    Err(Error::internal("failed after the commit"))
}

/// Commits, and returns a body of as many bytes as the path says.
async fn returns_bytes(team: Team, Path(bytes): Path<usize>) -> Result<String> {
    team.write(async |tx| create(tx, &bytes.to_string()).await).await?;
    Ok("x".repeat(bytes))
}

async fn service() -> (TestApp, Client) {
    let routes = axum::Router::new()
        .route("/conflicts-once", post(conflicts_once))
        .route("/commits-twice", post(commits_twice))
        .route("/fails-after-its-commit", post(fails_after_its_commit))
        .route("/bytes/{bytes}", post(returns_bytes))
        .layer(Extension(Arc::new(AtomicU32::new(0))));
    let program = sample_program().routes(routes);
    let db = TestDb::with_migrations(program.migrations().clone()).await;
    let options = db.options().max_connections(4);
    let app = TestApp::start_program(program, db, options).await;
    let ada = app.member("ada", Role::Owner).await;
    (app, ada)
}

#[tokio::test]
async fn work_that_is_retried_takes_its_key_again() {
    let (app, ada) = service().await;
    let send = || ada.post("/conflicts-once", Value::Null).idempotency_key("k");
    let done = send().await.is(StatusCode::CREATED);
    assert_same_response(&done, &send().await);
    assert_events!(app.team, ["CREATED campaign “Spring”"]);
}

#[tokio::test]
async fn a_response_of_more_than_256_kib_is_not_stored() {
    let (app, ada) = service().await;
    let send = |bytes: usize| {
        ada.post(&format!("/bytes/{bytes}"), Value::Null)
            .idempotency_key(&bytes.to_string())
    };
    let (largest, too_large) = (256 * 1024, 256 * 1024 + 1);
    let done = send(largest).await.is(StatusCode::OK);
    assert_same_response(&done, &send(largest).await);
    send(too_large).await.is(StatusCode::OK);
    send(too_large).await.problem(StatusCode::CONFLICT, "outcome-unknown");
    assert_eq!(app.team.events().await.len(), 2);
}

#[tokio::test]
async fn a_request_with_two_transactions_takes_its_key_once() {
    let (app, ada) = service().await;
    let send = || ada.post("/commits-twice", Value::Null).idempotency_key("k");
    let done = send().await.is(StatusCode::CREATED);
    assert_same_response(&done, &send().await);
    assert_events!(app.team, ["CREATED campaign “Spring”", "CREATED campaign “Summer”"]);
}

#[tokio::test]
async fn a_server_error_after_the_commit_is_not_replayed() {
    let (app, ada) = service().await;
    let send = || ada.post("/fails-after-its-commit", Value::Null).idempotency_key("k");
    send().await.is(StatusCode::INTERNAL_SERVER_ERROR);
    send().await.problem(StatusCode::CONFLICT, "outcome-unknown");
    assert_events!(app.team, ["CREATED campaign “Spring”"]);
}

#[tokio::test]
async fn a_key_applies_only_to_post() {
    let (app, ada) = service().await;
    let spring = ada.create_campaign("Spring", "100").await;
    for budget in ["200", "300"] {
        let change = ada.patch(&spring.path, serde_json::json!({"budget": budget}));
        assert_eq!(change.idempotency_key("k").await.ok()["budget"], budget);
    }
    assert_eq!(app.team.events().await.len(), 3);
}
