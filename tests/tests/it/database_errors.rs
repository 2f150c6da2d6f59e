//! Tests the handling of database errors: the class gives the status, operators see names, nobody sees values.

use std::io;
use std::sync::{Arc, Mutex};

use axum::routing::post;
use daybook::prelude::*;
use daybook::testing::TestDb;
use daybook_tests::http::{Client, TestApp, sample_program};
use daybook_tests::{TeamFixture, eventually};
use serde_json::{Value, json};

/// Statements that the database refuses, each with the status of its answer, the problem's code, and what the wide event
/// has of the refusal. All of the database's messages have SECRET in them.
const REFUSED_STATEMENTS: &[(&str, u16, &str, &str)] = &[
    ("SELECT 'SECRET'::inet", 400, "bad-request", r#"{"sqlstate": "22P02"}"#),
    ("SELECT 'SECRET'::uuid", 400, "bad-request", r#"{"sqlstate": "22P02"}"#),
    (
        "SELECT '294277-01-01SECRET'::date",
        400,
        "bad-request",
        r#"{"sqlstate": "22007"}"#,
    ),
    (
        "SELECT '294277-01-01'::timestamptz /* SECRET */",
        400,
        "bad-request",
        r#"{"sqlstate": "22008"}"#,
    ),
    (
        "SELECT ('{\"SECRET\": 1}'::jsonb ->> 'SECRET')::int / 0",
        400,
        "bad-request",
        r#"{"sqlstate": "22012"}"#,
    ),
    (
        "SELECT repeat('SECRET', 1000000000)",
        400,
        "bad-request",
        r#"{"sqlstate": "54000"}"#,
    ),
    (
        "DO $$ BEGIN RAISE 'SECRET' USING ERRCODE = '23P01', CONSTRAINT = 'rooms_overlap', TABLE = 'rooms'; END $$",
        409,
        "overlap",
        r#"{"sqlstate": "23P01", "constraint": "rooms_overlap", "table": "rooms"}"#,
    ),
    (
        "INSERT INTO campaigns (team_id, id, name, budget)
         SELECT current_setting('daybook.team_id')::uuid, gen_random_uuid(), 'SECRET', -1",
        422,
        "invalid",
        r#"{"sqlstate": "23514", "constraint": "CHECK", "table": "campaigns"}"#,
    ),
    (
        "INSERT INTO campaigns (team_id, id, name, client_email)
         SELECT current_setting('daybook.team_id')::uuid, gen_random_uuid(), NULL, 'SECRET'",
        422,
        "invalid",
        r#"{"sqlstate": "23502", "column": "name", "table": "campaigns"}"#,
    ),
    (
        "DO $$ BEGIN RAISE 'SECRET' USING ERRCODE = '53100'; END $$",
        503,
        "unavailable",
        r#"{"sqlstate": "53100"}"#,
    ),
    (
        "DO $$ BEGIN RAISE 'SECRET' USING ERRCODE = '08006'; END $$",
        503,
        "unavailable",
        r#"{"sqlstate": "08006"}"#,
    ),
    (
        "DO $$ BEGIN RAISE 'SECRET' USING ERRCODE = '40001'; END $$",
        503,
        "unavailable",
        r#"{"sqlstate": "40001"}"#,
    ),
    (
        "SELECT * FROM secret_table WHERE x = 'SECRET'",
        500,
        "internal",
        r#"{"sqlstate": "42P01"}"#,
    ),
    (
        "DO $$ BEGIN RAISE 'SECRET'; END $$",
        500,
        "internal",
        r#"{"sqlstate": "P0001"}"#,
    ),
];

async fn refused(team: Team, Path(n): Path<usize>) -> Result<&'static str> {
    let tx = team.begin().await?;
    tx.execute_unprepared(REFUSED_STATEMENTS[n].0).await?;
    Ok("done")
}

/// A program's own error type, which includes the driver's message.
#[derive(Debug, thiserror::Error)]
#[error("the roster is broken: {0}")]
struct Broken(#[source] sea_orm::DbErr);

async fn wrapped(team: Team) -> Result<&'static str> {
    let tx = team.begin().await?;
    tx.execute_unprepared(REFUSED_STATEMENTS[0].0)
        .await
        .map_err(|error| Error::internal(Broken(error)))?;
    Ok("done")
}

async fn start() -> (TestApp, Client) {
    let routes = axum::Router::new()
        .route("/refused/{n}", post(refused))
        .route("/wrapped", post(wrapped));
    let program = sample_program().routes(routes);
    let db = TestDb::with_migrations(program.migrations().clone()).await;
    let options = db.options();
    let app = TestApp::start_program(program, db, options).await;
    let ada = app.member("ada", Role::Owner).await;
    (app, ada)
}

/// The log output of this thread, on which the test's service runs.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Logged {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

#[tokio::test]
async fn a_database_error_is_classified_and_reported_by_names() {
    let logged = Logged::default();
    let log = logged.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || log.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let (app, ada) = start().await;
    for (n, (sql, status, code, refusal)) in REFUSED_STATEMENTS.iter().enumerate() {
        let answer = ada.post(&format!("/refused/{n}"), json!({})).await;
        let event = app.wide_event().await;
        let body = answer.json();
        assert_eq!(body["status"], *status, "{sql}: {body}");
        assert_eq!(body["type"], format!("/problems/{code}"), "{sql}");
        let expected: Value = serde_json::from_str(refusal).unwrap();
        let reported = &event["database"]["refusal"];
        for (name, value) in expected.as_object().unwrap() {
            if value == "CHECK" {
                assert!(
                    reported[name].as_str().unwrap().starts_with("campaigns_"),
                    "{sql}: {event}"
                );
            } else {
                assert_eq!(&reported[name], value, "{sql}: {event}");
            }
        }
        assert_eq!(event["schema_errors"], Value::Null, "{event}");
        for reported in [body.to_string(), event.to_string()] {
            assert!(
                !reported.contains("SECRET") && !reported.contains("secret_table"),
                "{sql}: {reported}"
            );
        }
    }
    let not_null = ada.post("/refused/8", json!({})).await;
    assert_eq!(not_null.wrong_fields(), ["name"]);
    // The author of the program finds the constraint on stderr, too.
    let text = logged.text();
    assert!(
        text.contains("SQLSTATE 23P01, constraint rooms_overlap, table rooms"),
        "{text}"
    );
    assert!(!text.contains("SECRET"), "{text}");
}

#[tokio::test]
async fn the_databases_message_is_cut_from_a_wrapping_error() {
    let (app, ada) = start().await;
    let answer = ada.post("/wrapped", json!({})).await;
    assert_eq!(answer.json()["status"], 500);
    let event = app.wide_event().await;
    let reported = event["error"].to_string();
    assert!(
        reported.contains("the roster is broken") && !reported.contains("SECRET"),
        "{reported}"
    );
}

/// The pool doesn't ping its connections, so a transaction finds out that the one it was given is closed.
#[tokio::test]
async fn a_transaction_begins_after_the_database_has_closed_idle_connections() {
    let fixture = TeamFixture::new().await;
    for tx in [fixture.begin().await, fixture.begin().await] {
        tx.commit().await.unwrap();
    }
    let mut owner = fixture.db.owner().await;
    eventually("the end of all other sessions", async || {
        let ended: Vec<bool> = sqlx::query_scalar(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .fetch_all(&mut owner)
        .await
        .unwrap();
        ended.is_empty()
    })
    .await;
    fixture.widget("w").await;
    assert_eq!(fixture.count("widgets").await, 1);
}
