//! Tests of reading logs: in three formats, from any line, during and after the run.

use axum::http::{Method, StatusCode};
use daybook::tenancy::Role;
use daybook_tests::http::TestApp;
use serde_json::{Value, json};

use super::sse::{Events, event};
use super::{append, console, log, run, texts};

#[tokio::test]
async fn a_reader_of_a_growing_log_receives_every_line_once_and_its_end() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Member).await;
    let run = run(&ada).await;
    append(&ada, &run, &[console("a"), console("b")]).await.ok();
    let address = app.serve(|router| router).await;
    let mut all = Events::open(&address, &ada, &format!("{run}/events"), &[]).await;
    let mut later = Events::open(&address, &ada, &format!("{run}/events?after_sequence=3"), &[]).await;
    let mut again = Events::open(
        &address,
        &ada,
        &format!("{run}/events?from_sequence=1"),
        &[("last-event-id", "4")],
    )
    .await;
    let (sequence, line) = event(&all.next().await.unwrap());
    assert_eq!((sequence, line["type"].as_str()), (1, Some("run.queued")));
    for expected in 2..=4 {
        assert_eq!(event(&all.next().await.unwrap()).0, expected);
    }
    assert_eq!(event(&later.next().await.unwrap()).0, 4);
    for round in 0..50 {
        let lines: Vec<_> = (0..10).map(|at| console(&format!("{round} {at}"))).collect();
        append(&ada, &run, &lines).await.ok();
    }
    ada.post(&format!("{run}/complete"), json!({"status": "succeeded"}))
        .await
        .ok();
    for (reader, first) in [(&mut all, 5), (&mut later, 5), (&mut again, 5)] {
        for expected in first..=505 {
            assert_eq!(event(&reader.next().await.unwrap()).0, expected);
        }
        let end = reader.next().await.unwrap();
        assert_eq!(end.name.as_deref(), Some("end"));
        assert!(reader.next().await.is_none());
    }
    // A browser that reconnects after the end receives a response that stops it from reconnecting.
    let over = ada
        .get(&format!("{run}/events"))
        .header("accept", "text/event-stream")
        .header("last-event-id", "505");
    over.await.is(StatusCode::NO_CONTENT);
    let over = ada
        .get(&format!("{run}/events?stream=true"))
        .header("last-event-id", "504")
        .await;
    assert!(over.text().contains("id: 505\n") && over.text().ends_with("event: end\ndata: {}\n\n"));
}

#[tokio::test]
async fn a_run_created_with_stream_returns_its_lines() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Member).await;
    let address = app.serve(|router| router).await;
    let mut events = Events::post(&address, &ada, "/runs?stream=true", json!({"name": "nightly"})).await;
    let run = events.location.clone().unwrap();
    let run = &run[run.find("/runs/").unwrap()..];
    assert_eq!(event(&events.next().await.unwrap()).1["type"], "run.queued");
    assert_eq!(event(&events.next().await.unwrap()).1["type"], "run.started");
    append(&ada, run, &[console("a")]).await.ok();
    assert_eq!(event(&events.next().await.unwrap()).0, 3);
    ada.post(&format!("{run}/cancel"), json!({})).await.ok();
    assert_eq!(event(&events.next().await.unwrap()).1["payload"]["status"], "cancelled");
    assert_eq!(events.next().await.unwrap().name.as_deref(), Some("end"));
}

#[tokio::test]
async fn a_log_is_read_in_pages_and_with_filters() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Member).await;
    let run = run(&ada).await;
    let lines: Vec<Value> = (0..30)
        .map(|at| {
            let level = ["debug", "info", "warn", "error"][at % 4];
            json!({"type": if at % 2 == 0 { "console.line" } else { "step.done" }, "payload": {"level": level, "message": at.to_string()}})
        })
        .collect();
    append(&ada, &run, &lines).await.ok();
    let page = async |query: &str| ada.get(&format!("{run}/events{query}")).await.ok();
    let first = page("?limit=20").await;
    assert_eq!(first["items"].as_array().unwrap().len(), 20);
    assert_eq!(
        (&first["next_after_sequence"], &first["more"], &first["ended"]),
        (&json!(20), &json!(true), &json!(false))
    );
    let second = page("?limit=20&after_sequence=20").await;
    assert_eq!(second["items"][0]["sequence"], 21);
    assert_eq!(
        (&second["next_after_sequence"], &second["more"]),
        (&json!(32), &json!(false))
    );
    let none = page("?after_sequence=32").await;
    assert_eq!((&none["items"], &none["next_after_sequence"]), (&json!([]), &json!(32)));

    let found = async |query: &str| page(query).await["items"].as_array().unwrap().len();
    assert_eq!(found("?type=step.done").await, 15);
    assert_eq!(found("?type=run.*").await, 2);
    assert_eq!(found("?type=run.queued,console.line").await, 16);
    assert_eq!(found("?level=warning").await, 14);
    assert_eq!(found("?level=error&type=step.done").await, 7);
    // Filtered pages continue at the right line, too.
    let first = page("?type=step.done&limit=10").await;
    let next = first["next_after_sequence"].as_u64().unwrap();
    assert_eq!(found(&format!("?type=step.done&after_sequence={next}")).await, 5);
    let filtered = ada
        .get(&format!("{run}/events?level=error"))
        .header("accept", "application/x-ndjson")
        .await;
    assert_eq!(filtered.text().lines().count(), 7);
    let ended = ada.post(&format!("{run}/cancel"), json!({})).await.ok();
    assert_eq!(page("").await["ended"], true);
    assert_eq!(ended["log"]["lines"], 33);

    for (query, field) in [
        ("?limit=0", "limit"),
        ("?limit=1001", "limit"),
        ("?from_sequence=x", "from_sequence"),
        ("?from_sequence=1&after_sequence=1", "after_sequence"),
        ("?level=loud", "level"),
        ("?whatever=1", "whatever"),
    ] {
        assert_eq!(
            ada.get(&format!("{run}/events{query}")).await.wrong_fields(),
            [field],
            "{query}"
        );
    }
    let wrong = ada.get(&format!("{run}/events")).header("last-event-id", "x").await;
    assert_eq!(wrong.wrong_fields(), ["Last-Event-ID"]);
}

#[tokio::test]
async fn ndjson_can_be_read_by_ranges() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Member).await;
    let run = run(&ada).await;
    let lines: Vec<_> = (0..2_000).map(|at| console(&format!("line {at}"))).collect();
    append(&ada, &run, &lines).await.ok();
    let send = || {
        ada.get(&format!("{run}/events"))
            .header("accept", "application/x-ndjson")
    };
    let grows = send().await.is(StatusCode::OK);
    assert_eq!(grows.header("etag"), None);
    assert_eq!(grows.header("content-length").unwrap(), grows.body.len().to_string());
    ada.post(&format!("{run}/complete"), json!({"status": "succeeded"}))
        .await
        .ok();
    let whole = send().await.is(StatusCode::OK);
    let etag = whole.header("etag").unwrap();
    let total = whole.body.len();
    assert!(whole.body.starts_with(&grows.body) && total > 500_000);

    for (range, span) in [
        ("bytes=0-99", 0..100),
        ("bytes=100-", 100..total),
        ("bytes=-50", total - 50..total),
        ("bytes=5-999999999", 5..total),
    ] {
        let part = send().header("range", range).await.is(StatusCode::PARTIAL_CONTENT);
        assert_eq!(part.body, whole.body[span.clone()], "{range}");
        let content_range = format!("bytes {}-{}/{total}", span.start, span.end - 1);
        assert_eq!(part.header("content-range").unwrap(), content_range);
    }
    let resumed = send().header("range", "bytes=100-").header("if-range", &etag).await;
    resumed.is(StatusCode::PARTIAL_CONTENT);
    send()
        .header("range", "bytes=100-")
        .header("if-range", "\"other\"")
        .await
        .is(StatusCode::OK);
    send().header("range", "bytes=1-2,4-5").await.is(StatusCode::OK);
    let beyond = send().header("range", &format!("bytes={total}-")).await;
    assert_eq!(beyond.header("content-range").unwrap(), format!("bytes */{total}"));
    beyond.is(StatusCode::RANGE_NOT_SATISFIABLE);
    // The log can also be read from a given line.
    let rest = ada
        .get(&format!("{run}/events?from_sequence=1500"))
        .header("accept", "application/x-ndjson")
        .await;
    assert_eq!(rest.text().lines().count(), 2_003 - 1_499);
    let first: Value = serde_json::from_str(rest.text().lines().next().unwrap()).unwrap();
    assert_eq!(first["sequence"], 1_500);
    assert!(whole.body.ends_with(&rest.body));
    assert!(rest.header("etag").is_none());
}

#[tokio::test]
async fn byte_ranges_refer_to_the_requested_lines() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Member).await;
    let run = run(&ada).await;
    let lines: Vec<_> = (0..200).map(|at| console(&format!("line {at}"))).collect();
    append(&ada, &run, &lines).await.ok();
    for (query, headers) in [
        ("?from_sequence=100", None),
        ("?after_sequence=99", None),
        ("?from_sequence=5", Some("99")),
    ] {
        let send = || {
            let send = ada
                .get(&format!("{run}/events{query}"))
                .header("accept", "application/x-ndjson");
            match headers {
                Some(last) => send.header("last-event-id", last),
                None => send,
            }
        };
        let whole = send().await.is(StatusCode::OK).body;
        assert!(
            String::from_utf8_lossy(&whole)
                .lines()
                .next()
                .unwrap()
                .contains("\"sequence\":100,")
        );
        let total = whole.len();
        for (range, span) in [
            ("bytes=0-9", 0..10),
            ("bytes=100-", 100..total),
            ("bytes=-50", total - 50..total),
        ] {
            let part = send().header("range", range).await.is(StatusCode::PARTIAL_CONTENT);
            assert_eq!(part.body, whole[span.clone()], "{query} {range}");
            let content_range = format!("bytes {}-{}/{total}", span.start, span.end - 1);
            assert_eq!(part.header("content-range").unwrap(), content_range);
        }
        let beyond = send().header("range", &format!("bytes={total}-")).await;
        assert_eq!(beyond.header("content-range").unwrap(), format!("bytes */{total}"));
        beyond.is(StatusCode::RANGE_NOT_SATISFIABLE);
    }
}

#[tokio::test]
async fn ndjson_can_be_followed() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Member).await;
    let run = run(&ada).await;
    let following = tokio::spawn({
        let send = ada
            .get(&format!("{run}/events?follow=true"))
            .header("accept", "application/x-ndjson");
        async move { send.await.text() }
    });
    for at in 0..20 {
        append(&ada, &run, &[console(&at.to_string())]).await.ok();
    }
    ada.post(&format!("{run}/complete"), json!({"status": "succeeded"}))
        .await
        .ok();
    assert_eq!(following.await.unwrap().lines().count(), 23);
}

#[tokio::test]
async fn a_ticket_reads_one_run() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Viewer).await;
    let bob = app.member("bob", Role::Member).await;
    let (one, other) = (run(&bob).await, run(&bob).await);
    let ticket = ada
        .team_request(Method::POST, &format!("{one}/tickets"))
        .await
        .is(StatusCode::CREATED)
        .json();
    let ticket = ticket["ticket"].as_str().unwrap();
    let nobody = app.anonymous();
    for _ in 0..2 {
        let page = nobody.get(&format!("{one}/events?ticket={ticket}")).await.ok();
        assert_eq!(page["items"].as_array().unwrap().len(), 2);
    }
    nobody
        .get(&format!("{other}/events?ticket={ticket}"))
        .await
        .is(StatusCode::UNAUTHORIZED);
    nobody
        .get(&format!("{one}/events?ticket=x"))
        .await
        .is(StatusCode::UNAUTHORIZED);
    nobody.get(&format!("{one}/events")).await.is(StatusCode::UNAUTHORIZED);
    // It does not open a live socket.
    nobody
        .get(&format!("/live?ticket={ticket}"))
        .await
        .is(StatusCode::UNAUTHORIZED);
    // It is valid only as long as its creator has access.
    let owner = app.member("olga", Role::Owner).await;
    owner.delete(&format!("/members/{}", ada.id())).await.ok();
    nobody
        .get(&format!("{one}/events?ticket={ticket}"))
        .await
        .is(StatusCode::NOT_FOUND);
    assert_eq!(texts(&log(&bob, &one).await), ["run.queued", "run.started"]);
}

#[tokio::test]
async fn a_page_of_long_lines_is_limited_in_bytes_and_the_next_one_continues() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Member).await;
    let run = run(&ada).await;
    let lines = 20_u64;
    for number in 0..lines {
        let message = format!("{number} {}", "x".repeat(150_000));
        append(&ada, &run, &[console(&message)]).await.ok();
    }
    let (mut after, mut read, mut pages) = (0, 0, 0);
    let mut seen = Vec::new();
    loop {
        let answer = ada.get(&format!("{run}/events?after_sequence={after}")).await;
        assert!(answer.body.len() < (1 << 20) + 10_000, "{} bytes", answer.body.len());
        let page = answer.ok();
        let items = page["items"].as_array().unwrap();
        assert!(!items.is_empty(), "a page has at least one line");
        read += items.iter().filter(|item| item["type"] == "console.line").count();
        seen.push((
            after,
            items.iter().map(|item| item["sequence"].as_u64()).collect::<Vec<_>>(),
        ));
        pages += 1;
        after = page["next_after_sequence"].as_u64().unwrap();
        if page["more"] == false {
            break;
        }
    }
    assert_eq!(read as u64, lines, "each line is returned once: {seen:?}");
    assert!(pages >= 3, "{pages}");
}

#[tokio::test]
async fn lines_that_are_not_committed_are_not_read() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Member).await;
    let run = run(&ada).await;
    append(&ada, &run, &[console("a")]).await.ok();
    // The state of the file before a commit is acknowledged.
    let file = super::file_of(&app, &run);
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes
        .split_inclusive(|byte| *byte == b'\n')
        .next_back()
        .unwrap()
        .to_vec();
    bytes.extend_from_slice(&last);
    std::fs::write(&file, &bytes).unwrap();
    assert_eq!(texts(&log(&ada, &run).await)[2..], ["a"]);
    let page = ada.get(&format!("{run}/events")).await.ok();
    assert_eq!(page["items"].as_array().unwrap().len(), 3);
    append(&ada, &run, &[console("b")]).await.ok();
    assert_eq!(texts(&log(&ada, &run).await)[2..], ["a", "b"]);
}
