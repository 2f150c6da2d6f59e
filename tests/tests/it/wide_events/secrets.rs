//! Sends secrets in every part of a request, sets them in a handler, and checks that no event contains them.

use axum::Router;
use axum::http::{HeaderName, StatusCode};
use axum::routing::post;
use daybook::wide_events::{HashKey, Redaction, Sensitive, Treatment, WideEvent};
use serde_json::{Value, json};

use super::WideEventServer;

/// A secret that must not appear, wherever it was sent.
const CANARY: &str = "hunter2-canary";
const CARD: &str = "4111 1111 1111 1111";
const EMAIL: &str = "ada.lovelace@example.com";
const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlLWNhbmFyeQ";

#[derive(Debug, thiserror::Error)]
#[error("{EMAIL} could not pay with {CARD}")]
struct Refused(#[source] std::io::Error);

async fn pay(event: WideEvent, body: String) -> StatusCode {
    let body: Value = serde_json::from_str(&body).unwrap();
    event.enrich(json!({"body": body}));
    event.set(
        "signup",
        json!({"who": Sensitive::new(CANARY), "note": format!("write to {EMAIL}")}),
    );
    event.set(
        "nested",
        json!([[{"deep": [{"api-key": CANARY}, JWT]}], {"password": {"old": CANARY}}]),
    );
    event.set("card", 4_111_111_111_111_111_u64);
    event.set("customer.id", "c-17");
    event.set("customer.name", CANARY);
    event.set("account", CANARY);
    event.set("url", format!("postgres://ada:{CANARY}@db/x"));
    event.mark_error(&Refused(std::io::Error::other(format!(
        "the gateway said: Bearer {CANARY}"
    ))));
    StatusCode::BAD_GATEWAY
}

#[tokio::test]
async fn no_secret_appears_in_an_event() {
    let redaction = Redaction::default()
        .hash_key(HashKey::new("k1", b"a key of the tests, long enough").unwrap())
        .path("customer.name", Treatment::Hash)
        .path("account", Treatment::Mask)
        .name("url", Treatment::Drop);
    let headers = [
        "referer",
        "authorization",
        "cookie",
        "x-api-key",
        "x-forwarded-for",
        "x-plan",
    ];
    let server = WideEventServer::start_with(Router::new().route("/pay/{who}", post(pay)), |config| {
        headers.into_iter().fold(config.redaction(redaction), |config, name| {
            config.header(HeaderName::from_static(name))
        })
    })
    .await;
    let body = json!({
        "user": {"email": EMAIL, "password": CANARY, "passwordHint": CANARY.len()},
        "cards": [{"number": CARD, "cvv": "123-canary"}],
        "session": {"refreshToken": CANARY, "clientSecret": [CANARY]},
        "comment": format!("my token is {JWT} and I live at 203.0.113.77"),
    })
    .to_string();
    server.send_request(&format!(
        "POST /pay/{EMAIL}?ticket={CANARY}&access_token={CANARY}&next=/people/{EMAIL}&user[password]={CANARY}&{EMAIL}=1&to=/x%3Ftoken={CANARY} HTTP/1.1\r\nhost: a\r\n\
         user-agent: bot ({EMAIL}) Bearer {CANARY} {JWT}\r\nreferer: https://x/?token={CANARY}\r\n\
         connection: close\r\nauthorization: Bearer {CANARY}\r\ncookie: session={CANARY}\r\nx-api-key: {CANARY}\r\n\
         x-forwarded-for: 203.0.113.77\r\nx-plan: pro\r\nx-not-asked-for: {CANARY}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ))
    .await;
    let event = server.event().await;
    let line = event.to_string();
    for secret in [
        CANARY,
        "123-canary",
        EMAIL,
        "lovelace",
        CARD,
        "4111111111111111",
        "1111 1111 1111",
        JWT,
        "eyJ",
        "203.0.113.77",
        "127.0.0.1",
    ] {
        assert!(!line.contains(secret), "{secret} is in {event:#}");
    }
    // Values that are not secret are there, and masked values keep their form.
    assert_eq!(event["headers"]["x-plan"], "pro");
    assert_eq!(event["customer"]["id"], "c-17");
    assert_eq!(event["body"]["user"]["email"], "a***@e***.com");
    assert_eq!(event["body"]["user"]["passwordHint"], CANARY.len());
    assert_eq!(event["body"]["user"]["password"], "[REDACTED]");
    assert_eq!(event["body"]["cards"][0]["number"], "4***1111");
    assert_eq!(event["card"], "4***1");
    assert_eq!(event["query"]["ticket"], "[REDACTED]");
    assert_eq!(event["query"]["next"], "/people/a***@e***.com");
    assert_eq!(event["path"], "/pay/a***@e***.com");
    assert_eq!(
        event["nested"][0][0]["deep"],
        json!([{"api-key": "[REDACTED]"}, "[REDACTED]"])
    );
    assert_eq!(event["account"], "h***y");
    let hashed = event["customer"]["name"].as_str().unwrap();
    assert!(hashed.starts_with("hmac-sha256:k1:"), "{hashed}");
    assert_eq!(event["error"]["message"], "a***@e***.com could not pay with 4***1111");
    assert_eq!(event["error"]["causes"], json!(["the gateway said: Bearer [REDACTED]"]));
}
