//! The contents of an event, and fields that are added after its end.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use daybook::wide_events::{EventSchema, Sampling, WideEvent};
use futures_util::stream;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{Notify, oneshot};

use super::{WideEventServer, get as getting, read_until};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[derive(Serialize)]
struct Cart {
    items: u32,
    lines: Vec<&'static str>,
}

/// Enriches the event deep below a handler, without receiving it as an argument.
async fn deep_below() {
    WideEvent::current().set("deep", true).add("queries", 2);
}

#[tokio::test]
async fn an_event_has_its_request_its_response_and_the_added_fields() {
    let handler = async |event: WideEvent| {
        event
            .set("cart.currency", "EUR")
            .enrich(json!({"cart": {"items": 0}, "user": {"plan": "pro"}}));
        event.enrich(json!({"cart": Cart { items: 2, lines: vec!["tea", "milk"] }}));
        event
            .add("queries", 1)
            .push("ids", 7, 2)
            .push("ids", 8, 2)
            .push("ids", 9, 2);
        deep_below().await;
        tokio::spawn(event.carry(async {
            WideEvent::current().set("in_a_task", 1);
        }))
        .await
        .unwrap();
        "hello"
    };
    let server = WideEventServer::start_with(Router::new().route("/carts/{id}", get(handler)), |config| {
        config
            .deployment_id(Some("d-7".to_owned()))
            .region(Some("eu-1".to_owned()))
            .header(axum::http::HeaderName::from_static("x-plan"))
    })
    .await;
    let answer = server
        .send_request(&format!(
            "GET /carts/7?page=2&sort=a%20b HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-request-id: r-1\r\n\
             traceparent: {TRACE}\r\nuser-agent: Firefox/120.0.0.0\r\nx-plan: pro\r\n\r\n"
        ))
        .await;
    assert!(answer.contains("x-request-id: r-1\r\n"), "{answer}");
    let mut event = server.event().await;
    let span_id = event["span_id"].as_str().unwrap().to_owned();
    assert!(answer.contains(&format!(
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-{span_id}-01\r\n"
    )));
    let duration_ms = event["duration_ms"].take().as_f64().unwrap();
    assert!(duration_ms > 0.0 && duration_ms < 60_000.0);
    let timestamp = event["timestamp"].take();
    let age = chrono::Utc::now()
        - timestamp
            .as_str()
            .unwrap()
            .parse::<chrono::DateTime<chrono::Utc>>()
            .unwrap();
    assert!(age.num_seconds().abs() < 60, "{timestamp}");
    assert_eq!(
        event,
        json!({
            "timestamp": null, "kind": "request", "service": "shop", "version": "1.2.3", "deployment_id": "d-7",
            "region": "eu-1", "request_id": "r-1", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": span_id,
            "parent_span_id": "00f067aa0ba902b7", "correlation_id": "4bf92f35-77b3-4da6-a3ce-929d0e0e4736",
            "method": "GET", "route": "/carts/{id}", "http_version": "1.1", "status_code": 200, "outcome": "success",
            "duration_ms": null, "bytes_in": 0, "bytes_out": 5, "path": "/carts/7",
            "query": {"page": "2", "sort": "a b"}, "user_agent": "Firefox/120.0.0.0", "ip": "127.0.0.***",
            "headers": {"x-plan": "pro"},
            "cart": {"currency": "EUR", "items": 2, "lines": ["tea", "milk"]}, "user": {"plan": "pro"},
            "queries": 3, "ids": [7, 8], "deep": true, "in_a_task": 1,
            "sample_rate": 1.0, "sample_reason": "default",
        })
    );
}

#[tokio::test]
async fn invalid_ids_are_replaced_and_the_event_says_so() {
    let server = WideEventServer::start(Router::new().route("/", get(async || "hello"))).await;
    let answer = server
        .send_request(
            "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-request-id: two words\r\ntraceparent: 00-x\r\n\r\n",
        )
        .await;
    let event = server.event().await;
    assert_eq!(event["replaced_ids"], json!(["x-request-id", "traceparent"]));
    let request_id = event["request_id"].as_str().unwrap();
    assert!(answer.contains(&format!("x-request-id: {request_id}\r\n")), "{answer}");
    assert!(!answer.contains("two words"));
}

#[tokio::test]
async fn the_layers_own_fields_cannot_be_set_and_the_event_says_so() {
    let handler = async |event: WideEvent| {
        event
            .set("status_code", 200)
            .set("outcome", "fine")
            .set("ip", "192.0.2.1")
            .enrich(3);
        axum::http::StatusCode::IM_A_TEAPOT
    };
    let server = WideEventServer::start(Router::new().route("/", get(handler))).await;
    server.send_request(&getting("/")).await;
    let event = server.event().await;
    assert_eq!(
        (&event["status_code"], &event["outcome"]),
        (&json!(418), &json!("client_error"))
    );
    // The address can be set, because a handler behind a proxy knows the client's address better.
    assert_eq!(event["ip"], "192.0.2.***");
    assert_eq!(
        event["schema_errors"],
        json!([
            "status_code is a reserved field and was not set",
            "outcome is a reserved field and was not set",
            "only an object can enrich an event",
        ])
    );
}

#[tokio::test]
async fn a_schema_violation_marks_the_event_and_drops_nothing() {
    let schema = json!({
        "required": ["cart"],
        "properties": {"cart": {"properties": {"items": {"type": "integer"}}}, "status_code": {"type": "integer"}},
    });
    let handler = async |event: WideEvent| {
        event.set("cart.items", "two");
        "hello"
    };
    let router = Router::new()
        .route("/", get(handler))
        .route("/none", get(async || "hello"));
    let server =
        WideEventServer::start_with(router, |config| config.schema(Some(EventSchema::new(&schema).unwrap()))).await;
    server.send_request(&getting("/")).await;
    server.send_request(&getting("/none")).await;
    let events = server.wait_for_events_from(2).await;
    assert_eq!(
        events[0]["schema_errors"],
        json!([r#"/cart/items: "two" is not of type "integer""#])
    );
    assert_eq!(
        events[1]["schema_errors"],
        json!([r#": "cart" is a required property"#])
    );
    assert_eq!(events[0]["cart"]["items"], "two");
}

#[tokio::test]
async fn fields_that_are_added_after_the_end_become_a_late_event() {
    let (go_on, gone_on) = oneshot::channel::<()>();
    let gone_on = std::sync::Arc::new(std::sync::Mutex::new(Some(gone_on)));
    let handler = {
        async move |event: WideEvent| {
            let gone_on = gone_on.lock().unwrap().take().unwrap();
            event.set("asked", true);
            tokio::spawn(event.carry(async move {
                gone_on.await.unwrap();
                WideEvent::current()
                    .set("mail.sent", 3)
                    .mark_error(&std::io::Error::other("one bounced"));
            }));
            "hello"
        }
    };
    let server = WideEventServer::start(Router::new().route("/mails", get(handler))).await;
    server.send_request(&getting("/mails")).await;
    let request = server.event().await;
    assert_eq!((&request["asked"], &request["mail"]), (&json!(true), &Value::Null));
    go_on.send(()).unwrap();
    let events = server.wait_for_events_from(2).await;
    let late = &events[1];
    assert_eq!((&late["kind"], &late["outcome"]), (&json!("late"), &json!("error")));
    assert_eq!((&late["mail"], &late["asked"]), (&json!({"sent": 3}), &Value::Null));
    assert_eq!(late["error"]["message"], "one bounced");
    for name in ["request_id", "trace_id", "correlation_id", "route"] {
        assert_eq!(late[name], request[name], "{name}");
    }
    assert_eq!(late["parent_span_id"], request["span_id"]);
}

#[tokio::test]
async fn the_code_of_a_streaming_body_can_enrich_the_event() {
    let body = || {
        Body::from_stream(stream::iter(0..3).map(|n| {
            WideEvent::current().add("rows", 1);
            Ok::<_, std::convert::Infallible>(format!("{n}\n"))
        }))
    };
    use futures_util::StreamExt as _;
    let server = WideEventServer::start(Router::new().route("/", get(async move || body()))).await;
    server.send_request(&getting("/")).await;
    assert_eq!(server.event().await["rows"], 3);
}

#[tokio::test]
async fn outside_of_a_request_an_event_is_discarded() {
    let event = WideEvent::current();
    event.set("a", 1).mark_error(&std::io::Error::other("x"));
    assert!(event.ids().is_none());
    assert_eq!(event.unit("socket", async { 7 }).await, 7);
}

#[tokio::test]
async fn the_event_reports_values_that_are_not_json_or_too_large() {
    let handler = async |event: WideEvent| {
        let no_json = std::collections::BTreeMap::from([((1, 2), 3)]);
        event.set("map", no_json).set("text", "x".repeat(5_000));
        "hello"
    };
    let server = WideEventServer::start_with(Router::new().route("/", get(handler)), |config| {
        config.max_line_bytes(2_000)
    })
    .await;
    server.send_request(&getting("/")).await;
    let event = server.event().await;
    assert_eq!((&event["status_code"], &event["text"]), (&json!(200), &Value::Null));
    let reports = event["schema_errors"].as_array().unwrap();
    let reports: Vec<_> = reports.iter().map(|report| report.as_str().unwrap()).collect();
    assert!(
        reports
            .iter()
            .any(|report| report.contains("map can't be serialized as JSON: a key must be a string")),
        "{reports:?}"
    );
}

#[tokio::test]
async fn a_panic_in_the_sampling_function_loses_no_event() {
    let sampling = Sampling::default().choose(|_| panic!("this test's own panic"));
    let server = WideEventServer::start_with(Router::new().route("/", get(async || "hello")), |config| {
        config.sampling(sampling)
    })
    .await;
    server.send_request(&getting("/")).await;
    let event = server.event().await;
    assert_eq!(event["schema_errors"], json!(["the sampling function panicked"]));
}

#[tokio::test]
async fn sampling_counts_what_it_drops_and_keeps_errors() {
    let router = Router::new()
        .route("/", get(async || "hello"))
        .route("/healthz", get(async || "hello"))
        .route("/down", get(async || axum::http::StatusCode::SERVICE_UNAVAILABLE));
    let sampling = Sampling::default()
        .rate(0.0)
        .route("/healthz", 1.0)
        .slow(Duration::from_secs(3_600));
    let server = WideEventServer::start_with(router, |config| config.sampling(sampling)).await;
    let mut socket = server.connect().await;
    for _ in 0..20 {
        socket.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        read_until(&mut socket, "hello").await;
    }
    drop(socket);
    for path in ["/healthz", "/down"] {
        server.send_request(&getting(path)).await;
    }
    let events = server.wait_for_events_from(22).await;
    let kept: Vec<_> = events
        .iter()
        .map(|event| {
            (
                event["path"].as_str().unwrap(),
                event["sample_reason"].as_str().unwrap(),
                event["sample_rate"].as_f64().unwrap(),
            )
        })
        .collect();
    assert_eq!(kept, [("/healthz", "route", 1.0), ("/down", "error", 1.0),]);
    assert_eq!(server.events.counts().sampled_out, 20);

    // Every request that takes at least this long is slow.
    let sampling = Sampling::default().rate(0.0).slow(Duration::ZERO);
    let router = Router::new().route("/", get(async || "hello"));
    let server = WideEventServer::start_with(router, |config| config.sampling(sampling)).await;
    server.send_request(&getting("/")).await;
    assert_eq!(server.event().await["sample_reason"], "slow");
}

#[tokio::test]
async fn a_handler_that_is_dropped_can_still_enrich_its_event() {
    struct Guard;
    impl Drop for Guard {
        fn drop(&mut self) {
            WideEvent::current().set("given_up", true);
        }
    }
    let begun = std::sync::Arc::new(tokio::sync::Notify::new());
    let handler = {
        let begun = begun.clone();
        async move || -> &'static str {
            let _guard = Guard;
            begun.notify_one();
            std::future::pending().await
        }
    };
    let server = WideEventServer::start(Router::new().route("/", get(handler))).await;
    let mut socket = server.connect().await;
    socket.write_all(getting("/").as_bytes()).await.unwrap();
    begun.notified().await;
    drop(socket);
    let event = server.event().await;
    assert_eq!(
        (&event["outcome"], &event["given_up"]),
        (&json!("aborted_before_response"), &json!(true))
    );
}

#[tokio::test]
async fn late_events_and_other_units_name_their_request() {
    let answered = Arc::new(Notify::new());
    let is_answered = answered.clone();
    let handler = async move |event: WideEvent| {
        event.tag("team.id", 7).set("asked", true);
        tokio::spawn(event.unit("socket", async {
            WideEvent::current().set("heard", 1);
        }))
        .await
        .unwrap();
        let late = event.clone();
        tokio::spawn(async move {
            is_answered.notified().await;
            late.set("mail", "sent");
        });
        "hello"
    };
    let server = WideEventServer::start(Router::new().route("/", get(handler))).await;
    server.send_request(&getting("/")).await;
    server.wait_for_events_from(2).await;
    answered.notify_one();
    let events = server.wait_for_events_from(3).await;
    let kinds: Vec<_> = events.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["socket", "request", "late"]);
    assert!(
        events.iter().all(|event| event["team"] == json!({"id": 7})),
        "{events:#?}"
    );
    assert_eq!((&events[0]["heard"], &events[0]["asked"]), (&json!(1), &Value::Null));
    assert_eq!(
        (&events[2]["mail"], &events[2]["asked"]),
        (&json!("sent"), &Value::Null)
    );
    assert!(events[0]["bytes_out"].is_null());
}

#[tokio::test]
async fn an_unknown_method_is_not_copied() {
    let server = WideEventServer::start(Router::new().route("/", axum::routing::any(async || "hello"))).await;
    server
        .send_request("S3CRET-TOKEN / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await;
    assert_eq!(server.event().await["method"], "_OTHER");
}
