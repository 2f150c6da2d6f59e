//! Tests what well-known clients add to requests by themselves.

use axum::http::StatusCode;
use daybook::tenancy::Role;
use daybook_tests::http::{Client, TestApp};
use serde_json::json;

/// Creates a run that has ended with lines 1 to 4.
async fn ended_run(ada: &Client) -> String {
    let run = ada.post("/runs", json!({"name": "import"})).await.ok();
    let run = format!("/runs/{}", run["id"].as_str().unwrap());
    ada.post(&format!("{run}/events"), json!({"type": "x"})).await.ok();
    ada.post(&format!("{run}/cancel"), json!({})).await.ok();
    run
}

/// Returns the `id`s of server-sent events.
fn ids(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("id: ")).collect()
}

#[tokio::test]
async fn the_event_source_polyfill_resumes_with_its_parameter() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Member).await;
    let run = ended_run(&ada).await;
    let read = |query: &str| {
        ada.get(&format!("{run}/events?{query}"))
            .header("accept", "text/event-stream")
    };
    let all = read("").await.text();
    let all = ids(&all);
    assert_eq!(all[..3], ["1", "2", "3"]);
    assert_eq!(ids(&read("lastEventId=2").await.text()), all[2..]);
    // A client that reconnects still sends the parameters of its first request.
    assert_eq!(ids(&read("from_sequence=1&lastEventId=2").await.text()), all[2..]);
    assert_eq!(ids(&read("after_sequence=0&lastEventId=").await.text()), all);
    let both = read("lastEventId=1").header("last-event-id", "2").await.text();
    assert_eq!(ids(&both), all[2..], "the header wins");
    let empty = read("lastEventId=2").header("last-event-id", "").await.text();
    assert_eq!(ids(&empty), all[2..]);
    let last = all.last().unwrap();
    read(&format!("lastEventId={last}")).await.is(StatusCode::NO_CONTENT);
    for wrong in ["x", "-1", "18446744073709551616"] {
        assert_eq!(
            read(&format!("lastEventId={wrong}")).await.wrong_fields(),
            ["lastEventId"]
        );
    }
    // On a route that doesn't stream, the parameter is unknown.
    assert_eq!(ada.get("/threads?lastEventId=5").await.wrong_fields(), ["lastEventId"]);
}

#[tokio::test]
async fn cache_busting_parameters_are_ignored_on_every_route() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let (_, thread) = ada.campaign_with_thread("Spring").await;
    let run = ended_run(&ada).await;
    for path in [
        "/campaigns".to_owned(),
        "/threads".to_owned(),
        format!("{thread}/messages"),
        "/notifications".to_owned(),
        "/members".to_owned(),
        "/job-sessions".to_owned(),
        "/runs".to_owned(),
        format!("{run}/events"),
    ] {
        for added in [
            "_=1700000000000",
            "_dc=17",
            "dojo.preventCache=17",
            "org.htmx.cache-buster=x",
        ] {
            ada.get(&format!("{path}?{added}")).await.ok();
            ada.get(&format!("{path}?{added}&limit=7")).await.ok();
        }
        for unknown in ["access_token", "token", "key", "api_key", "auth", "jwt"] {
            let refused = ada.get(&format!("{path}?{unknown}=secret")).await.wrong_fields();
            assert_eq!(refused, [unknown], "{path}");
        }
    }
}

#[tokio::test]
async fn accept_is_parsed_as_in_rfc_9110() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Member).await;
    let run = ended_run(&ada).await;
    let events = format!("{run}/events");
    for (accept, content_type) in [
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
        ("TEXT/Event-Stream", "text/event-stream"),
        (
            "text/event-stream;q=0, application/x-ndjson;q=0.1",
            "application/x-ndjson",
        ),
        ("text/event-stream;q=0.2, application/json;q=0.1", "text/event-stream"),
        ("Application/X-NDJSON", "application/x-ndjson"),
        ("application/jsonl", "application/x-ndjson"),
        ("text/*", "text/event-stream"),
    ] {
        let answer = ada.get(&events).header("accept", accept).await.is(StatusCode::OK);
        assert_eq!(answer.header("content-type").as_deref(), Some(content_type), "{accept}");
    }
    ada.get(&events).await.ok();
    for accept in [
        "text/html",
        "application/json;q=0",
        "text/event-stream;q=0",
        "text/event-streamer",
    ] {
        let refused = ada.get(&events).header("accept", accept).await;
        refused.problem(StatusCode::NOT_ACCEPTABLE, "not-acceptable");
    }
    // The parameter in the address overrides the header, and only that parameter does.
    let streamed = ada
        .get(&format!("{events}?stream=true"))
        .header("accept", "application/json");
    let streamed = streamed.await.is(StatusCode::OK);
    assert_eq!(streamed.header("content-type").as_deref(), Some("text/event-stream"));
    let refused = ada.get(&format!("{events}?upstream=true")).await;
    assert_eq!(refused.wrong_fields(), ["upstream"]);
}
