//! Tests timestamps that our programs never write, in each column that can store one: all lists stay readable.

use axum::http::StatusCode;
use daybook::jobs::{SessionSpec, with_job_session};
use daybook::prelude::*;
use daybook_tests::http::{Client, TestApp};
use daybook_tests::jobs::NoteAction;
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor};

/// Creates a team with rows in most tables. Returns it with the paths that read them.
async fn create_team_with_rows(app: &TestApp, ada: &Client) -> Vec<String> {
    ada.put("/watches/campaign").await.ok();
    let (campaign, thread) = ada.campaign_with_thread("Spring").await;
    ada.put(&format!("{thread}/follow")).await.ok();
    let grace = app.member("grace", Role::Member).await;
    grace.comment(&thread, "hello @ada").await;
    grace.comment(&thread, "again").await;
    ada.make_key("robot", "viewer").await;
    let rule = ada.put("/notification-preferences/CREATED/campaign");
    rule.json(json!({"in_app": true})).await.ok();
    ada.invite("barbara", "viewer").await.is(StatusCode::CREATED);
    let run = ada.post("/runs", json!({"name": "import"})).await.ok();
    let run = run["id"].as_str().unwrap().to_owned();
    let context = app.team.member("watcher", Role::Viewer).await.context;
    let correlation_id = context.correlation_id;
    let outcome = with_job_session(
        &app.database,
        SessionSpec::new("sync").context(context),
        |session| async move {
            let text = "one".to_owned();
            session.add_action(&NoteAction::Noted { text }).await?;
            Ok(session.id())
        },
    );
    let session = outcome.await.unwrap();
    let of_comments = app.team.events().await[0].correlation_id;
    vec![
        "/api-keys".to_owned(),
        "/campaigns".to_owned(),
        campaign.path,
        "/invitations".to_owned(),
        "/job-sessions".to_owned(),
        format!("/job-sessions/{session}"),
        format!("/job-sessions/{session}/actions"),
        "/members".to_owned(),
        "/notification-preferences".to_owned(),
        "/notifications".to_owned(),
        "/notifications?unread=true".to_owned(),
        "/runs".to_owned(),
        format!("/runs/{run}"),
        format!("/stories/{correlation_id}"),
        format!("/stories/{of_comments}"),
        "/threads".to_owned(),
        "/threads?new=true".to_owned(),
        thread.clone(),
        format!("{thread}/messages"),
        format!("{thread}/messages?group=true&order=desc"),
        format!("{thread}/messages/2"),
        "/watches".to_owned(),
    ]
}

/// Returns all columns with timestamps or days and their tables, except those of events, which can't be changed.
async fn columns(owner: &mut PgConnection) -> Vec<(String, String)> {
    sqlx::query_as(
        "SELECT c.relname::text, a.attname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
             AND a.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype)
             AND a.attnum > 0 AND NOT a.attisdropped AND c.relname <> 'events'
         ORDER BY 1, 2",
    )
    .fetch_all(owner)
    .await
    .unwrap()
}

/// Returns the number of things in an answer: the items of a page, or one object.
fn size(answer: &Value) -> usize {
    answer["items"].as_array().map_or(1, Vec::len)
}

#[tokio::test]
async fn an_infinite_timestamp_in_any_column_breaks_no_list() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let paths = create_team_with_rows(&app, &ada).await;
    let barbara = app.non_member("barbara");
    let mut owner = app.db.owner().await;
    let enter = format!("SELECT set_config('daybook.team_id', '{}', false)", app.team.id);
    owner.execute(AssertSqlSafe(enter)).await.unwrap();
    let columns = columns(&mut owner).await;
    assert!(columns.len() > 30, "{columns:?}");

    for (table, column) in &columns {
        write(&mut owner, table, column, "infinity").await;
        assert_all_readable(&ada, &barbara, &paths, &format!("{table}.{column} = infinity")).await;
        let rest = format!("UPDATE {table} SET {column} = now() WHERE {column} = 'infinity'");
        owner.execute(AssertSqlSafe(rest)).await.unwrap();
    }
    // Also a timestamp before the first that RFC 3339 can write, a late one, and all columns together.
    for timestamp in ["-infinity", "20000-01-01", "infinity"] {
        for (table, column) in &columns {
            write(&mut owner, table, column, timestamp).await;
        }
        assert_all_readable(&ada, &barbara, &paths, timestamp).await;
    }
}

/// Writes a timestamp into a column. Null stays null, because it has its own meaning.
async fn write(owner: &mut PgConnection, table: &str, column: &str, timestamp: &str) {
    let sql = format!("UPDATE {table} SET {column} = '{timestamp}' WHERE {column} IS NOT NULL");
    let written = owner.execute(AssertSqlSafe(sql)).await;
    written.unwrap_or_else(|error| panic!("{table}.{column} = {timestamp}: {error}"));
}

async fn assert_all_readable(reader: &Client, invited: &Client, paths: &[String], what: &str) {
    for path in paths {
        let answer = reader.get(path).await;
        assert!(answer.status.is_success(), "{what}: {path}: {}", answer.text());
        assert!(size(&answer.json()) > 0, "{what}: {path} is empty");
    }
    assert_eq!(invited.invitations().await.len(), 1, "{what}");
}

/// Rows of one infinite timestamp follow each other, and rows of timestamps that RFC 3339 can't write.
#[tokio::test]
async fn an_inbox_of_infinite_timestamps_is_paged() {
    let timestamps = [
        "infinity",
        "infinity",
        "infinity",
        "20000-01-01",
        "2026-01-01",
        "4000-01-01 BC",
        "-infinity",
        "-infinity",
        "-infinity",
    ];
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    for n in 0..timestamps.len() {
        let (_, thread) = grace.campaign_with_thread(&format!("c{n}")).await;
        ada.put(&format!("{thread}/follow")).await.ok();
        grace.comment(&thread, "hello").await;
    }
    let mut team = app.team.connection().await;
    sqlx::query(
        "UPDATE notifications n SET updated_at = m.moment::timestamptz
         FROM (SELECT id, row_number() OVER (ORDER BY id) AS place FROM notifications) p,
             unnest($1::text[]) WITH ORDINALITY AS m (moment, place)
         WHERE n.id = p.id AND p.place = m.place",
    )
    .bind(timestamps)
    .execute(&mut team)
    .await
    .unwrap();
    let expected: Vec<String> =
        sqlx::query_scalar("SELECT id::text FROM notifications ORDER BY updated_at DESC, id DESC")
            .fetch_all(&mut team)
            .await
            .unwrap();

    for limit in [1, 2, 50] {
        let (mut ids, mut path) = (Vec::new(), format!("/notifications?limit={limit}"));
        loop {
            let page = ada.get(&path).await.ok();
            let items = page["items"].as_array().unwrap();
            ids.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
            assert!(ids.len() <= timestamps.len(), "a row comes twice: {ids:?}");
            let Some(cursor) = page["next"].as_str() else { break };
            path = format!("/notifications?limit={limit}&cursor={cursor}");
        }
        assert_eq!(ids, expected, "limit {limit}");
    }
}
