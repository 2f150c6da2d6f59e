//! Tests that all readers accept JSON with exactly the maximum depth, and that each entry point refuses deeper JSON.

use axum::http::{Method, StatusCode};
use daybook::json::MAX_JSON_DEPTH;
use daybook::prelude::*;
use daybook::wide_events::WideEvent;
use daybook_tests::live::LiveClient;
use daybook_tests::{TeamFixture, eventually, widget};
use serde_json::{Value, json};

use super::{Carried, Carry, JsonApp, levels, message, nested, nested_text, subscribe};

#[tokio::test]
async fn json_of_the_maximum_depth_passes_every_reader() {
    let json_app = JsonApp::start().await;
    let other = || json!({ "a": nested(MAX_JSON_DEPTH - 1) });
    let made = json_app.create("w", nested(MAX_JSON_DEPTH)).await.unwrap();
    let thread = json_app.followed_thread(&made).await;
    let address = json_app.app.serve(|router| router).await;
    let mut live = LiveClient::connect(address, &json_app.grace).await;
    let thread_id = thread.trim_start_matches("/threads/");
    live.follow_thread(thread_id, None).await;
    live.follow(subscribe("notifications")).await;
    live.frames_until_pong().await;
    json_app.update(&made, other()).await.unwrap();

    for query in ["", "?group=true", "?order=desc"] {
        let page = json_app.ada.get(&format!("{thread}/messages{query}")).await.ok();
        let at = if query.contains("desc") { 0 } else { 1 };
        let changes = &message(&page, at)["changes"][0];
        assert_eq!(
            (levels(&changes["old"]), levels(&changes["new"])),
            (MAX_JSON_DEPTH, MAX_JSON_DEPTH),
            "{query}"
        );
    }
    let inbox = json_app.grace.inbox().await;
    assert!(levels(&inbox["items"][0]["sentence"]) > MAX_JSON_DEPTH);
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let frame = live.next().await;
        assert!(levels(&frame) > MAX_JSON_DEPTH, "{}", frame["type"]);
        seen.push(frame["type"].as_str().unwrap().to_owned());
        seen.dedup();
    }
    let story = format!("/stories/{}", json_app.context.correlation_id);
    let story = json_app.ada.get(&story).await.ok();
    assert!(levels(&story) > MAX_JSON_DEPTH);
    let activity = json_app.activity();
    assert!(activity.is_empty() || activity.iter().any(|event| levels(event) > MAX_JSON_DEPTH));
    eventually("both events to be counted", async || json_app.counted().await == 2).await;
}

#[tokio::test]
async fn a_job_with_input_of_the_maximum_depth_runs_and_is_read() {
    let json_app = JsonApp::start().await;
    let tx = json_app.app.database.begin(&json_app.context).await.unwrap();
    let value = nested(MAX_JSON_DEPTH - 1);
    let job_id = tx.enqueue(Carry { value }).await.unwrap();
    tx.commit().await.unwrap();
    let list = format!("/job-sessions?job_id={job_id}");
    eventually("the job's end", async || {
        json_app.ada.get(&list).await.ok()["items"][0]["status"] == "succeeded"
    })
    .await;
    let session = json_app.ada.get(&list).await.ok()["items"][0].clone();
    assert_eq!(levels(&session["input"]), MAX_JSON_DEPTH);
    assert!(session["unreadable"].is_null());
    let actions = format!("/job-sessions/{}/actions", session["id"].as_str().unwrap());
    let actions = json_app.ada.get(&actions).await.ok();
    assert_eq!(levels(&actions["items"][0]["payload"]), MAX_JSON_DEPTH);
    let story = format!("/stories/{}", json_app.context.correlation_id);
    assert!(levels(&json_app.ada.get(&story).await.ok()) > MAX_JSON_DEPTH);

    let address = json_app.app.serve(|router| router).await;
    let mut live = LiveClient::connect(address, &json_app.ada).await;
    live.follow(json!({"type": "subscribe", "topic": "job-sessions", "cursor": "0:0:"}))
        .await;
    let mut deepest = 0;
    while deepest <= MAX_JSON_DEPTH {
        deepest = levels(&live.next().await);
    }
}

#[tokio::test]
async fn a_body_is_refused_one_level_beyond_the_limit() {
    let json_app = JsonApp::without_workers().await;
    let body = |levels: usize| format!(r#"{{"name":"w{levels}","extra":{}}}"#, nested_text(levels - 1));
    let post = |levels: usize| {
        json_app
            .ada
            .team_request(Method::POST, "/widgets")
            .header("content-type", "application/json")
            .body(body(levels))
    };
    post(MAX_JSON_DEPTH).await.is(StatusCode::CREATED);
    for levels in [MAX_JSON_DEPTH + 1, 125, 10_000] {
        let refused = post(levels).await.wrong_fields();
        assert!(
            refused.len() == 1 && refused[0].starts_with("extra[0]"),
            "{levels}: {refused:?}"
        );
    }
    let number = r#"{"name":"n","extra":{"rows":[{"n":1e999}]}}"#;
    let post = json_app.ada.team_request(Method::POST, "/widgets");
    let refused = post.header("content-type", "application/json").body(number).await;
    assert_eq!(refused.wrong_fields(), ["extra.rows[0].n"]);
    assert_eq!(json_app.app.team.events().await.len(), 1);
}

#[tokio::test]
async fn a_line_of_a_run_is_refused_one_level_beyond_the_limit() {
    let json_app = JsonApp::without_workers().await;
    let run = json_app.ada.post("/runs", json!({"name": "import"})).await.ok();
    let events = format!("/runs/{}/events", run["id"].as_str().unwrap());
    let line = |payload: &str| {
        let line = format!("{{\"type\":\"x\",\"payload\":{{\"a\":{payload}}}}}\n");
        let request = json_app.ada.team_request(Method::POST, &events);
        request.header("content-type", "application/x-ndjson").body(line)
    };
    line(&nested_text(MAX_JSON_DEPTH - 1)).await.ok();
    for levels in [MAX_JSON_DEPTH, 120] {
        let refused = line(&nested_text(levels)).await.wrong_fields();
        assert!(refused[0].starts_with("line 1: payload.a[0]"), "{refused:?}");
    }
    for number in ["1e999", "[{\"n\":-1e400}]", "123456789012345678901234567890"] {
        let refused = line(number).await.wrong_fields();
        assert!(refused[0].starts_with("line 1: payload.a"), "{number}: {refused:?}");
    }
    let page = json_app.ada.get(&events).await.ok();
    assert_eq!(
        levels(&page["items"].as_array().unwrap().last().unwrap()["payload"]),
        MAX_JSON_DEPTH
    );
    let ndjson = json_app.ada.get(&events).header("accept", "application/x-ndjson").await;
    for line in ndjson.text().lines() {
        serde_json::from_str::<Value>(line).unwrap();
    }
}

/// Readers use different values of a duplicate key, so the stored JSON would have different meanings for them.
#[tokio::test]
async fn a_duplicate_key_is_refused_at_every_entry_point() {
    let json_app = JsonApp::without_workers().await;
    let run = json_app.ada.post("/runs", json!({"name": "import"})).await.ok();
    let events = format!("/runs/{}/events", run["id"].as_str().unwrap());
    for (path, kind, body, field) in [
        (
            "/widgets",
            "application/json",
            r#"{"name":"w","name":"v","extra":1}"#,
            "name",
        ),
        (
            "/widgets",
            "application/json",
            r#"{"name":"w","extra":{"a":[{"b":1,"b":2}]}}"#,
            "extra.a[0].b",
        ),
        (
            &events,
            "application/json",
            r#"{"type":"x","payload":{"a":1,"a":2}}"#,
            "payload.a",
        ),
        (&events, "application/json", r#"{"type":"x","type":"y"}"#, "type"),
        (
            &events,
            "application/x-ndjson",
            "{\"type\":\"x\",\"payload\":{\"a\":1,\"\\u0061\":2}}\n",
            "line 1: payload.a",
        ),
        (
            &events,
            "application/x-ndjson",
            "{\"type\":\"x\",\"payload\":{},\"payload\":{}}\n",
            "line 1: payload",
        ),
    ] {
        let request = json_app
            .ada
            .team_request(Method::POST, path)
            .header("content-type", kind);
        assert_eq!(request.body(body).await.wrong_fields(), [field], "{body}");
    }
}

#[tokio::test]
async fn a_body_in_another_charset_is_refused_at_every_entry_point() {
    let json_app = JsonApp::without_workers().await;
    let run = json_app.ada.post("/runs", json!({"name": "import"})).await.ok();
    let events = format!("/runs/{}/events", run["id"].as_str().unwrap());
    for (path, kind, body) in [
        ("/widgets", "application/json", r#"{"name":"w","extra":1}"#),
        (&events, "application/json", r#"{"type":"x"}"#),
        (&events, "application/x-ndjson", "{\"type\":\"x\"}\n"),
    ] {
        let send = |charset: &str| {
            let request = json_app.ada.team_request(Method::POST, path);
            request.header("content-type", &format!("{kind}{charset}")).body(body)
        };
        for charset in [
            "; charset=iso-8859-1",
            ";Charset=\"utf-16\"",
            "; charset=utf-8; charset=latin1",
        ] {
            let refused = send(charset).await;
            refused.problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type");
        }
        let taken = send("; charset=UTF-8").await.status;
        assert!(taken.is_success(), "{path}: {taken}");
    }
}

/// Returns the field in a refusal.
fn refused<T: std::fmt::Debug>(outcome: Result<T>) -> String {
    match outcome {
        Err(Error::Invalid(fields)) => {
            assert!(fields[0].detail.contains("100 levels"), "{fields:?}");
            fields[0].field.clone()
        }
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[tokio::test]
async fn events_are_refused_one_level_beyond_the_limit_before_anything_is_written() {
    let fixture = TeamFixture::new().await;
    let made = fixture.widget("w").await;
    let tx = fixture.begin().await;
    let (most, more) = (nested(MAX_JSON_DEPTH), nested(MAX_JSON_DEPTH + 1));
    let named = |name: &str, extra: &Value| widget::ActiveModel {
        extra: Set(Some(extra.clone())),
        ..widget::named(name)
    };
    let changes = |extra: &Value| widget::ActiveModel {
        extra: Set(Some(extra.clone())),
        ..Default::default()
    };
    assert_eq!(
        refused(create_model_with_event(&tx, named("a", &more), Track::All).await),
        "extra"
    );
    let many = vec![named("b", &most), named("c", &more)];
    assert_eq!(
        refused(create_models_with_events(&tx, many, Track::All).await),
        "[1].extra"
    );
    assert_eq!(
        refused(update_model_with_event(&tx, &made, changes(&more), Track::All).await),
        "extra"
    );
    let all = update_models_with_events(&tx, widget::Entity::find(), changes(&more), Track::All).await;
    assert_eq!(refused(all), "extra");
    let custom = |data: &Value| CustomEventData {
        name: "seen".to_owned(),
        data: data.clone(),
    };
    assert_eq!(refused(emit_event(&tx, &made, custom(&more)).await), "event_data");
    let raw = |data: &Value| RawEventData::new(EventType::Custom, data.clone());
    assert_eq!(refused(emit_event(&tx, &made, raw(&more)).await), "event_data");
    let change = FieldChange {
        old: Value::Null,
        new: more.clone(),
    };
    let typed = UpdatedEventData {
        changes: [("extra".to_owned(), change)].into(),
    };
    assert_eq!(refused(emit_event(&tx, &made, typed).await), "event_data");

    emit_event(&tx, &made, custom(&most)).await.unwrap();
    emit_event(&tx, &made, raw(&most)).await.unwrap();
    create_models_with_events(&tx, vec![named("d", &most)], Track::All)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let events = fixture.team.events().await;
    assert_eq!(events.len(), 4);
    assert!(events.iter().all(|event| event.unreadable().is_none()));
}

#[tokio::test]
async fn a_stored_value_that_is_too_deep_blocks_nothing() {
    let fixture = TeamFixture::new().await;
    let made = fixture.widget("w").await;
    // Not deeper than SeaORM can read.
    sqlx::query("UPDATE widgets SET extra = $1::text::jsonb")
        .bind(nested_text(120))
        .execute(&mut fixture.team.connection().await)
        .await
        .unwrap();
    let tx = fixture.begin().await;
    let changes = widget::ActiveModel {
        extra: Set(Some(json!({"a": 1}))),
        ..Default::default()
    };
    update_model_with_event(&tx, &made, changes, Track::All).await.unwrap();
    tx.commit().await.unwrap();
    let event = fixture.team.events().await.pop().unwrap();
    assert!(event.event_data["changes"]["extra"]["old"]["unreadable"]["reason"].is_string());
    assert_eq!(event.event_data["changes"]["extra"]["new"], json!({"a": 1}));
}

#[tokio::test]
async fn jobs_sessions_and_actions_are_refused_one_level_beyond_the_limit() {
    let json_app = JsonApp::without_workers().await;
    let tx = json_app.app.database.begin(&json_app.context).await.unwrap();
    let carry = |levels: usize| Carry { value: nested(levels) };
    assert_eq!(refused(tx.enqueue(carry(MAX_JSON_DEPTH)).await), "input");
    let many = vec![carry(1), carry(MAX_JSON_DEPTH)];
    assert_eq!(refused(tx.enqueue_all(many, JobOptions::new()).await), "input");
    let later = JobOptions::new().after(std::time::Duration::from_secs(60));
    assert_eq!(refused(tx.enqueue_with(carry(200), later).await), "input");
    tx.rollback().await.unwrap();
    let jobs = daybook::jobs::Jobs::default().with::<Carry>().unwrap();
    assert_eq!(refused(jobs.scheduled("* * * * *", &carry(MAX_JSON_DEPTH))), "input");

    let spec = |levels: usize| {
        let spec = SessionSpec::new("sync").context(json_app.context.clone());
        spec.input(&nested(levels))
    };
    let begun = with_job_session(&json_app.app.database, spec(MAX_JSON_DEPTH + 1), async |_| Ok(())).await;
    assert!(begun.unwrap_err().to_string().contains("100 levels"));
    with_job_session(&json_app.app.database, spec(MAX_JSON_DEPTH), async |session| {
        let deep = |levels: usize| Carried(nested(levels));
        assert_eq!(refused(session.add_action(&deep(MAX_JSON_DEPTH + 1)).await), "payload");
        let many = [deep(1), deep(MAX_JSON_DEPTH + 1)];
        assert_eq!(refused(session.add_actions(&many).await), "payload");
        assert_eq!(session.add_action(&deep(MAX_JSON_DEPTH)).await?, 1);
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_wide_event_omits_values_that_are_too_deep_and_reports_it() {
    let json_app = JsonApp::without_workers().await;
    let routes = axum::Router::new().route(
        "/tell",
        axum::routing::get(async |event: WideEvent| {
            let path = vec!["p"; 40].join(".");
            event
                .set("deepest", nested(MAX_JSON_DEPTH))
                .set("deeper", nested(MAX_JSON_DEPTH + 1));
            event.set(path, 1).enrich(json!({"more": nested(MAX_JSON_DEPTH)}));
        }),
    );
    let layer = daybook::wide_events::WideEventLayer::of(json_app.app.wide_events.clone());
    let request = axum::http::Request::get("/tell")
        .body(axum::body::Body::empty())
        .unwrap();
    tower::ServiceExt::oneshot(routes.layer(layer), request).await.unwrap();
    // The line can be read.
    let event = json_app.app.wide_event().await;
    assert_eq!(levels(&event["deepest"]), MAX_JSON_DEPTH);
    assert!(event["deeper"].is_null() && event["p"].is_null() && event["more"].is_null());
    let problems = event["schema_errors"].to_string();
    assert!(
        problems.contains("100 levels") && problems.contains("16 names"),
        "{event:#}"
    );
}
