//! Tests a migration while the service runs: a table changes under statements that connections have prepared.

use axum::http::{Method, StatusCode};
use daybook::Error;
use daybook::events::Consumers;
use daybook::prelude::*;
use daybook_tests::http::TestApp;
use daybook_tests::jobs::{JobRunner, Note};
use daybook_tests::{TeamFixture, eventually};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor};

use crate::jobs::durable::mirror;

const CONNECTIONS: usize = 4;

/// Changes the table as an operator does while the service runs.
async fn migrate(db: &daybook::testing::TestDb, sql: &str) {
    db.owner().await.execute(AssertSqlSafe(sql)).await.unwrap();
}

/// Runs a query whose plan a change of the table's column makes invalid.
fn select_names() -> sqlx::query::Query<'static, sqlx::Postgres, sqlx::postgres::PgArguments> {
    sqlx::query("SELECT name, note FROM widgets ORDER BY name")
}

fn first() -> sqlx::query::Query<'static, sqlx::Postgres, sqlx::postgres::PgArguments> {
    sqlx::query("SELECT 1 AS one")
}

/// Returns a fixture on which all connections have prepared [`select_names`].
async fn prepared() -> TeamFixture {
    let fixture = TeamFixture::new().await;
    fixture.widget("w").await;
    prepare(&fixture).await;
    fixture
}

async fn prepare(fixture: &TeamFixture) {
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        let tx = fixture.begin().await;
        tx.fetch_all(select_names()).await.unwrap();
        open.push(tx);
    }
    assert_eq!(fixture.database.connections().0 as usize, CONNECTIONS);
    for tx in open {
        tx.commit().await.unwrap();
    }
}

const CHANGE: &str = "ALTER TABLE widgets ALTER COLUMN name TYPE varchar(300)";

#[tokio::test]
async fn a_transaction_whose_first_statement_meets_a_stale_plan_continues_on_another_connection() {
    let fixture = prepared().await;
    migrate(&fixture.db, CHANGE).await;
    let tx = fixture.begin().await;
    assert_eq!(tx.fetch_all(select_names()).await.unwrap().len(), 1);
    tx.execute_sql(sqlx::query("UPDATE widgets SET note = 'written'"))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(fixture.count("widgets WHERE note = 'written'").await, 1);
    // Also through SeaORM, which prepares its own statements.
    prepare(&fixture).await;
    let found = async || {
        let tx = fixture.database.read(&fixture.ada.context).await.unwrap();
        let found = daybook_tests::widget::Entity::find().all(&tx).await;
        tx.commit().await.unwrap();
        found.unwrap().len()
    };
    assert_eq!(found().await, 1);
    migrate(&fixture.db, "ALTER TABLE widgets ALTER COLUMN note TYPE varchar(300)").await;
    assert_eq!(found().await, 1);
}

#[tokio::test]
async fn a_stale_plan_inside_a_transaction_costs_one_retry_in_total() {
    let fixture = prepared().await;
    migrate(&fixture.db, CHANGE).await;
    let tx = fixture.begin().await;
    tx.fetch_all(first()).await.unwrap();
    let error = tx.fetch_all(select_names()).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(error.is_retryable() && error.is_stale_plan());
    assert!(!error.to_string().contains("plan"), "{error}");
    tx.rollback().await.unwrap();
    // One concurrent request for each connection: each connection would fail once.
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        let tx = fixture.begin().await;
        tx.fetch_all(first()).await.unwrap();
        tx.fetch_all(select_names()).await.unwrap();
        open.push(tx);
    }
    for tx in open {
        tx.commit().await.unwrap();
    }
}

#[tokio::test]
async fn work_is_run_again_and_reading_continues() {
    let fixture = prepared().await;
    migrate(&fixture.db, CHANGE).await;
    let attempts = std::sync::atomic::AtomicU32::new(0);
    let read = fixture
        .database
        .write_as(&fixture.entry(), Role::Member, async |tx: &TeamTx| {
            attempts.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            tx.execute_sql(sqlx::query("UPDATE widgets SET note = 'once'")).await?;
            Ok(tx.fetch_all(select_names()).await?.len())
        })
        .await
        .unwrap();
    assert_eq!((read, attempts.into_inner()), (1, 2));

    prepare(&fixture).await;
    migrate(&fixture.db, "ALTER TABLE widgets ALTER COLUMN note TYPE varchar(300)").await;
    // In a read-only transaction any statement can be run again.
    let tx = fixture.database.read(&fixture.ada.context).await.unwrap();
    tx.fetch_all(first()).await.unwrap();
    assert_eq!(tx.fetch_all(select_names()).await.unwrap().len(), 1);
    tx.commit().await.unwrap();
}

/// The same SQLSTATE is used for statements that never work.
#[tokio::test]
async fn an_unsupported_statement_is_not_retried() {
    let fixture = TeamFixture::new().await;
    let tx = fixture.begin().await;
    let error = tx
        .fetch_all(sqlx::query("SELECT count(*) FROM widgets FOR UPDATE"))
        .await
        .unwrap_err();
    assert!(!error.is_stale_plan() && !error.is_retryable(), "{error:?}");
}

#[tokio::test]
async fn no_client_sees_a_column_change_its_type_or_be_added() {
    let db =
        daybook::testing::TestDb::with_migrations(daybook_tests::http::sample_program().migrations().clone()).await;
    let options = db.options().max_connections(3);
    let app = TestApp::start_with(db, options).await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    grace.put("/watches/campaign").await.ok();
    let (campaign, thread) = ada.campaign_with_thread("Spring").await;
    let campaign = format!("/campaigns/{}", campaign.id);
    let story = app.team.events().await[0].correlation_id;
    let everything = async |round: u32| {
        for _ in 0..4 {
            ada.get("/campaigns").await.ok();
            ada.get(&campaign).await.ok();
            let change = json!({"budget": round.to_string()});
            ada.patch(&campaign, change).if_match("*").await.ok();
            let made = ada.create_campaign("Another", "1").await;
            ada.post(
                &format!("/campaigns/{}/transition", made.id),
                json!({"state": "active"}),
            )
            .if_match("*")
            .await
            .ok();
            ada.thread_texts(&thread).await;
            ada.comment(&thread, "hello").await;
            ada.get("/threads").await.ok();
            grace.inbox().await;
            let answer = ada.get(&campaign).await.is(StatusCode::OK);
            let trace: Value = answer.json();
            assert_eq!(trace["budget"], round.to_string());
            ada.get(&format!("/stories/{story}")).await.ok();
            ada.get("/job-sessions").await.ok();
            ada.get("/runs").await.ok();
            ada.request(Method::GET, "/v1/me").await.ok();
        }
    };
    everything(1).await;
    for (round, sql) in [
        (2, "ALTER TABLE campaigns ALTER COLUMN name TYPE varchar(300)"),
        (3, "ALTER TABLE events ADD COLUMN origin text"),
        (4, "ALTER TABLE threads ALTER COLUMN object_label TYPE varchar(300)"),
        (5, "ALTER TABLE thread_messages ADD COLUMN origin text"),
        (
            6,
            "ALTER TABLE notifications ADD COLUMN origin text; ALTER TABLE campaigns ADD COLUMN origin text",
        ),
        (7, "ALTER TABLE events ALTER COLUMN object_label TYPE varchar(300)"),
    ] {
        migrate(&app.db, sql).await;
        everything(round).await;
    }
}

#[tokio::test]
async fn consumers_jobs_and_the_relay_continue() {
    let runner = JobRunner::with_consumers(Consumers::of([mirror::CONSUMER]).unwrap()).await;
    runner.wait_for_consumer("mirror").await;
    let mut mirrored = 0;
    let mut round = async |sql: &str| {
        if !sql.is_empty() {
            migrate(&runner.fixture.db, sql).await;
        }
        for n in 0..3 {
            let name = format!("{sql} {n}");
            let job = runner
                .enqueue(Note {
                    text: format!("noted {name}"),
                })
                .await;
            runner.fixture.widget(&name).await;
            runner.wait_for_attempts(job, &["1 succeeded"]).await;
            mirrored += 2;
        }
        eventually(sql, async || runner.fixture.count("jottings").await == mirrored).await;
    };
    round("").await;
    round("ALTER TABLE events ADD COLUMN origin text").await;
    round("ALTER TABLE events ALTER COLUMN event_type TYPE varchar(300)").await;
    round("ALTER TABLE consumer_cursors ALTER COLUMN consumer TYPE varchar(300)").await;
    round("ALTER TABLE job_requests ADD COLUMN origin text").await;
    round("ALTER TABLE widgets ALTER COLUMN name TYPE varchar(300)").await;
    runner.wait_until_idle().await;
    let failed: Vec<(String, String, Option<Value>)> =
        sqlx::query_as("SELECT job_name, status, error FROM job_sessions WHERE status IN ('failed', 'lost')")
            .fetch_all(&mut runner.fixture.team.connection().await)
            .await
            .unwrap();
    assert_eq!(failed, [], "no attempt was lost");
}
