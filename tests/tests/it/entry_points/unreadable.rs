//! Tests rows that no entry point would accept, written by SQL: they are shown as unreadable and don't affect other
//! rows.

use chrono::DateTime;
use daybook::events::EventData;
use daybook::prelude::*;
use daybook_tests::live::LiveClient;
use daybook_tests::{eventually, widget};
use serde_json::{Value, json};

use super::{JsonApp, message, nested_text, subscribe};

/// JSON that PostgreSQL accepts but the service can't read: deeper than serde_json's limit, deeper than an answer may
/// be, or with a number that is no `f64`.
fn unreadable() -> [String; 3] {
    [
        format!(r#"{{"changes":{{"extra":{{"old":null,"new":{}}}}}}}"#, nested_text(140)),
        format!(r#"{{"changes":{{"extra":{{"old":null,"new":{}}}}}}}"#, nested_text(110)),
        r#"{"changes":{"extra":{"old":null,"new":1e999}}}"#.to_owned(),
    ]
}

/// Copies an event with another payload, and posts it to a thread and to the inboxes that contain that thread.
async fn post_by_hand(json_app: &JsonApp, like: &Event, thread: &str, data: &str) {
    let mut team = json_app.app.team.connection().await;
    let (id, thread_id) = (Uuid::now_v7(), thread.trim_start_matches("/threads/"));
    sqlx::query(
        "INSERT INTO events (team_id, id, event_type, event_name, object_type, object_id, object_label, threadable,
            actor_kind, actor_id, actor_name, via, reason, event_data, schema_version, correlation_id)
         SELECT team_id, $2, 'UPDATED', event_name, object_type, object_id, object_label, threadable, actor_kind, actor_id,
            actor_name, via, reason, $3::text::jsonb, schema_version, correlation_id
         FROM events WHERE id = $1",
    )
    .bind(like.id)
    .bind(id)
    .bind(data)
    .execute(&mut team)
    .await
    .unwrap();
    sqlx::query(
        "WITH thread AS (
            UPDATE threads SET last_seq = last_seq + 1 WHERE id = $1::text::uuid RETURNING team_id, id, last_seq
        ), told AS (
            UPDATE notifications n SET event_id = $2, seq = t.last_seq, version = version + 1
            FROM thread t WHERE n.thread_id = t.id
        )
        INSERT INTO thread_messages (team_id, thread_id, seq, kind, event_id)
        SELECT team_id, id, last_seq, 'system', $2 FROM thread",
    )
    .bind(thread_id)
    .bind(id)
    .execute(&mut team)
    .await
    .unwrap();
}

#[tokio::test]
async fn events_that_cannot_be_read_fail_no_page_no_inbox_no_socket_and_no_batch() {
    let json_app = JsonApp::start().await;
    let made = json_app.create("w", json!(1)).await.unwrap();
    let thread = json_app.followed_thread(&made).await;
    json_app.update(&made, json!(2)).await.unwrap();
    let like = json_app.app.team.events().await.pop().unwrap();
    for data in unreadable() {
        post_by_hand(&json_app, &like, &thread, &data).await;
    }

    // The inbox's newest message is one of these.
    let inbox = json_app.grace.inbox().await;
    let text = inbox["items"][0]["text"].as_str().unwrap();
    assert_eq!(text, "Ada changed widget “w” (what was recorded can't be read)");
    json_app.update(&made, json!(3)).await.unwrap();

    for query in ["", "?group=true"] {
        let page = json_app.ada.get(&format!("{thread}/messages{query}")).await.ok();
        let items = page["items"].as_array().unwrap();
        let shown: Vec<_> = items
            .iter()
            .flat_map(|item| match item["kind"].as_str() {
                Some("group") => item["items"].as_array().unwrap().clone(),
                _ => vec![item.clone()],
            })
            .collect();
        assert_eq!(shown.len(), 6, "{query}: {page:#}");
        for (at, item) in shown.iter().enumerate() {
            let reason = &item["event"]["unreadable"]["reason"];
            assert_eq!(reason.is_string(), (2..5).contains(&at), "{query}: {item:#}");
        }
    }
    let page = json_app.ada.get(&format!("{thread}/messages?after_seq=2")).await.ok();
    assert_eq!(message(&page, 0)["changes"], json!([]));
    assert!(
        message(&page, 2)["unreadable"]["reason"]
            .as_str()
            .unwrap()
            .contains("JSON")
    );

    let address = json_app.app.serve(|router| router).await;
    let mut live = LiveClient::connect(address, &json_app.grace).await;
    live.follow_thread(thread.trim_start_matches("/threads/"), Some(0))
        .await;
    let mut messages = 0;
    while messages < 6 {
        messages += live.next().await["messages"].as_array().unwrap().len();
    }
    live.follow(subscribe("notifications")).await;
    assert_eq!(live.next().await["type"], "notifications:updated");

    let story = format!("/stories/{}", json_app.context.correlation_id);
    let story = json_app.ada.get(&story).await.ok();
    let steps = story["steps"].as_array().unwrap();
    let unreadable = steps.iter().filter(|step| !step["event"]["unreadable"].is_null());
    assert_eq!(unreadable.count(), 3, "{story:#}");

    let activity = json_app.activity();
    let shown = activity
        .iter()
        .filter(|event| !event["event_data"]["unreadable"].is_null());
    assert!(activity.is_empty() || shown.count() == 3, "{activity:#?}");
    let events = json_app.app.team.events().await;
    let data: Vec<_> = events.iter().map(|event| event.data().unwrap()).collect();
    let unreadable = data.iter().filter(|data| matches!(data, EventData::Unreadable(_)));
    assert_eq!((events.len(), unreadable.count()), (6, 3));
    // A durable consumer reads all of them.
    eventually("all events to be counted", async || json_app.counted().await == 6).await;

    let metrics = json_app
        .app
        .anonymous()
        .request(axum::http::Method::GET, "/metrics")
        .await
        .text();
    let read = metrics
        .lines()
        .find_map(|line| line.strip_prefix("daybook_unreadable_values_read_total "));
    assert!(read.is_some_and(|read| read != "0"), "{metrics}");
}

#[tokio::test]
async fn sessions_and_actions_that_cannot_be_read_fail_no_list() {
    let json_app = JsonApp::without_workers().await;
    let spec = SessionSpec::new("sync").context(json_app.context.clone());
    let good = with_job_session(&json_app.app.database, spec, async |session| Ok(session.id()))
        .await
        .unwrap();
    let mut team = json_app.app.team.connection().await;
    let inputs = [
        format!("{{\"a\":{}}}", nested_text(140)),
        nested_text(101),
        "{\"n\":1e999}".to_owned(),
    ];
    let mut ids = Vec::new();
    for input in inputs {
        let id = Uuid::now_v7();
        sqlx::query(
            "INSERT INTO job_sessions (team_id, id, job_name, job_id, attempt, max_attempts, status, sentence, parts, input,
                context, correlation_id)
             SELECT team_id, $2, job_name, $2, 1, 1, 'running', sentence, $3::text::jsonb, $3::text::jsonb, context,
                correlation_id FROM job_sessions WHERE id = $1",
        )
        .bind(good)
        .bind(id)
        .bind(&input)
        .execute(&mut team)
        .await
        .unwrap();
        sqlx::query(
            "INSERT INTO job_actions (team_id, session_id, seq, at, action_type, sentence, parts, payload)
             VALUES ($1, $2, 1, now(), 'Did', 'Did it', $3::text::jsonb, $3::text::jsonb)",
        )
        .bind(json_app.app.team.id)
        .bind(id)
        .bind(&input)
        .execute(&mut team)
        .await
        .unwrap();
        ids.push(id);
    }

    let list = json_app.ada.get("/job-sessions").await.ok();
    let items = list["items"].as_array().unwrap();
    let shown = |item: &&Value| item["unreadable"] == json!(["input"]) && item["input"]["unreadable"].is_object();
    assert_eq!((items.len(), items.iter().filter(shown).count()), (4, 3), "{list:#}");
    for id in &ids {
        assert_eq!(
            json_app.ada.get(&format!("/job-sessions/{id}")).await.ok()["sentence"],
            "Sync"
        );
        let actions = json_app.ada.get(&format!("/job-sessions/{id}/actions")).await.ok();
        let action = &actions["items"][0];
        assert_eq!(
            (&action["sentence"], &action["unreadable"]),
            (&json!("Did it"), &json!(["payload"]))
        );
        assert!(action["payload"]["unreadable"]["reason"].is_string() && action["parts"].is_array());
    }
    let story = format!("/stories/{}", json_app.context.correlation_id);
    assert_eq!(
        json_app.ada.get(&story).await.ok()["steps"].as_array().unwrap().len(),
        4
    );
    let address = json_app.app.serve(|router| router).await;
    let mut live = LiveClient::connect(address, &json_app.ada).await;
    live.follow(json!({"type": "subscribe", "topic": "job-sessions", "cursor": "0:0:"}))
        .await;
    for _ in 0..4 {
        assert_eq!(live.next().await["type"], "job-sessions:updated");
    }
}

#[tokio::test]
async fn runs_that_cannot_be_read_fail_no_list() {
    let json_app = JsonApp::without_workers().await;
    let mut team = json_app.app.team.connection().await;
    let mut ids = Vec::new();
    for wrong in ["", &nested_text(140), &nested_text(101), "{\"n\":1e999}"] {
        let run = json_app.ada.post("/runs", json!({"name": "import"})).await.ok();
        let id = run["id"].as_str().unwrap().to_owned();
        if !wrong.is_empty() {
            sqlx::query("UPDATE runs SET failure = $2::jsonb, output_paths = $2::jsonb WHERE id = $1::uuid")
                .bind(&id)
                .bind(wrong)
                .execute(&mut team)
                .await
                .unwrap();
        }
        ids.push((id, run["correlation_id"].as_str().unwrap().to_owned()));
    }

    let shown = |run: &Value| {
        run["unreadable"] == json!(["failure", "output_paths"]) && run["failure"]["unreadable"]["reason"].is_string()
    };
    let list = json_app.ada.get("/runs").await.ok();
    let items = list["items"].as_array().unwrap();
    assert_eq!(
        (items.len(), items.iter().filter(|run| shown(run)).count()),
        (4, 3),
        "{list:#}"
    );
    assert!(items.last().unwrap()["unreadable"].is_null(), "{list:#}");
    for (id, correlation_id) in &ids[1..] {
        let run = json_app.ada.get(&format!("/runs/{id}")).await.ok();
        assert!(shown(&run), "{run:#}");
        let story = json_app.ada.get(&format!("/stories/{correlation_id}")).await.ok();
        let steps = story["steps"].as_array().unwrap();
        assert!(steps.iter().any(|step| shown(&step["run"])), "{story:#}");
    }
    let address = json_app.app.serve(|router| router).await;
    let mut live = LiveClient::connect(address, &json_app.ada).await;
    live.follow(json!({"type": "subscribe", "topic": "runs", "cursor": "0:0:"}))
        .await;
    for _ in 0..4 {
        assert_eq!(live.next().await["type"], "runs:updated");
    }
    // The run can still be ended.
    let cancelled = json_app
        .ada
        .post(&format!("/runs/{}/cancel", ids[1].0), json!({}))
        .await;
    assert!(cancelled.status.is_success(), "{}", cancelled.text());
}

/// Any entity is read in this way, including those of a program.
#[tokio::test]
async fn models_with_json_that_cannot_be_read_are_found() {
    let json_app = JsonApp::without_workers().await;
    let good = json_app.create("good", json!({"a": 1})).await.unwrap();
    for (name, wrong) in [
        ("deep", nested_text(140).as_str()),
        ("deeper", &nested_text(101)),
        ("vast", "[1e999]"),
    ] {
        let made = json_app.create(name, json!({"a": 1})).await.unwrap();
        sqlx::query("UPDATE widgets SET extra = $2::jsonb WHERE id = $1")
            .bind(made.id)
            .bind(wrong)
            .execute(&mut json_app.app.team.connection().await)
            .await
            .unwrap();
        let tx = json_app.app.database.begin(&json_app.context).await.unwrap();
        let all = widget::Entity::find().all(&tx).await.unwrap();
        let found = all.iter().find(|found| found.id == made.id).unwrap();
        assert!(
            found.extra.as_ref().unwrap()["unreadable"]["reason"].is_string(),
            "{found:?}"
        );
        assert!(all.iter().any(|found| found.id == good.id && found.extra == good.extra));
        tx.rollback().await.unwrap();
    }
}

/// A model that was read from such a row, as a program writes it back.
#[tokio::test]
async fn a_placeholder_is_never_written_in_place_of_the_stored_value() {
    let json_app = JsonApp::without_workers().await;
    let made = json_app.create("deep", json!({"a": 1})).await.unwrap();
    let stored = "SELECT extra::text FROM widgets WHERE id = $1";
    let deep = nested_text(140);
    let set = async |json: &str| {
        sqlx::query("UPDATE widgets SET extra = $2::jsonb WHERE id = $1")
            .bind(made.id)
            .bind(json)
            .execute(&mut json_app.app.team.connection().await)
            .await
            .unwrap();
    };
    set(&deep).await;
    let tx = json_app.app.database.begin(&json_app.context).await.unwrap();
    let read = widget::Entity::find_by_id(made.id).one(&tx).await.unwrap().unwrap();
    assert!(read.extra.as_ref().unwrap()["unreadable"].is_object());
    let whole = |name: &str| {
        let mut whole = widget::ActiveModel::from(read.clone()).reset_all();
        whole.name = Set(name.to_owned());
        whole
    };

    // SeaORM's own updates and inserts.
    let mut copy = whole("copy");
    copy.id = Set(Uuid::now_v7());
    for refused in [
        whole("by SeaORM").update(&tx).await.map(drop),
        widget::Entity::update_many()
            .set(whole("many"))
            .exec(&tx)
            .await
            .map(drop),
        widget::Entity::insert(copy.clone())
            .exec_without_returning(&tx)
            .await
            .map(drop),
    ] {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("stands for stored JSON that can't be read"), "{error}");
    }
    // The helpers write what differs from the row: the name alone.
    let written = update_model_with_event(&tx, &read, whole("by the helper"), Track::All)
        .await
        .unwrap();
    assert_eq!((written.name.as_str(), &written.extra), ("by the helper", &read.extra));
    let renamed = widget::ActiveModel {
        note: Set(Some("many".to_owned())),
        ..Default::default()
    };
    let written = update_models_with_events(&tx, widget::Entity::find(), renamed, Track::All)
        .await
        .unwrap();
    assert_eq!(
        (written[0].note.as_deref(), &written[0].extra),
        (Some("many"), &read.extra)
    );
    delete_model_with_event(&tx, read.clone(), None).await.unwrap();
    let restored = restore_model_with_event(&tx, read.clone(), None).await.unwrap();
    assert_eq!(restored.extra, read.extra);
    let error = create_model_with_event(&tx, copy.clone(), Track::All)
        .await
        .unwrap_err();
    assert!(
        error.to_string().starts_with("extra: stands for stored JSON"),
        "{error}"
    );
    let error = create_models_with_events(&tx, vec![copy], Track::All)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("extra: stands for stored JSON"), "{error}");
    tx.commit().await.unwrap();
    let left: String = sqlx::query_scalar(stored)
        .bind(made.id)
        .fetch_one(&mut json_app.app.team.connection().await)
        .await
        .unwrap();
    assert_eq!(left, deep);

    // Somebody has repaired the row meanwhile.
    set("7").await;
    let tx = json_app.app.database.begin(&json_app.context).await.unwrap();
    let error = update_model_with_event(&tx, &read, whole("late"), Track::All)
        .await
        .unwrap_err();
    assert!(
        error.to_string().starts_with("extra: stands for stored JSON"),
        "{error}"
    );
    let changes = widget::ActiveModel {
        extra: Set(read.extra.clone()),
        ..Default::default()
    };
    let error = update_models_with_events(&tx, widget::Entity::find(), changes, Track::All)
        .await
        .unwrap_err();
    assert!(
        error.to_string().starts_with("extra: stands for stored JSON"),
        "{error}"
    );
    tx.rollback().await.unwrap();
    let left: String = sqlx::query_scalar(stored)
        .bind(made.id)
        .fetch_one(&mut json_app.app.team.connection().await)
        .await
        .unwrap();
    assert_eq!(left, "7");
}

/// A query whose rows can't be read runs a second time, as a subquery. A statement that changes rows must not.
#[tokio::test]
async fn a_statement_that_changes_rows_is_known_whatever_it_begins_with() {
    let json_app = JsonApp::without_workers().await;
    let insert = "INSERT INTO widgets (team_id, id, name, due_at) VALUES ($1, gen_random_uuid(), $2, '20000-01-01')
        RETURNING name, due_at";
    let statements = [
        insert.to_owned(),
        format!("/* one */ {insert}"),
        format!("/* a /* nested */ comment */ -- and a line\n /**/{insert}"),
        format!("WITH made AS ({insert}) SELECT name, due_at FROM made"),
        format!("WITH made AS (/* one */ {insert}) SELECT name, due_at FROM made"),
        format!("(WITH made AS ({insert}) SELECT name, due_at FROM made)"),
        format!(
            "/* one */ ( ( WITH named AS (SELECT 'select' AS word), made AS ({insert}) SELECT name, due_at FROM made))"
        ),
        "WITH named AS (SELECT $2 AS name) INSERT INTO widgets (team_id, id, name, due_at)
            SELECT $1, gen_random_uuid(), name, '20000-01-01' FROM named RETURNING name, due_at"
            .to_owned(),
    ];
    for (n, sql) in statements.iter().enumerate() {
        let tx = json_app.app.database.begin(&json_app.context).await.unwrap();
        let query = sqlx::query(sqlx::AssertSqlSafe(sql.as_str()))
            .bind(json_app.app.team.id)
            .bind(format!("w{n}"));
        let rows = tx
            .fetch_all(query)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(rows.len(), 1, "{sql}");
        let statement = sea_orm::Statement::from_sql_and_values(
            sea_orm::DbBackend::Postgres,
            sql,
            [json_app.app.team.id.into(), format!("v{n}").into()],
        );
        let rows = tx
            .query_all_raw(statement)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(rows.len(), 1, "{sql}");
        tx.commit().await.unwrap();
    }
    let mut team = json_app.app.team.connection().await;
    assert_eq!(
        daybook_tests::count(&mut team, "widgets").await,
        2 * i64::try_from(statements.len()).unwrap()
    );

    // Queries are repeated, whatever they begin with.
    let tx = json_app.app.database.begin(&json_app.context).await.unwrap();
    for sql in [
        "/* one */ SELECT due_at FROM widgets LIMIT 1",
        "(SELECT due_at FROM widgets) LIMIT 1",
        "WITH w AS (SELECT due_at, 'insert into' AS word FROM widgets) SELECT due_at FROM w /* delete from */ LIMIT 1",
        "-- one\nVALUES ('infinity'::timestamptz)",
    ] {
        let row = tx.fetch_optional(sqlx::query(sql)).await.unwrap().unwrap();
        let due_at: DateTime<Utc> = sqlx::Row::get(&row, 0);
        assert_eq!(due_at.to_rfc3339(), "9999-12-31T23:59:59.999999+00:00", "{sql}");
    }
    tx.rollback().await.unwrap();
}

/// `jobs` write a UUID there. With any other value, the requester of the session is unknown.
#[tokio::test]
async fn a_session_whose_context_names_no_id_fails_no_story() {
    let json_app = JsonApp::without_workers().await;
    let spec = SessionSpec::new("sync").context(json_app.context.clone());
    with_job_session(&json_app.app.database, spec, async |_| Ok(()))
        .await
        .unwrap();
    let story = format!("/stories/{}", json_app.context.correlation_id);
    for context in [
        r#"{"actor":{"kind":"job","id":"not an id"}}"#,
        r#"{"actor":{"kind":"job","id":{"a":[7]}}}"#,
        r#"{"actor":{"kind":"job"}}"#,
        "[]",
        "null",
    ] {
        sqlx::query(
            "INSERT INTO job_sessions (team_id, id, job_name, job_id, attempt, max_attempts, status, sentence, input,
                context, correlation_id)
             SELECT team_id, gen_random_uuid(), job_name, job_id, 1, 1, 'running', 'Wrong', '{}',
                jsonb_build_object('team_id', team_id) || CASE jsonb_typeof($2::jsonb) WHEN 'object' THEN $2::jsonb ELSE '{}' END,
                correlation_id
             FROM job_sessions WHERE correlation_id = $1 LIMIT 1",
        )
        .bind(json_app.context.correlation_id)
        .bind(context)
        .execute(&mut json_app.app.team.connection().await)
        .await
        .unwrap();
    }
    let shown = json_app.ada.get(&story).await.ok();
    assert_eq!(shown["steps"].as_array().unwrap().len(), 6, "{shown:#}");
}
