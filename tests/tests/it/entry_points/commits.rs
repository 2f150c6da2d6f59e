//! Tests forgotten commits: a successful answer whose writes are lost.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};

use axum::http::{Method, StatusCode};
use axum::routing::post;
use daybook::App;
use daybook::prelude::*;
use daybook::tenancy::ForgottenCommits;
use daybook::testing::TestDb;
use daybook_tests::http::{Client, TestApp, sample_program};
use daybook_tests::{campaign, eventually};
use futures_util::FutureExt as _;
use serde_json::{Value, json};

fn spring() -> campaign::ActiveModel {
    campaign::ActiveModel {
        name: Set("Spring".to_owned()),
        budget: Set(Decimal::ONE_HUNDRED),
        ..Default::default()
    }
}

async fn forgets_an_event(team: Team) -> Result<StatusCode> {
    let tx = team.begin().await?;
    create_model_with_event(&tx, spring(), Track::All).await?;
    Ok(StatusCode::CREATED)
}

async fn forgets_a_model(team: Team) -> Result<StatusCode> {
    let tx = team.begin().await?;
    let mut model = spring();
    model.id = Set(Uuid::now_v7());
    model.team_id = Set(tx.team_id());
    campaign::Entity::insert(model).exec_with_returning(&tx).await?;
    Ok(StatusCode::CREATED)
}

async fn forgets_a_statement(team: Team) -> Result<StatusCode> {
    let tx = team.begin().await?;
    let sql = "WITH made AS (INSERT INTO campaigns (team_id, id, name, budget) VALUES ($1, $2, 'x', 1) RETURNING id)
        SELECT id FROM made";
    tx.fetch_all(sqlx::query(sql).bind(tx.team_id()).bind(Uuid::now_v7()))
        .await?;
    Ok(StatusCode::CREATED)
}

async fn rolls_back(team: Team) -> Result<StatusCode> {
    let tx = team.begin().await?;
    create_model_with_event(&tx, spring(), Track::All).await?;
    tx.rollback().await?;
    Ok(StatusCode::CREATED)
}

async fn fails(team: Team) -> Result<StatusCode> {
    let tx = team.begin().await?;
    create_model_with_event(&tx, spring(), Track::All).await?;
    Err(Error::conflict("no", "not today"))
}

/// Its first transaction can't commit any more; its second one commits.
async fn begins_again(team: Team) -> Result<StatusCode> {
    let tx = team.begin().await?;
    create_model_with_event(&tx, spring(), Track::All).await?;
    let refused = tx.execute_sql(sqlx::query("SELECT 1 / 0")).await;
    drop(tx);
    assert!(refused.is_err());
    let tx = team.begin().await?;
    tx.execute_sql(sqlx::query("SELECT 1")).await?;
    tx.commit().await?;
    Ok(StatusCode::CREATED)
}

async fn only_reads(team: Team) -> Result<StatusCode> {
    let tx = team.begin().await?;
    campaign::Entity::find().lock_exclusive().all(&tx).await?;
    Ok(StatusCode::CREATED)
}

fn program() -> App {
    let routes = axum::Router::new()
        .route("/forgets-an-event", post(forgets_an_event))
        .route("/forgets-a-model", post(forgets_a_model))
        .route("/forgets-a-statement", post(forgets_a_statement))
        .route("/rolls-back", post(rolls_back))
        .route("/begins-again", post(begins_again))
        .route("/fails", post(fails))
        .route("/only-reads", post(only_reads));
    sample_program().routes(routes)
}

async fn service() -> (TestApp, Client) {
    let program = program();
    let db = TestDb::with_migrations(program.migrations().clone()).await;
    let options = db.options().max_connections(4);
    let app = TestApp::start_program(program, db, options).await;
    let ada = app.member("ada", Role::Owner).await;
    (app, ada)
}

/// Captures what this thread logs while the guard exists.
#[derive(Clone, Default)]
struct CapturedLog(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for CapturedLog {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl CapturedLog {
    fn capture(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::WARN)
            .with_writer(move || log.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

#[tokio::test]
async fn a_success_with_dropped_writes_causes_a_warning_and_an_error_in_its_wide_event() {
    let (app, ada) = service().await;
    let log = CapturedLog::default();
    let _capturing = log.capture();
    for path in ["/forgets-an-event", "/forgets-a-model", "/forgets-a-statement"] {
        ada.post(path, json!({})).await.is(StatusCode::CREATED);
        let event = app.wide_event().await;
        assert_eq!(
            (&event["status_code"], &event["outcome"]),
            (&json!(201), &json!("error")),
            "{path}"
        );
        assert_eq!(event["database"]["forgotten_commits"], 1, "{path}");
        assert_eq!(event["error"]["code"], "forgotten-commit", "{path}");
        assert!(event["schema_errors"].is_null(), "{event:#}");
        let words = log.take();
        assert!(words.contains("WARN") && words.contains("commit()"), "{path}: {words}");
    }
    // Work with an idempotency key runs in its own task.
    ada.post("/forgets-an-event", json!({}))
        .idempotency_key("once")
        .await
        .is(StatusCode::CREATED);
    let event = app.wide_event().await;
    assert_eq!(event["database"]["forgotten_commits"], 1, "{event:#}");
    log.take();
    for (path, status) in [
        ("/rolls-back", StatusCode::CREATED),
        ("/begins-again", StatusCode::CREATED),
        ("/only-reads", StatusCode::CREATED),
        ("/fails", StatusCode::CONFLICT),
    ] {
        ada.post(path, json!({})).await.is(status);
        let event = app.wide_event().await;
        assert!(event["database"]["forgotten_commits"].is_null(), "{path}: {event:#}");
        assert_ne!(event["outcome"], "error", "{path}");
        let words = log.take();
        assert!(!words.contains("commit()"), "{path}: {words}");
    }
    assert!(app.team.events().await.is_empty());
}

#[tokio::test]
async fn a_forgotten_commit_panics_in_tests() {
    // Set up like a user's test, on a database of `daybook::testing`.
    let program = program();
    let db = TestDb::with_migrations(program.migrations().clone()).await;
    let team = db.team("Acme").await;
    let ada = team.member("ada", Role::Owner).await;
    let database = program.equip(db.database().await).unwrap();
    assert_eq!(database.forgotten_commits(), ForgottenCommits::Panic);
    let state = AppState::new(
        database.clone(),
        daybook::auth::Authenticator::new(&daybook_tests::http::auth_config()).unwrap(),
        daybook::config::Config::from_lookup(&|_| None).unwrap().http,
        daybook::live::Live::start(&database, None, daybook::live::LiveOptions::default()).unwrap(),
        None,
    );
    let router = program.into_router(state);
    let token = daybook_tests::http::token(&daybook::auth::NewToken::new(&ada.subject));
    let send = async |path: &str| {
        let request = axum::http::Request::builder()
            .method(Method::POST)
            .uri(format!("/v1/teams/{}{path}", team.id))
            .header("authorization", format!("Bearer {token}"))
            .body(axum::body::Body::empty())
            .unwrap();
        let answering = tower::ServiceExt::oneshot(router.clone(), request);
        AssertUnwindSafe(answering).catch_unwind().await
    };
    for path in ["/forgets-an-event", "/forgets-a-model", "/forgets-a-statement"] {
        let panic = send(path).await.expect_err(path);
        let words = panic.downcast_ref::<String>().unwrap();
        assert!(words.contains("call commit()"), "{words}");
    }
    for path in ["/rolls-back", "/only-reads", "/fails"] {
        assert!(send(path).await.is_ok(), "{path}");
    }
}

#[tokio::test]
async fn a_jobs_forgotten_commit_is_reported() {
    let (app, _) = service().await;
    let log = CapturedLog::default();
    let _capturing = log.capture();
    let system = || Context::system(app.team.id, "test");
    let work = |forget: bool| {
        let spec = SessionSpec::new("sync").context(system());
        with_job_session(&app.database, spec, move |session| async move {
            let tx = session.begin().await?;
            create_model_with_event(&tx, spring(), Track::All).await?;
            if !forget {
                tx.rollback().await?;
            }
            Ok(())
        })
    };
    work(true).await.unwrap();
    let event = app.wide_event().await;
    assert_eq!((&event["kind"], &event["outcome"]), (&json!("job"), &json!("error")));
    assert_eq!(event["database"]["forgotten_commits"], 1);
    assert!(log.take().contains("a job succeeded"));
    work(false).await.unwrap();
    assert_eq!(app.wide_event().await["outcome"], "success");
    assert_eq!(log.take(), "");

    let database = app.database.clone().with_forgotten_commits(ForgottenCommits::Panic);
    let spec = SessionSpec::new("sync").context(system());
    let failed = with_job_session(&database, spec, |session| async move {
        let tx = session.begin().await?;
        create_model_with_event(&tx, spring(), Track::All).await?;
        Ok(())
    });
    assert!(failed.await.unwrap_err().to_string().contains("internal"));
    let mut team = app.team.connection().await;
    eventually("the session's end", async || {
        let error: Option<Value> = sqlx::query_scalar("SELECT error FROM job_sessions ORDER BY id DESC LIMIT 1")
            .fetch_one(&mut team)
            .await
            .unwrap();
        error.is_some_and(|error| error["message"].as_str().unwrap().contains("call commit()"))
    })
    .await;
}
