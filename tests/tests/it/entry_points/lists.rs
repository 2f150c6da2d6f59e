//! Tests that each route refuses a list where it expects an object.

use axum::http::{Method, StatusCode};
use daybook::tenancy::Role;
use daybook_tests::http::TestApp;
use daybook_tests::live::LiveClient;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

/// Returns the path of an operation, with unused ids as its parameters.
fn filled(path: &str, team_id: Uuid) -> String {
    let mut filled = path.replace("{team_id}", &team_id.to_string());
    while let (Some(begin), Some(end)) = (filled.find('{'), filled.find('}')) {
        let name = filled[begin + 1..end].to_owned();
        let value = match name.as_str() {
            "event_type" => "CREATED".to_owned(),
            "object_type" => "campaign".to_owned(),
            "seq" => "1".to_owned(),
            _ => Uuid::now_v7().to_string(),
        };
        filled.replace_range(begin..=end, &value);
    }
    filled
}

#[tokio::test]
async fn every_route_that_takes_an_object_refuses_a_list() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let document = app.openapi().await;
    let mut tried = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            if operation["requestBody"]["content"]["application/json"].is_null() {
                continue;
            }
            let method: Method = method.to_uppercase().parse().unwrap();
            for list in [
                json!(["arr", "1", null]),
                json!([]),
                json!([null, null, null, null, null]),
            ] {
                let answer = ada
                    .request(method.clone(), &filled(path, app.team.id))
                    .json(list.clone())
                    .if_match("*")
                    .await;
                let requested = format!("{method} {path} {list}: {answer:?}");
                // A missing run is reported before its lines are read.
                if answer.status == StatusCode::NOT_FOUND && path.ends_with("/events") {
                    continue;
                }
                assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{requested}");
                let errors = answer.json()["errors"].clone();
                assert_eq!(errors[0]["field"], "$", "{requested}");
                assert!(
                    errors[0]["detail"].as_str().unwrap().contains("expected an object"),
                    "{requested}"
                );
                tried += 1;
            }
        }
    }
    assert!(tried > 30, "{tried}");
    assert!(app.team.events().await.is_empty());
}

#[tokio::test]
async fn a_list_is_refused_in_place_of_a_nested_object() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    ada.post("/campaigns", json!(["arr", "1", null])).await.wrong_fields();
    let bulk = json!({"ids": [Uuid::now_v7()], "changes": ["x"]});
    assert_eq!(ada.patch("/campaigns", bulk).await.wrong_fields(), ["changes"]);
    let run = ada.post("/runs", json!({"name": "import"})).await.ok();
    let run = format!("/runs/{}", run["id"].as_str().unwrap());
    let failed = json!({"status": "failed", "failure": ["build", "code", "message"]});
    assert_eq!(
        ada.post(&format!("{run}/complete"), failed).await.wrong_fields(),
        ["failure"]
    );
    let events = |content_type: &str, body: &str| {
        let request = ada.team_request(Method::POST, &format!("{run}/events"));
        request.header("content-type", content_type).body(body)
    };
    let line = r#"["console.line",{},null,null]"#;
    for content_type in ["application/json", "application/x-ndjson"] {
        events(content_type, line).await.wrong_fields();
        events(content_type, r#"{"type":"x","payload":[1]}"#)
            .await
            .wrong_fields();
    }
}

#[tokio::test]
async fn a_list_is_not_a_frame() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let address = app.serve(|router| router).await;
    let mut live = LiveClient::connect(address, &ada).await;
    for list in [
        json!(["ping"]),
        json!(["subscribe", "threads", null, null, null]),
        json!(["unsubscribe", "threads"]),
    ] {
        live.send(list.clone()).await;
        let answer = live.next().await;
        assert_eq!(
            (&answer["type"], &answer["code"]),
            (&json!("error"), &json!("bad-frame")),
            "{list}"
        );
    }
    futures_util::SinkExt::send(&mut live.0, Message::text(" \n[\"ping\"]"))
        .await
        .unwrap();
    assert_eq!(live.next().await["code"], "bad-frame");
    assert_eq!(live.frames_until_pong().await, Vec::<Value>::new());
}
