//! Ambiguous heads, and bodies with an unexpected encoding.

use axum::http::{Method, StatusCode};
use daybook::tenancy::Role;
use daybook_tests::http::TestApp;
use serde_json::json;

use super::{open_connection, read_until_closed};
use crate::runs::run;

#[tokio::test]
async fn an_http_1_1_request_must_have_exactly_one_host() {
    let app = TestApp::start().await;
    let port = app.serve(|router| router).await.port();
    for (head, status) in [
        ("HTTP/1.1\r\n", 400),
        ("HTTP/1.1\r\nhost: a\r\nhost: a\r\n", 400),
        ("HTTP/1.1\r\nhost: a\r\nHost: b\r\n", 400),
        ("HTTP/1.1\r\nhost: a b\r\n", 400),
        ("HTTP/1.1\r\nhost: example.com:8080\r\n", 200),
        ("HTTP/1.0\r\n", 200),
        ("HTTP/1.0\r\nhost: a\r\nhost: b\r\n", 400),
    ] {
        let request = format!("GET /healthz {head}connection: close\r\n\r\n");
        let answer = read_until_closed(&mut open_connection(port, request.as_bytes()).await).await;
        let (first, _) = answer.split_once("\r\n").unwrap();
        assert_eq!(
            first.split(' ').nth(1),
            Some(status.to_string().as_str()),
            "{head:?}: {answer}"
        );
        assert!(
            status == 200 || answer.contains("Host") || answer.contains("host"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn headers_that_identify_the_caller_or_the_resource_must_not_repeat() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let port = app.serve(|router| router).await.port();
    let token = ada.credential.clone().unwrap();
    let campaign = ada.create_campaign("Spring", "100").await;
    for (method, path, headers) in [
        (
            "GET",
            "/threads",
            format!("authorization: Bearer {token}\r\nauthorization: Bearer {token}\r\n"),
        ),
        (
            "POST",
            "/campaigns",
            "content-type: application/json\r\ncontent-type: text/plain\r\n".to_owned(),
        ),
        (
            "POST",
            "/campaigns",
            "idempotency-key: a\r\nidempotency-key: b\r\n".to_owned(),
        ),
        (
            "DELETE",
            &campaign.path,
            "if-match: \"a\"\r\nif-match: *\r\n".to_owned(),
        ),
        ("GET", "/live", "origin: http://a\r\norigin: http://b\r\n".to_owned()),
        (
            "GET",
            "/live",
            "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-key: a\r\n".to_owned(),
        ),
        (
            "POST",
            "/campaigns",
            "content-length: 2\r\ncontent-length: 3\r\n".to_owned(),
        ),
    ] {
        let mut request = format!(
            "{method} /v1/teams/{}{path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}",
            ada.team_id
        );
        if !headers.contains("authorization") {
            request.push_str(&format!("authorization: Bearer {token}\r\n"));
        }
        request.push_str("\r\n");
        let answer = read_until_closed(&mut open_connection(port, request.as_bytes()).await).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{headers}: {answer}");
    }
    ada.get(&campaign.path).await.is(StatusCode::OK);
}

#[tokio::test]
async fn an_encoded_body_is_refused_by_every_route() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let (campaign, thread) = ada.campaign_with_thread("Spring").await;
    let run = run(&ada).await;
    // An uploader that compresses sends the header. These bytes would even be valid JSON.
    let body = json!({"name": "Summer", "budget": "1", "body": "hello"}).to_string();
    for (method, path) in [
        (Method::POST, "/campaigns".to_owned()),
        (Method::PATCH, campaign.path.clone()),
        (Method::POST, format!("{thread}/messages")),
        (Method::POST, "/members".to_owned()),
        (Method::POST, "/api-keys".to_owned()),
        (Method::POST, "/runs".to_owned()),
        (Method::POST, format!("{run}/events")),
        (Method::POST, format!("{run}/complete")),
        (Method::POST, format!("{run}/cancel")),
    ] {
        for encoding in ["gzip", "br, gzip", "zstd"] {
            let request = ada
                .team_request(method.clone(), &path)
                .header("content-type", "application/json");
            let answer = request
                .header("content-encoding", encoding)
                .body(body.clone())
                .if_match("*")
                .await;
            let problem = answer.problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type");
            assert!(
                problem["detail"].as_str().unwrap().contains("Content-Encoding"),
                "{problem}"
            );
        }
    }
    let lines = ada.team_request(Method::POST, &format!("{run}/events"));
    let lines = lines
        .header("content-type", "application/x-ndjson")
        .header("content-encoding", "gzip");
    lines
        .body("{\"type\":\"x\"}\n")
        .await
        .is(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let plain = ada.post("/campaigns", json!({"name": "Summer", "budget": "1"}));
    plain
        .header("content-encoding", "identity")
        .await
        .is(StatusCode::CREATED);
}
