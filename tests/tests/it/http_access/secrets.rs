//! No wide event contains a credential, wherever it was sent.

use axum::http::Method;
use daybook::tenancy::Role;
use daybook_tests::http::TestApp;
use serde_json::json;

#[tokio::test]
async fn keys_and_tickets_never_appear_in_wide_events() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let (robot, _) = ada.make_key("robot", "member").await;
    let key = robot.credential.clone().unwrap();
    let (name, secret) = key.rsplit_once('_').unwrap();
    let ticket = ada.post("/live/tickets", json!({})).await.ok()["ticket"]
        .as_str()
        .unwrap()
        .to_owned();
    let nobody = app.anonymous();
    let requests = [
        nobody.request(Method::GET, &format!("/v1/{key}/x")),
        nobody.request(Method::GET, &format!("/v1/{}/x", key.replace('_', "%5F"))),
        nobody.get(&format!(
            "/campaigns?x={key}&{key}=1&y={ticket}&next=/live%3Fwhatever%3D{ticket}"
        )),
        nobody.get(&format!(
            "/campaigns?key={secret}&auth={secret}&session={secret}&sig={secret}&code={secret}"
        )),
        nobody
            .get("/campaigns")
            .header("user-agent", &format!("robot/1 ({key}; {ticket})")),
        ada.post("/campaigns", json!({"name": key, "budget": ticket, (key.as_str()): 1})),
        ada.post(
            "/campaigns",
            json!({"name": "x", "budget": "postgres://ada:hunter2-secret@db.example.com/x"}),
        ),
        ada.get(&format!("/threads/{key}")),
        ada.get(&format!("/threads?object_type={key}&object_id={ticket}")),
    ];
    for request in requests {
        request.await;
    }
    let events = app.wide_events().await;
    assert!(events.len() > 9);
    for event in &events {
        let line = event.to_string();
        for hidden in [secret, &ticket[4..], "hunter2-secret"] {
            assert!(!line.contains(hidden), "{hidden} is in {event:#}");
        }
    }
    // The event says which key it was: its prefix names it in the team's list.
    assert!(
        events
            .iter()
            .any(|event| event["path"] == format!("/v1/{name}_[REDACTED]/x")),
        "{events:#?}"
    );
}

#[tokio::test]
async fn long_client_input_makes_no_long_line() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let long = "x".repeat(60_000);
    let requests = [
        ada.get("/campaigns").header("user-agent", &long.repeat(5)),
        ada.get("/campaigns").header("x-request-id", &long),
        ada.get("/campaigns").header("referer", &long).header("host", &long),
        ada.get(&format!("/campaigns/{long}")),
        ada.get(&format!("/campaigns?limit={long}")),
        ada.get(&format!("/campaigns?{long}")),
        ada.get(&format!("/campaigns?{}", "a=b&".repeat(15_000))),
        ada.post("/campaigns", json!({(&long[..60_000]): 1})),
        ada.patch("/campaigns/x", json!({"state": &long[..60_000]}))
            .if_match(&long),
    ];
    for request in requests {
        request.await;
        let event = app.wide_event().await;
        let line = event.to_string();
        assert!(line.len() < 16 * 1024, "{} bytes: {:.300}", line.len(), line);
    }
    let event = {
        ada.get("/campaigns").header("user-agent", &long).await;
        app.wide_event().await
    };
    let user_agent = event["user_agent"].as_str().unwrap();
    assert!(
        user_agent.ends_with(" bytes more)") && user_agent.len() < 3_000,
        "{user_agent}"
    );
}
