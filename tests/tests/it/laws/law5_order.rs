//! Law 5: nothing stalls. The database assigns the values that order rows, and a row with other values blocks no
//! reader.

use daybook::events::Consumers;
use daybook::jobs::queue_state;
use daybook::tenancy::{Role, WorkerDatabase};
use daybook_tests::http::TestApp;
use daybook_tests::jobs::JobRunner;
use daybook_tests::live::LiveClient;
use daybook_tests::{TeamFixture, eventually, refusal};
use serde_json::json;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor};

use crate::jobs::durable::mirror;

/// `insufficient_privilege`.
const INSUFFICIENT_PRIVILEGE: &str = "42501";
/// `check_violation`.
const CHECK_VIOLATION: &str = "23514";
/// The second-highest transaction id: no transaction will ever have it.
const UNREACHED_TRANSACTION_ID: i64 = i64::MAX - 1;

/// Returns the SQL for an event, with columns and values in addition to those that every event has.
fn event(team: uuid::Uuid, kind: &str, columns: &str, values: &str) -> String {
    format!(
        "INSERT INTO events (team_id, id, event_type, object_type, object_id, object_label, threadable, actor_kind,
             actor_name, event_data, schema_version, correlation_id{columns})
         VALUES ('{team}', '{}', 'CREATED', 'w', 'by sql', 'w', true, '{kind}', 't', '{{}}', 0, '{team}'{values})",
        uuid::Uuid::now_v7()
    )
}

async fn refused(connection: &mut PgConnection, sql: &str, code: &str) {
    let (found, text) = refusal(connection, sql)
        .await
        .unwrap_or_else(|| panic!("not refused: {sql}"));
    assert_eq!(found, code, "{sql}: {text}");
}

/// Returns a connection as the owner, to whom row-level security also applies.
async fn owner_in(fixture: &TeamFixture) -> PgConnection {
    let mut owner = fixture.db.owner().await;
    let enter = format!("SELECT set_config('daybook.team_id', '{}', false)", fixture.team.id);
    owner.execute(AssertSqlSafe(enter)).await.unwrap();
    owner
}

#[tokio::test]
async fn the_run_time_role_can_not_set_an_events_transaction_id_or_date() {
    let fixture = TeamFixture::new().await;
    let mut app = fixture.team.connection().await;
    let team = fixture.team.id;
    app.execute(AssertSqlSafe(event(team, "system", "", ""))).await.unwrap();
    for (columns, values) in [
        (", transaction_id", format!(", {}", i64::MAX)),
        (", transaction_id", ", 1".to_owned()),
        (", transaction_id", ", DEFAULT".to_owned()),
        (", created_at", ", '1970-01-01'".to_owned()),
        (", created_at", ", 'infinity'".to_owned()),
    ] {
        refused(
            &mut app,
            &event(team, "system", columns, &values),
            INSUFFICIENT_PRIVILEGE,
        )
        .await;
    }
    let copy = "COPY events (team_id, id, transaction_id) FROM STDIN";
    refused(&mut app, copy, INSUFFICIENT_PRIVILEGE).await;
}

#[tokio::test]
async fn an_actor_of_a_kind_has_an_id_and_the_system_has_none() {
    let fixture = TeamFixture::new().await;
    let mut app = fixture.team.connection().await;
    let team = fixture.team.id;
    for kind in ["user", "api_key", "job"] {
        refused(&mut app, &event(team, kind, "", ""), CHECK_VIOLATION).await;
        let with_id = event(team, kind, ", actor_id", &format!(", '{team}'"));
        app.execute(AssertSqlSafe(with_id)).await.unwrap();
    }
    let id = format!(", '{team}'");
    refused(&mut app, &event(team, "system", ", actor_id", &id), CHECK_VIOLATION).await;
    refused(&mut app, &event(team, "system", ", on_behalf_of", &id), CHECK_VIOLATION).await;
    let name = ", on_behalf_of_name";
    refused(&mut app, &event(team, "system", name, ", 'Ada'"), CHECK_VIOLATION).await;

    app.execute(AssertSqlSafe(format!(
        "INSERT INTO threads (team_id, id, object_type, object_id, object_label, last_seq)
         VALUES ('{team}', '{team}', 'widget', '1', 'w', 1)"
    )))
    .await
    .unwrap();
    for (kind, author) in [
        ("user", "NULL".to_owned()),
        ("robot", format!("'{team}'")),
        ("system", format!("'{team}'")),
    ] {
        let comment = format!(
            "INSERT INTO thread_messages (team_id, thread_id, seq, kind, author_kind, author_id, author_name, body)
             VALUES ('{team}', '{team}', 1, 'comment', '{kind}', {author}, 'Ada', 'hello')"
        );
        refused(&mut app, &comment, CHECK_VIOLATION).await;
    }
}

#[tokio::test]
async fn a_row_names_the_transaction_that_wrote_it_and_no_other() {
    let fixture = TeamFixture::new().await;
    super::seed::seed(&fixture.team).await;
    let mut app = fixture.team.connection().await;
    for table in ["thread_messages", "notifications", "job_sessions", "runs"] {
        let change = |number: &str| format!("UPDATE {table} SET transaction_id = {number}");
        refused(&mut app, &change(&i64::MAX.to_string()), INSUFFICIENT_PRIVILEGE).await;
        refused(&mut app, &change("1"), INSUFFICIENT_PRIVILEGE).await;
        let own = change("pg_current_xact_id()::text::bigint");
        let done = app.execute(AssertSqlSafe(own)).await.unwrap();
        assert_eq!(done.rows_affected(), 1, "{table}");
        let mut owner = owner_in(&fixture).await;
        // The id is as in a restored dump. A change of other columns does not change it.
        owner.execute(AssertSqlSafe(change("4711"))).await.unwrap();
    }
    app.execute("UPDATE runs SET log_bytes = 1; UPDATE job_sessions SET heartbeat_at = now()")
        .await
        .unwrap();
    let action =
        "INSERT INTO job_actions (team_id, session_id, seq, at, action_type, sentence, payload, transaction_id)
        SELECT team_id, id, 2, now(), 'a', 'a', '{}', 1 FROM job_sessions";
    refused(&mut app, action, INSUFFICIENT_PRIVILEGE).await;
}

/// Checks each table for which a migration could have forgotten the trigger. Tables that no reader sorts or shows by
/// `created_at` are listed as exceptions.
#[tokio::test]
async fn the_database_sets_the_creation_time_of_rows() {
    let fixture = TeamFixture::new().await;
    super::seed::seed(&fixture.team).await;
    let mut app = fixture.team.connection().await;
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'created_at'
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
             AND has_column_privilege('daybook_app', c.oid, a.attnum, 'INSERT')
         ORDER BY 1",
    )
    .fetch_all(&mut fixture.db.owner().await)
    .await
    .unwrap();
    // Tables that only housekeeping reads, or no code at all, and tables of the tests' programs.
    let others = [
        "campaigns",
        "consumer_effects",
        "consumer_failures",
        "idempotency_keys",
        "jottings",
        "notification_preferences",
        "widgets",
    ];
    let tables: Vec<_> = tables
        .iter()
        .filter(|table| !others.contains(&table.as_str()))
        .collect();
    assert!(tables.len() >= 10, "{tables:?}");
    for table in tables {
        let guarded: Vec<String> = sqlx::query_scalar(
            "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = $1::regclass AND tgenabled = 'O'
                 AND pg_get_triggerdef(oid) ~ 'daybook_(refuse_value|check_place)'",
        )
        .bind(table)
        .fetch_all(&mut app)
        .await
        .unwrap();
        for event in ["BEFORE INSERT ON", "BEFORE UPDATE OF created_at ON"] {
            assert!(
                guarded.iter().any(|guard| guard.contains(event)),
                "{table}: {event}: {guarded:?}"
            );
        }
        let rows: i64 = sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {table}")))
            .fetch_one(&mut app)
            .await
            .unwrap();
        if rows > 0 && table != "teams" && table != "users" {
            let moved = format!("UPDATE {table} SET created_at = 'infinity'");
            refused(&mut app, &moved, INSUFFICIENT_PRIVILEGE).await;
        }
    }
    let watch = "INSERT INTO watches (team_id, user_id, object_type, created_at)
        SELECT team_id, user_id, 'by_sql', '1970-01-01' FROM memberships";
    refused(&mut app, watch, INSUFFICIENT_PRIVILEGE).await;
    // The owner restores a dump.
    let mut owner = owner_in(&fixture).await;
    for table in ["threads", "thread_messages"] {
        let sql = format!("UPDATE {table} SET created_at = '2020-01-01'");
        assert!(owner.execute(AssertSqlSafe(sql)).await.unwrap().rows_affected() > 0);
    }
}

#[tokio::test]
async fn a_messages_seq_and_time_are_set_by_the_database() {
    let fixture = TeamFixture::new().await;
    let mut app = fixture.team.connection().await;
    let team = fixture.team.id;
    app.execute(AssertSqlSafe(format!(
        "INSERT INTO threads (team_id, id, object_type, object_id, object_label, last_seq)
         VALUES ('{team}', '{team}', 'widget', '1', 'w', 1)"
    )))
    .await
    .unwrap();
    let message = |seq: i64| {
        format!(
            "INSERT INTO thread_messages (team_id, thread_id, seq, kind, event_id, created_at)
             VALUES ('{team}', '{team}', {seq}, 'system', '{team}', '1970-01-01')"
        )
    };
    for seq in [0, -1, 2, i64::MAX] {
        refused(&mut app, &message(seq), INSUFFICIENT_PRIVILEGE).await;
    }
    app.execute(AssertSqlSafe(message(1))).await.unwrap();
    let old: i64 =
        sqlx::query_scalar("SELECT count(*) FROM thread_messages WHERE created_at < now() - interval '1 hour'")
            .fetch_one(&mut app)
            .await
            .unwrap();
    assert_eq!(old, 0, "the database's time replaced the one that was sent");
    for sql in [
        "UPDATE thread_messages SET seq = 2",
        "UPDATE thread_messages SET created_at = 'infinity'",
        "UPDATE threads SET last_seq = 0",
        "DELETE FROM thread_messages",
        "DELETE FROM threads",
    ] {
        refused(&mut app, sql, INSUFFICIENT_PRIVILEGE).await;
    }
}

/// Such rows could be written by SQL before the database refused them.
#[tokio::test]
async fn an_event_whose_actor_has_no_id_can_be_read() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    ada.create_campaign("Spring", "1").await;
    let mut owner = app.db.owner().await;
    let team = app.team.id;
    owner
        .execute(AssertSqlSafe(format!(
            "ALTER TABLE events DROP CONSTRAINT events_actor_whole;
             SELECT set_config('daybook.team_id', '{team}', false)"
        )))
        .await
        .unwrap();
    for kind in ["user", "api_key", "job"] {
        owner.execute(AssertSqlSafe(event(team, kind, "", ""))).await.unwrap();
    }
    owner
        .execute(AssertSqlSafe(event(
            team,
            "system",
            ", actor_id",
            &format!(", '{team}'"),
        )))
        .await
        .unwrap();
    let kinds: Vec<_> = app.team.events().await.iter().map(|event| event.actor.kind()).collect();
    assert_eq!(kinds, ["user", "user", "api_key", "job", "system"]);
    let story = ada.get(&format!("/stories/{team}")).await.ok();
    assert_eq!(story["steps"].as_array().unwrap().len(), 4, "{story}");
}

#[tokio::test]
async fn an_event_from_the_future_blocks_no_consumer_and_is_no_lag() {
    let runner = JobRunner::with_consumers(Consumers::of([mirror::CONSUMER]).unwrap()).await;
    runner.wait_for_consumer("mirror").await;
    let team = runner.fixture.team.id;
    let mut owner = owner_in(&runner.fixture).await;
    for number in [i64::MAX, UNREACHED_TRANSACTION_ID] {
        let row = event(team, "system", ", transaction_id", &format!(", {number}"));
        owner.execute(AssertSqlSafe(row)).await.unwrap();
    }
    runner.fixture.widget("after").await;
    eventually("the widget is mirrored", async || {
        runner.fixture.count("jottings").await == 1
    })
    .await;
    let workers = WorkerDatabase::connect(runner.fixture.db.owner_options(), 1)
        .await
        .unwrap();
    eventually("no lag", async || {
        let queue_state = queue_state(&workers).await.unwrap();
        queue_state
            .lags
            .iter()
            .all(|lag| lag.events == 0 && lag.since.is_none())
    })
    .await;
}

/// Otherwise each follower would receive such a row at each poll.
#[tokio::test]
async fn a_row_from_the_future_is_in_no_live_frame() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    ada.create_campaign("Old", "1").await;
    let old_run = ada.post("/runs", json!({"name": "old"})).await.ok();
    let address = app.serve(|router| router).await;
    let mut threads = LiveClient::connect(address, &ada).await;
    threads.follow(json!({"type": "subscribe", "topic": "threads"})).await;
    let mut runs = LiveClient::connect(address, &ada).await;
    runs.follow(json!({"type": "subscribe", "topic": "runs"})).await;

    let mut owner = app.db.owner().await;
    owner
        .execute(AssertSqlSafe(format!(
            "SELECT set_config('daybook.team_id', '{}', false);
             UPDATE thread_messages SET transaction_id = {UNREACHED_TRANSACTION_ID};
             UPDATE notifications SET transaction_id = {UNREACHED_TRANSACTION_ID};
             UPDATE runs SET transaction_id = {UNREACHED_TRANSACTION_ID}",
            app.team.id
        )))
        .await
        .unwrap();
    for name in ["New", "Newer"] {
        let run = ada.post("/runs", json!({"name": name})).await.ok();
        ada.create_campaign(&format!("{name} one"), "1").await;
        // The messages of the run's thread may come before, in one or two frames.
        loop {
            let frame = threads.next().await;
            let label = frame["thread"]["object_label"].as_str().unwrap();
            assert!(label.starts_with(name), "{frame}");
            if label.ends_with("one") {
                break;
            }
        }
        // A run is sent in its current state, once or twice.
        let frame = runs.next().await;
        assert_ne!(frame["run"]["id"], old_run["id"]);
        if frame["run"]["id"] != run["id"] {
            assert_eq!(runs.next().await["run"]["id"], run["id"]);
        }
    }
    assert!(threads.frames_until_pong().await.is_empty());
    for frame in runs.frames_until_pong().await {
        assert_ne!(frame["run"]["id"], old_run["id"]);
    }
}
