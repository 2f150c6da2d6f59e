//! Tests with third-party clients: a browser's `EventSource`, and an SSE client from the registry. Both resume after
//! the service was killed and restarted, without a gap and without a repeated line.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use axum::response::Html;
use axum::routing::{get, post};
use axum::{Json, Router};
use daybook_tests::WAIT_LIMIT;
use eventsource_client::{Client as _, ClientBuilder, ReconnectOptions, SSE};
use futures_util::StreamExt as _;
use launchdarkly_sdk_transport::HyperTransport;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;
use uuid::Uuid;

use super::process::{Service, ServiceFixture, free_port};
use crate::live::browser::{Browser, chromium};

const LINES: u64 = 40;

/// Appends lines up to `last`. Each line is sent until it is acknowledged.
async fn append_to(fixture: &ServiceFixture, port: u16, run: Uuid, from: u64, last: u64) {
    for seq in from..=last {
        daybook_tests::eventually("a line that is acknowledged", async || {
            matches!(
                fixture.send(fixture.line(port, run, seq)).await,
                Ok((StatusCode::OK, _))
            )
        })
        .await;
    }
}

#[tokio::test]
async fn a_third_party_client_resumes_after_the_service_was_killed() {
    let fixture = ServiceFixture::new().await;
    let port = free_port();
    let service = fixture.serve(port).await;
    let run = fixture.run(port, json!({"name": "import"})).await;
    let url = format!("http://127.0.0.1:{port}/v1/teams/{}/runs/{run}/events", fixture.team.id);
    let transport = HyperTransport::new().unwrap();
    let client = ClientBuilder::for_url(&url)
        .unwrap()
        .header("Authorization", &format!("Bearer {}", fixture.token))
        .unwrap()
        .reconnect(
            ReconnectOptions::reconnect(true)
                .retry_initial(true)
                .delay(Duration::from_millis(50))
                .delay_max(Duration::from_millis(500))
                .build(),
        )
        .build_with_transport(transport);
    let reading = tokio::spawn(async move {
        let mut events = client.stream();
        let mut seen = Vec::new();
        let mut connections = 0;
        while let Some(event) = events.next().await {
            match event {
                Ok(SSE::Event(event)) if event.event_type == "end" => break,
                Ok(SSE::Event(event)) => {
                    let line: serde_json::Value = serde_json::from_str(&event.data).unwrap();
                    assert_eq!(event.id.as_deref(), Some(line["sequence"].to_string().as_str()));
                    seen.push(line["sequence"].as_u64().unwrap());
                }
                Ok(SSE::Connected(_)) => connections += 1,
                Ok(SSE::Comment(_)) | Err(_) => {}
            }
        }
        (seen, connections)
    });
    append_to(&fixture, port, run, 1, LINES / 2).await;
    service.kill().await;
    let service = fixture.serve(port).await;
    append_to(&fixture, port, run, LINES / 2 + 1, LINES).await;
    fixture.complete(port, run).await;
    let (seen, connections) = timeout(WAIT_LIMIT, reading).await.unwrap().unwrap();
    assert_eq!(seen, (1..=LINES + 3).collect::<Vec<_>>());
    assert!(connections >= 2, "{connections}");
    service.stop().await;
}

#[tokio::test]
async fn a_browsers_event_source_resumes_after_the_service_was_killed() {
    let Some(program) = chromium() else {
        daybook_tests::skip_without("Chromium");
        return;
    };
    let fixture = Arc::new(ServiceFixture::new().await);
    let (port, page_port) = (free_port(), free_port());
    let page_origin = format!("http://127.0.0.1:{page_port}");
    let serve = async || {
        let mut command = fixture.command(port, fixture.storage.path());
        command.env("DAYBOOK_ALLOWED_ORIGINS", &page_origin);
        Service::start(command, port).await
    };
    let service = serve().await;
    let run = fixture.run(port, json!({"name": "import"})).await;
    let path = format!("/runs/{run}/tickets");
    let (status, ticket) = fixture.send_request(port, Method::POST, &path).await.unwrap();
    assert_eq!(status, StatusCode::CREATED);
    let url = format!(
        "http://127.0.0.1:{port}/v1/teams/{}/runs/{run}/events?ticket={}",
        fixture.team.id,
        ticket["ticket"].as_str().unwrap()
    );
    let page = format!(
        "<!doctype html><script>
         const seen = [], say = (what) => fetch('/say', {{method: 'POST', headers: {{'Content-Type': 'application/json'}},
             body: JSON.stringify(what)}});
         let opened = 0;
         const events = new EventSource('{url}');
         events.onopen = () => {{ opened += 1; }};
         events.onmessage = (event) => {{
             seen.push([Number(event.lastEventId), JSON.parse(event.data).sequence]);
             if (seen.length === {}) say({{half: true}});
         }};
         events.addEventListener('end', () => {{ events.close(); say({{seen, opened}}); }});
         </script>",
        LINES / 2 + 2,
    );
    let (sender, mut reports) = mpsc::unbounded_channel::<serde_json::Value>();
    let sender = Arc::new(Mutex::new(sender));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, page_port)).await.unwrap();
    let pages = Router::new()
        .route("/", get(move || std::future::ready(Html(page.clone()))))
        .route(
            "/say",
            post(async move |Json(what): Json<serde_json::Value>| sender.lock().await.send(what).is_ok().to_string()),
        );
    tokio::spawn(async move { axum::serve(listener, pages).await });
    let _browser = Browser::open(&program, &page_origin);

    append_to(&fixture, port, run, 1, LINES / 2).await;
    let half = timeout(WAIT_LIMIT, reports.recv())
        .await
        .expect("the page reads")
        .unwrap();
    assert_eq!(half["half"], true);
    service.kill().await;
    let service = serve().await;
    append_to(&fixture, port, run, LINES / 2 + 1, LINES).await;
    fixture.complete(port, run).await;
    let all = loop {
        let report = timeout(WAIT_LIMIT, reports.recv())
            .await
            .expect("the page continues to read")
            .unwrap();
        if report["seen"].is_array() {
            break report;
        }
    };
    let expected: Vec<_> = (1..=LINES + 3).map(|sequence| json!([sequence, sequence])).collect();
    assert_eq!(all["seen"], json!(expected));
    assert!(all["opened"].as_u64().unwrap() >= 2, "{all}");
    service.stop().await;
}

#[tokio::test]
async fn only_pages_of_allowed_origins_may_read() {
    let fixture = ServiceFixture::new().await;
    let port = free_port();
    let mut command = fixture.command(port, fixture.storage.path());
    command.env("DAYBOOK_ALLOWED_ORIGINS", "https://app.example.com");
    let service = Service::start(command, port).await;
    let run = fixture.run(port, json!({"name": "import"})).await;
    for (origin, allowed) in [("https://app.example.com", true), ("https://evil.example.com", false)] {
        let request = fixture.request(port, Method::GET, &format!("/runs/{run}/events"));
        let answer = request.header("origin", origin).send().await.unwrap();
        let allow_origin = answer.headers().get("access-control-allow-origin");
        assert_eq!(
            allow_origin.map(|value| value.to_str().unwrap()),
            allowed.then_some(origin)
        );
    }
    service.stop().await;
}
