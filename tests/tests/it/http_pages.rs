//! Every list returns each of its items once when it is read with a page size of one.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use daybook::jobs::{SessionSpec, with_job_session};
use daybook::prelude::*;
use daybook_tests::WAIT_LIMIT;
use daybook_tests::http::{Client, TestApp};
use daybook_tests::jobs::NoteAction;
use serde_json::{Value, json};

/// How to request the next page.
enum Next {
    /// `cursor` is the page's `next`.
    Cursor,
    /// This parameter is this field of the page's last item, while there is more.
    After(&'static str, &'static str),
    /// This parameter is this field of the page, while the page says `more`.
    From(&'static str, &'static str),
}

/// Returns all items of a list, read page by page.
async fn items(reader: &Client, path: &str, limit: usize, next: &Next) -> Vec<Value> {
    let and = if path.contains('?') { '&' } else { '?' };
    let first = format!("{path}{and}limit={limit}");
    let (mut items, mut next_path) = (Vec::new(), Some(first.clone()));
    while let Some(path) = next_path {
        let page = reader.get(&path).await.ok();
        let page_items = page["items"].as_array().unwrap();
        assert!(page_items.len() <= limit, "{path}: {page}");
        items.extend(page_items.iter().cloned());
        assert!(items.len() < 100, "{path} never ends");
        let more = page["more"] == true || page["next"].is_string();
        let value = match next {
            Next::Cursor => page["next"].as_str().map(|cursor| ("cursor", json!(cursor))),
            Next::After(parameter, field) => more.then(|| (*parameter, page_items.last().unwrap()[field].clone())),
            Next::From(parameter, field) => more.then(|| (*parameter, page[field].clone())),
        };
        next_path =
            value.map(|(parameter, value)| format!("{first}&{parameter}={}", value.to_string().trim_matches('"')));
    }
    items
}

/// The lists without pages, because they are short.
const WITHOUT_PAGES: [&str; 1] = ["/v1/me/invitations"];

/// Returns the routes of lists: those that take `limit`, and those whose response is an array or has an array `items`.
fn lists_of(document: &Value) -> BTreeSet<&str> {
    let is_array = |schema: &Value| schema["type"] == "array" || schema["properties"]["items"]["type"] == "array";
    let is_list = |operation: &Value| {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        let named = schema["$ref"]
            .as_str()
            .and_then(|name| document.pointer(name.trim_start_matches('#')));
        is_array(named.unwrap_or(schema)) || parameters.into_iter().any(|parameter| parameter["name"] == "limit")
    };
    let routes = document["paths"].as_object().unwrap().iter();
    routes
        .filter(|(_, operations)| is_list(&operations["get"]))
        .map(|(path, _)| path.trim_start_matches("/v1/teams/{team_id}"))
        .collect()
}

/// Runs a session with three actions, and returns its id.
async fn act(app: &TestApp, context: &Context) -> String {
    let spec = SessionSpec::new("sync_roster").context(context.clone());
    let outcome = with_job_session(&app.database, spec, |session| async move {
        for text in ["one", "two", "three"] {
            let action = NoteAction::Noted { text: text.to_owned() };
            session.add_action(&action).await?;
        }
        Ok(session.id())
    });
    outcome.await.unwrap().to_string()
}

#[tokio::test]
async fn a_page_size_of_one_gives_each_item_once() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let grace = app.member("grace", Role::Member).await;
    app.member("linus", Role::Viewer).await;
    for object_type in ["campaign", "run"] {
        ada.put(&format!("/watches/{object_type}")).await.ok();
    }
    let mut threads = Vec::new();
    for name in ["Spring", "Summer", "Autumn"] {
        let (_, thread) = grace.campaign_with_thread(name).await;
        ada.put(&format!("{thread}/follow")).await.ok();
        threads.push(thread);
        ada.make_key(name, "viewer").await;
        let run = ada
            .post("/runs", json!({"name": name, "lost_after_seconds": 3600}))
            .await;
        run.is(StatusCode::CREATED);
    }
    let thread = &threads[0];
    for text in ["one", "two"] {
        grace.comment(thread, text).await;
    }
    for rule in ["*/*", "CREATED/*", "MENTION/campaign"] {
        let path = format!("/notification-preferences/{rule}");
        ada.put(&path).json(json!({"in_app": true})).await.ok();
    }
    for invited in ["barbara", "edsger"] {
        ada.invite(invited, "viewer").await.is(StatusCode::CREATED);
    }
    let person = app.team.member("system-watcher", Role::Viewer).await;
    let mut session = String::new();
    for _ in 0..3 {
        session = act(&app, &person.context).await;
    }
    let run = ada.get("/runs").await.ok()["items"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let lines = (1..=3).map(|n| json!({"type": "console.line", "payload": {"message": n.to_string()}}).to_string());
    let lines = lines.collect::<Vec<_>>().join("\n") + "\n";
    let append = ada
        .team_request(axum::http::Method::POST, &format!("/runs/{run}/events"))
        .body(lines);
    append.header("content-type", "application/x-ndjson").await.ok();

    let lists = [
        ("/api-keys", "/api-keys".to_owned(), "id", Next::Cursor),
        ("/campaigns", "/campaigns".to_owned(), "id", Next::Cursor),
        ("/invitations", "/invitations".to_owned(), "subject", Next::Cursor),
        ("/job-sessions", "/job-sessions".to_owned(), "id", Next::Cursor),
        (
            "/job-sessions/{session_id}/actions",
            format!("/job-sessions/{session}/actions"),
            "seq",
            Next::Cursor,
        ),
        (
            "/job-sessions/{session_id}/actions",
            format!("/job-sessions/{session}/actions"),
            "seq",
            Next::After("after_seq", "seq"),
        ),
        ("/members", "/members".to_owned(), "user_id", Next::Cursor),
        (
            "/notification-preferences",
            "/notification-preferences".to_owned(),
            "event_type",
            Next::Cursor,
        ),
        ("/notifications", "/notifications".to_owned(), "id", Next::Cursor),
        (
            "/notifications",
            "/notifications?unread=true".to_owned(),
            "id",
            Next::Cursor,
        ),
        ("/runs", "/runs".to_owned(), "id", Next::Cursor),
        (
            "/runs/{run_id}/events",
            format!("/runs/{run}/events"),
            "sequence",
            Next::From("after_sequence", "next_after_sequence"),
        ),
        ("/threads", "/threads".to_owned(), "id", Next::Cursor),
        ("/threads", "/threads?new=true".to_owned(), "id", Next::Cursor),
        (
            "/threads/{id}/messages",
            format!("{thread}/messages"),
            "seq",
            Next::After("after_seq", "seq"),
        ),
        (
            "/threads/{id}/messages",
            format!("{thread}/messages?order=desc"),
            "seq",
            Next::After("before_seq", "seq"),
        ),
        ("/watches", "/watches".to_owned(), "object_type", Next::Cursor),
    ];
    for (route, path, id, next) in &lists {
        let ids = |items: Vec<Value>| -> Vec<Value> { items.into_iter().map(|item| item[id].clone()).collect() };
        let whole = ids(items(&ada, path, 100, next).await);
        assert!(whole.len() >= 2, "{route}: {whole:?}");
        assert!(whole.iter().all(|id| !id.is_null()), "{route}: {whole:?}");
        let distinct: BTreeSet<String> = whole.iter().map(Value::to_string).collect();
        assert_eq!(distinct.len(), whole.len(), "{route}: each once");
        assert_eq!(ids(items(&ada, path, 1, next).await), whole, "{route}: one by one");
        assert_eq!(ids(items(&ada, path, 2, next).await), whole, "{route}: two by two");
    }

    // A list that is added later must be tested here, too.
    let document = app.openapi().await;
    let tried: BTreeSet<&str> = lists.iter().map(|(route, ..)| *route).collect();
    let untried: Vec<&str> = lists_of(&document).difference(&tried).copied().collect();
    assert_eq!(untried, WITHOUT_PAGES, "add the list to this test");
    // No file of the run stays open.
    tokio::time::timeout(WAIT_LIMIT, app.runs.close(&app.database))
        .await
        .unwrap();
}
