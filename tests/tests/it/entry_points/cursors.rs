//! Tests cursors and other parameters that the service never returned: they are refused by name and never cause an
//! error of the database.

use axum::http::{Method, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use daybook::tenancy::Role;
use daybook_tests::http::{Client, TestApp};
use daybook_tests::live::LiveClient;
use rand::rngs::StdRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};
use serde_json::{Value, json};
use uuid::Uuid;

/// The number of random cursors for each list, in addition to those that caused errors in the past.
const RANDOM_CURSORS: usize = 40;

/// Texts for cursors and parameters: out of a column's range, or of another type.
const TEXTS: [&str; 16] = [
    "-262143-01-01T00:00:00Z",
    "+262142-12-31T23:59:59.999999999Z",
    "0000-01-01T00:00:00Z",
    "0000-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "-4714-11-23T00:00:00Z",
    "+294277-01-01T00:00:00Z",
    "2026-02-30T00:00:00Z",
    "infinity",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "1e999",
    "NaN",
    "\\u0000",
    "\u{10FFFF}",
];

/// A list with enough items to page through.
struct List {
    path: String,
    parameters: Vec<String>,
}

/// All lists and all other GET operations of the OpenAPI document.
async fn lists(app: &TestApp, ada: &Client) -> Vec<List> {
    let (_, thread) = ada.campaign_with_thread("Spring").await;
    let run = ada.post("/runs", json!({"name": "import"})).await.ok();
    let session =
        daybook::jobs::SessionSpec::new("sync").context(daybook::tenancy::Context::system(app.team.id, "test"));
    let session = daybook::jobs::with_job_session(&app.database, session, async |session| Ok(session.id()))
        .await
        .unwrap();
    let document = app.openapi().await;
    let mut lists = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let Some(parameters) = methods["get"]["parameters"].as_array() else {
            continue;
        };
        let named = parameters.iter().filter(|parameter| parameter["in"] == "query");
        let parameters: Vec<_> = named
            .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
            .filter(|name| !["ticket", "stream", "follow"].contains(&name.as_str()))
            .collect();
        if parameters.is_empty() {
            continue;
        }
        let path = path
            .replace("{team_id}", &app.team.id.to_string())
            .replace("{run_id}", run["id"].as_str().unwrap())
            .replace("{session_id}", &session.to_string())
            .replace("/threads/{id}", &thread);
        assert!(!path.contains('{'), "{path}");
        lists.push(List { path, parameters });
    }
    lists
}

fn cursor(json: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(json)
}

/// Returns a random key as a list might have it: texts, numbers, ids, in tuples of one to three.
fn random_key(random: &mut StdRng) -> Value {
    let part = |random: &mut StdRng| match random.random_range(0..6) {
        0 => json!(TEXTS[random.random_range(0..TEXTS.len())]),
        1 => json!(Uuid::from_u128(random.random())),
        2 => json!(random.random::<i64>()),
        3 => json!(random.random::<u64>()),
        4 => json!(format!(
            "{:+}-{:02}-01T00:00:00Z",
            random.random_range(-300_000..300_000),
            random.random_range(1..13)
        )),
        _ => json!(null),
    };
    match random.random_range(0..4) {
        0 => part(random),
        length => Value::Array((0..length).map(|_| part(random)).collect()),
    }
}

#[tokio::test]
async fn generated_cursors_are_refused_by_name_or_answered_on_every_list() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let id = Uuid::now_v7();
    let mut cursors: Vec<String> = Vec::new();
    for text in TEXTS {
        cursors.extend([
            cursor(json!(text).to_string().as_bytes()),
            cursor(json!([text, id]).to_string().as_bytes()),
            cursor(json!([text, text]).to_string().as_bytes()),
            cursor(text.as_bytes()),
        ]);
    }
    let seed = 0x6461_7962_6f6f_6b19;
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..RANDOM_CURSORS {
        cursors.push(cursor(random_key(&mut random).to_string().as_bytes()));
        let mut bytes = vec![0; random.random_range(0..32)];
        random.fill_bytes(&mut bytes);
        cursors.push(cursor(&bytes));
    }
    let mut tried = 0;
    for list in lists(&app, &ada).await {
        if !list.parameters.iter().any(|name| name == "cursor") {
            continue;
        }
        tried += 1;
        for cursor in &cursors {
            let answer = ada
                .request(Method::GET, &format!("{}?cursor={cursor}", list.path))
                .await;
            match answer.status {
                StatusCode::OK => {}
                _ => assert_eq!(answer.wrong_fields(), ["cursor"], "{} {cursor}, seed {seed}", list.path),
            }
        }
    }
    assert!(tried >= 8, "{tried} lists");
}

#[tokio::test]
async fn parameters_beyond_every_range_are_refused_by_name_or_answered() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    for list in lists(&app, &ada).await {
        for name in &list.parameters {
            for text in TEXTS
                .iter()
                .chain(&["-1", "0", "", "x", "2147483648", "0001-01-01T00:00:00+01:00"])
            {
                let mut query = form_urlencoded(name, text);
                // An object_id needs its object type.
                if name == "object_id" {
                    query.push_str("&object_type=campaign");
                }
                let answer = ada.request(Method::GET, &format!("{}?{query}", list.path)).await;
                match answer.status {
                    StatusCode::OK | StatusCode::NO_CONTENT => {}
                    _ => assert_eq!(answer.wrong_fields(), [name.as_str()], "{}?{query}", list.path),
                }
            }
        }
    }
}

fn form_urlencoded(name: &str, text: &str) -> String {
    let text = text.replace("\\u0000", "\0");
    let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
    format!("{name}={encoded}")
}

#[tokio::test]
async fn cursors_of_the_socket_are_refused_by_name() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let (_, thread) = ada.campaign_with_thread("Spring").await;
    let address = app.serve(|router| router).await;
    let mut live = LiveClient::connect(address, &ada).await;
    for topic in ["threads", "job-sessions", "runs"] {
        for cursor in [
            "",
            "x",
            "1:2",
            "9223372036854775808:9223372036854775808:",
            "-1:1:",
            "5:3:",
            "\0",
        ] {
            live.send(json!({"type": "subscribe", "topic": topic, "cursor": cursor}))
                .await;
            let refused = live.next().await;
            assert_eq!(refused["code"], "bad-frame", "{topic} {cursor}: {refused}");
            assert!(refused["detail"].as_str().unwrap().contains("cursor"), "{refused}");
        }
        // In range, but no such snapshot existed.
        live.send(json!({"type": "subscribe", "topic": topic, "cursor": "9223372036854775807:9223372036854775807:"}))
            .await;
        assert_eq!(live.next().await["code"], "cursor-ahead");
    }
    let topic = format!("thread:{}", thread.trim_start_matches("/threads/"));
    for field in ["seq", "revision"] {
        for (number, code) in [(-1, "bad-frame"), (i64::MIN, "bad-frame"), (i64::MAX, "cursor-ahead")] {
            let mut frame = json!({"type": "subscribe", "topic": topic});
            frame[field] = json!(number);
            live.send(frame).await;
            assert_eq!(live.next().await["code"], code, "{field} {number}");
        }
    }
    assert!(live.frames_until_pong().await.is_empty());
}
