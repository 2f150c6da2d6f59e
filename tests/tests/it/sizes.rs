//! Answers have a bounded size, however long the values in them are: they are cut, and pages end early.

use axum::http::StatusCode;
use daybook::campaigns::campaign;
use daybook::events::{FieldChange, FieldChanges, UpdatedEventData, emit_event};
use daybook::jobs::{JobSession, SessionSpec, with_job_session};
use daybook::tenancy::{Context, Role};
use daybook_tests::http::{Client, TestApp};
use daybook_tests::live::LiveClient;
use sea_orm::EntityTrait;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// Maximum size of a page: 1 MiB of items, and some space for what surrounds them.
const PAGE_BYTES: usize = (1 << 20) + 64 * 1024;
/// The length of a text that a form would accept.
const LONG: usize = 2_000_000;

/// Returns a response's JSON, after checking that it has at most `most` bytes.
async fn get_bounded(client: &Client, path: &str, most: usize) -> Value {
    let answer = client.get(path).await;
    let size = answer.text().len();
    assert!(size <= most, "{path}: {size} bytes, more than {most}");
    answer.ok()
}

/// Edits a campaign's text to each of these values in turn.
async fn edit(app: &TestApp, campaign_id: &str, texts: &[String]) -> Uuid {
    let context = app.team.system();
    let tx = app.database.begin(&context).await.unwrap();
    let model = campaign::Entity::find_by_id(Uuid::try_parse(campaign_id).unwrap())
        .one(&tx)
        .await
        .unwrap()
        .unwrap();
    for edit in texts.windows(2) {
        let change = FieldChange {
            old: json!(edit[0]),
            new: json!(edit[1]),
        };
        let payload = UpdatedEventData {
            changes: FieldChanges::from([("client_email".to_owned(), change)]),
        };
        emit_event(&tx, &model, payload).await.unwrap();
    }
    tx.commit().await.unwrap();
    context.correlation_id
}

/// A group only stores the beginnings of long values, which are equal here.
#[tokio::test]
async fn a_long_value_that_differs_at_its_end_has_not_come_back() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let (spring, thread) = ada.campaign_with_thread("Spring").await;
    let texts = ["one", "two", "three"].map(|end| format!("{}{end}", "é".repeat(LONG / 2)));
    edit(&app, &spring.id, &texts).await;
    let group = ada.get(&format!("{thread}/messages?group=true&after_seq=1")).await.ok();
    let change = &group["items"][0]["changes"][0];
    assert_eq!(
        (&change["truncated"], &change["came_back"]),
        (&json!(true), &json!(false))
    );
}

#[tokio::test]
async fn long_values_are_cut_in_pages_inbox_frames_and_stories_and_are_whole_by_themselves() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let (spring, thread) = ada.campaign_with_thread("Spring").await;
    let texts: Vec<_> = (0..6).map(|n| format!("{n} {}", "é".repeat(LONG / 2))).collect();
    let story = edit(&app, &spring.id, &texts).await;

    for query in ["", "?order=desc", "?group=true"] {
        let page = get_bounded(&ada, &format!("{thread}/messages{query}"), PAGE_BYTES).await;
        assert_eq!(page["more"], false, "cut values leave room for all");
    }
    let page = ada.get(&format!("{thread}/messages?after_seq=1")).await.ok();
    let event = &page["items"][0]["event"];
    let change = &event["changes"][0];
    assert_eq!(
        (&event["truncated"], &change["truncated"]),
        (&json!(true), &json!(true))
    );
    let shown = change["new"].as_str().unwrap();
    assert_eq!(shown.chars().count(), 2_001);
    assert!(shown.starts_with("1 éé") && shown.ends_with("é…"));
    let group = ada.get(&format!("{thread}/messages?group=true&after_seq=1")).await.ok();
    assert_eq!(group["items"][0]["changes"][0]["truncated"], true);

    let whole = ada.get(&format!("{thread}/messages/2")).await.ok();
    let change = &whole["event"]["changes"][0];
    assert_eq!(
        (&whole["event"]["truncated"], &change["truncated"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(change["new"].as_str().unwrap().chars().count(), 2 + LONG / 2);
    let first = ada.get(&format!("{thread}/messages/1")).await.ok();
    assert_eq!(first["event"]["truncated"], false);
    for missing in ["9", "0", "-1"] {
        let answer = ada.get(&format!("{thread}/messages/{missing}")).await;
        answer.problem(StatusCode::NOT_FOUND, "not-found");
    }

    get_bounded(&ada, "/notifications", 64 * 1024).await;
    assert!(get_bounded(&ada, &format!("/stories/{story}"), 64 * 1024 * 5).await["steps"].is_array());

    let address = app.serve(|router| router).await;
    let mut live = LiveClient::connect(address, &ada).await;
    live.follow_thread(thread.trim_start_matches("/threads/"), Some(0))
        .await;
    let mut messages = 0;
    while messages < 6 {
        let text = live.next_text().await.unwrap();
        assert!(text.len() <= 128 * 1024, "a frame of {} bytes", text.len());
        let frame: Value = serde_json::from_str(&text).unwrap();
        messages += frame["messages"].as_array().unwrap().len();
    }
    live.follow(json!({"type": "subscribe", "topic": "notifications"}))
        .await;
    let text = live.next_text().await.unwrap();
    assert!(text.len() <= 64 * 1024, "an inbox of {} bytes", text.len());
}

/// Tests inputs in which each value is allowed, but not all together: many fields, a list, an object.
#[tokio::test]
async fn events_of_many_long_values_are_cut_as_a_whole() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let (spring, thread) = ada.campaign_with_thread("Spring").await;
    let tx = app.database.begin(&app.team.system()).await.unwrap();
    let model = campaign::Entity::find_by_id(Uuid::try_parse(&spring.id).unwrap())
        .one(&tx)
        .await
        .unwrap()
        .unwrap();
    let change = |value: Value| FieldChange {
        old: json!("x".repeat(1_500)),
        new: value,
    };
    let many: FieldChanges = (0..300)
        .map(|n| (format!("field_{n:03}"), change(json!("y".repeat(1_500)))))
        .collect();
    let list = FieldChanges::from([("tags".to_owned(), change(json!(vec!["tag"; 50_000])))]);
    let object = FieldChanges::from([("extra".to_owned(), change(json!({"a": {"b": "z".repeat(50_000)}})))]);
    for changes in [many, list, object] {
        emit_event(&tx, &model, UpdatedEventData { changes }).await.unwrap();
    }
    tx.commit().await.unwrap();
    let page = get_bounded(&ada, &format!("{thread}/messages?after_seq=1"), 512 * 1024).await;
    let items = page["items"].as_array().unwrap();
    assert_eq!(items.len(), 3);
    for (item, begins) in items.iter().zip(["y", "[\"tag\"", "{\"a\":"]) {
        assert_eq!(item["event"]["truncated"], true);
        let value = item["event"]["changes"][0]["new"].as_str().unwrap();
        assert!(value.starts_with(begins) && value.ends_with('…'), "{value}");
    }
}

/// A story's steps are longer than the stored events that they render.
#[tokio::test]
async fn a_story_that_is_cut_at_its_size_says_so() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let (spring, _) = ada.campaign_with_thread("Spring").await;
    let texts: Vec<_> = (0..=100).map(|n| format!("{n} {}", "x".repeat(7_000))).collect();
    let stories = [(&texts[..], true), (&texts[..3], false)];
    for (texts, truncated) in stories {
        let story = edit(&app, &spring.id, texts).await;
        let story = get_bounded(&ada, &format!("/stories/{story}"), (2 << 20) + 64 * 1024).await;
        let steps = story["steps"].as_array().unwrap().len();
        assert_eq!(
            (&story["truncated"], steps < texts.len() - 1),
            (&json!(truncated), truncated)
        );
    }
}

/// Each of these events is short enough to be shown whole.
#[tokio::test]
async fn an_inbox_frame_with_many_long_notifications_has_the_newest_ones() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let texts = ["a", "b"].map(|text| text.repeat(7_000));
    for n in 0..20 {
        let (campaign, _) = ada.campaign_with_thread(&n.to_string()).await;
        edit(&app, &campaign.id, &texts).await;
    }
    let address = app.serve(|router| router).await;
    let mut live = LiveClient::connect(address, &ada).await;
    live.follow(json!({"type": "subscribe", "topic": "notifications"}))
        .await;
    let text = live.next_text().await.unwrap();
    assert!(text.len() <= 272 * 1024, "an inbox of {} bytes", text.len());
    let frame: Value = serde_json::from_str(&text).unwrap();
    let items = frame["items"].as_array().unwrap();
    assert!((2..20).contains(&items.len()), "{} items", items.len());
    assert_eq!(
        (&items[0]["thread"]["object_label"], &frame["unread"]),
        (&json!("19"), &json!(20))
    );
}

#[tokio::test]
async fn pages_of_a_thread_end_where_their_bytes_do_and_fit_together() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let (_, thread) = ada.campaign_with_thread("Spring").await;
    let mut connection = app.team.connection().await;
    for sql in [
        "UPDATE threads SET last_seq = 150",
        "INSERT INTO thread_messages (team_id, thread_id, seq, kind, author_kind, author_name, body)
         SELECT team_id, id, 1 + n, 'comment', 'system', 'test', repeat('x', 20000)
         FROM threads, generate_series(1, 149) n",
    ] {
        sqlx::query(sql).execute(&mut connection).await.unwrap();
    }
    for (order, place, group) in [("asc", "after_seq", "false"), ("desc", "before_seq", "true")] {
        let (mut seqs, mut pages, mut from) = (Vec::new(), 0, String::new());
        loop {
            let path = format!("{thread}/messages?limit=200&order={order}&group={group}{from}");
            let page = get_bounded(&ada, &path, PAGE_BYTES).await;
            let items = page["items"].as_array().unwrap();
            seqs.extend(items.iter().map(|item| item["seq"].as_i64().unwrap()));
            pages += 1;
            from = format!("&{place}={}", seqs.last().unwrap());
            if page["more"] == false {
                break;
            }
        }
        assert!(pages > 2, "{pages} pages of 3 MB");
        if order == "desc" {
            seqs.reverse();
        }
        assert_eq!(seqs, (1..=150).collect::<Vec<_>>());
    }
    // A page with one item is returned, and has a next page.
    let page = ada.get(&format!("{thread}/messages?limit=1&order=desc")).await.ok();
    assert_eq!(
        (page["items"].as_array().unwrap().len(), &page["more"]),
        (1, &json!(true))
    );
}

#[derive(Serialize)]
struct Long {
    text: String,
}

impl std::fmt::Display for Long {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Said something long")
    }
}

/// Reads all pages of a list, and returns their number and the items.
async fn walk(client: &Client, path: &str) -> (usize, Vec<Value>) {
    let (mut pages, mut items, mut cursor) = (0, Vec::new(), String::new());
    loop {
        let page = get_bounded(client, &format!("{path}?limit=200{cursor}"), PAGE_BYTES).await;
        pages += 1;
        items.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else {
            return (pages, items);
        };
        cursor = format!("&cursor={next}");
    }
}

#[tokio::test]
async fn sessions_actions_and_their_story_are_bounded() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let context = Context::system(app.team.id, "test");
    for _ in 0..12 {
        let input = json!({"roster": "x".repeat(200_000)});
        let spec = SessionSpec::new("import").context(context.clone()).input(&input);
        with_job_session(&app.database, spec, async |session: JobSession| {
            let text = "y".repeat(60_000);
            let actions: Vec<_> = (0..25).map(|_| Long { text: text.clone() }).collect();
            Ok(session.add_actions(&actions).await?)
        })
        .await
        .unwrap();
    }
    let (_, sessions) = walk(&ada, "/job-sessions").await;
    assert_eq!(sessions.len(), 12);
    for session in &sessions {
        assert_eq!(session["truncated"], true);
        assert_eq!(session["input"]["roster"].as_str().unwrap().chars().count(), 2_001);
    }
    let path = format!("/job-sessions/{}", sessions[0]["id"].as_str().unwrap());
    let whole = ada.get(&path).await.ok();
    assert_eq!(
        (whole["input"]["roster"].as_str().unwrap().len(), &whole["truncated"]),
        (200_000, &json!(false))
    );
    let (pages, actions) = walk(&ada, &format!("{path}/actions")).await;
    assert!(pages > 1, "{pages} page of 1.5 MB");
    let seqs: Vec<_> = actions.iter().map(|action| action["seq"].as_i64().unwrap()).collect();
    assert_eq!(seqs, (1..=25).collect::<Vec<_>>());
    let story = get_bounded(&ada, &format!("/stories/{}", context.correlation_id), 5 << 19).await;
    assert!(story["steps"].as_array().unwrap().len() <= 12);
}

#[tokio::test]
async fn runs_show_the_first_of_what_they_made() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    for _ in 0..3 {
        ada.post("/runs", json!({"name": "nightly import"})).await.ok();
    }
    sqlx::query(
        "UPDATE runs SET output_paths = (SELECT jsonb_agg(repeat('p', 1000)) FROM generate_series(1, 1000)),
            log_state = 'closed', status = 'succeeded', completed_at = now()",
    )
    .execute(&mut app.team.connection().await)
    .await
    .unwrap();
    let (_, runs) = walk(&ada, "/runs").await;
    assert_eq!(runs.len(), 3);
    for run in &runs {
        assert_eq!(
            (run["output_paths"].as_array().unwrap().len(), &run["truncated"]),
            (20, &json!(true))
        );
    }
    let whole = ada
        .get(&format!("/runs/{}", runs[0]["id"].as_str().unwrap()))
        .await
        .ok();
    assert_eq!(
        (whole["output_paths"].as_array().unwrap().len(), &whole["truncated"]),
        (1_000, &json!(false))
    );
    let story = format!("/stories/{}", runs[0]["correlation_id"].as_str().unwrap());
    assert_eq!(ada.get(&story).await.ok()["steps"][0]["run"]["truncated"], true);
}
