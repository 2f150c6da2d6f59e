//! Tests of writing lines: each is kept once, and invalid lines are rejected.

use std::io::Write as _;
use std::time::{Duration, Instant};

use axum::http::{Method, StatusCode};
use daybook::tenancy::Role;
use daybook::testing::TestDb;
use daybook_tests::eventually;
use daybook_tests::http::{Client, TestApp, TestRequest, sample_program};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::{append, console, log, ndjson, run, texts};

fn numbered(client: &Client, run: &str, epoch: u64, seq: u64, lines: &[Value]) -> TestRequest {
    append(client, run, lines)
        .header("writer-id", "exec")
        .header("writer-epoch", &epoch.to_string())
        .header("writer-seq", &seq.to_string())
}

#[tokio::test]
async fn lines_that_a_writer_sends_again_are_kept_once() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Member).await;
    let run = run(&ada).await;
    numbered(&ada, &run, 1, 1, &[console("a"), console("b")]).await.ok();
    let again = numbered(&ada, &run, 1, 1, &[console("a"), console("b"), console("c")])
        .await
        .ok();
    assert_eq!((&again["appended"], &again["duplicates"]), (&json!(1), &json!(2)));
    let gap = numbered(&ada, &run, 1, 9, &[console("i")]).await;
    let gap = gap.problem(StatusCode::CONFLICT, "writer-gap");
    assert!(gap["detail"].as_str().unwrap().contains("seq 4"), "{gap}");
    numbered(&ada, &run, 2, 1, &[console("d")]).await.ok();
    numbered(&ada, &run, 1, 4, &[console("x")])
        .await
        .problem(StatusCode::CONFLICT, "writer-fenced");
    assert_eq!(texts(&log(&ada, &run).await)[2..], ["a", "b", "c", "d"]);
    // An empty request is a heartbeat of the writer.
    let beat = numbered(&ada, &run, 2, 2, &[]).await.ok();
    assert_eq!((&beat["appended"], &beat["last_sequence"]), (&json!(0), &json!(6)));
    for (name, value) in [("writer-id", "a b"), ("writer-epoch", "0"), ("writer-seq", "x")] {
        let wrong = numbered(&ada, &run, 2, 2, &[console("x")]).header(name, value).await;
        assert_eq!(wrong.wrong_fields().len(), 1, "{name}");
    }
}

#[tokio::test]
async fn an_invalid_line_is_rejected_and_the_lines_before_it_are_kept() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Member).await;
    let run = run(&ada).await;
    let events = format!("{run}/events");
    let post = |body: String| {
        ada.team_request(Method::POST, &events)
            .header("content-type", "application/x-ndjson")
            .body(body)
    };
    let body = format!(
        "{}\n\n{}\n{{\"type\": 7}}\n{}\n",
        console("a"),
        console("b"),
        console("c")
    );
    let problem = post(body).await.problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid");
    assert_eq!(problem["errors"][0]["field"], "line 4: type");
    let detail = problem["errors"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("the lines before it are kept, as 3 to 4"), "{detail}");
    assert_eq!(texts(&log(&ada, &run).await)[2..], ["a", "b"]);

    let long = format!(
        "{{\"type\":\"x\",\"payload\":{{\"message\":\"{}\"}}}}",
        "x".repeat(300_000)
    );
    for body in [format!("{long}\n"), long.clone()] {
        let problem = post(body).await.problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid");
        assert!(
            problem["errors"][0]["detail"].as_str().unwrap().contains("262144"),
            "{problem}"
        );
    }
    for (kind, body, status) in [
        ("text/plain", "{}", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("application/json", "", StatusCode::BAD_REQUEST),
        ("application/json", "{\"type\":", StatusCode::BAD_REQUEST),
        ("application/json", "[]", StatusCode::UNPROCESSABLE_ENTITY),
        (
            "application/json",
            "{\"type\":\"run.completed\"}",
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        ("application/x-ndjson", "\u{0}\n", StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        let answer = ada
            .team_request(Method::POST, &events)
            .header("content-type", kind)
            .body(body)
            .await;
        answer.is(status);
    }
    assert_eq!(log(&ada, &run).await.len(), 4);
}

#[tokio::test]
async fn a_body_may_last_as_long_as_the_run_and_its_complete_lines_are_kept_after_a_cut() {
    // The body takes longer than an ordinary request may.
    let (limit, began) = (Duration::from_secs(2), Instant::now());
    let db = TestDb::with_migrations(sample_program().migrations().clone()).await;
    let options = db.options();
    let app = TestApp::start_program_with_timeout(limit, sample_program(), db, options).await;
    let ada = app.member("ada", Role::Member).await;
    let run = run(&ada).await;
    let address = app.serve(|router| router).await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    let mut head = Vec::new();
    write!(
        head,
        "POST /v1/teams/{}{run}/events HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\n\
         content-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n",
        ada.team_id,
        ada.credential.as_deref().unwrap()
    )
    .unwrap();
    socket.write_all(&head).await.unwrap();
    let mut sent = 0;
    while sent < 2 || began.elapsed() < limit * 2 {
        sent += 1;
        let message = sent.to_string();
        let line = ndjson(&[console(&message)]);
        let chunk = format!("{:x}\r\n{line}\r\n", line.len());
        socket.write_all(chunk.as_bytes()).await.unwrap();
        eventually("the line that was sent", async || {
            texts(&log(&ada, &run).await).last() == Some(&message)
        })
        .await;
    }
    socket
        .write_all(b"20\r\n{\"type\":\"console.line\",\"pay")
        .await
        .unwrap();
    drop(socket);
    append(&ada, &run, &[console("after")]).await.ok();
    let mut expected: Vec<String> = (1..=sent).map(|number| number.to_string()).collect();
    expected.push("after".to_owned());
    assert_eq!(texts(&log(&ada, &run).await)[2..], expected);
}

#[tokio::test]
async fn the_lines_of_a_body_in_chunks_are_numbered_across_the_chunks() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Member).await;
    let run = run(&ada).await;
    let address = app.serve(|router| router).await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v1/teams/{}{run}/events HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\n\
         content-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\
         writer-id: exec\r\nwriter-epoch: 1\r\nwriter-seq: 1\r\n\r\n",
        ada.team_id,
        ada.credential.as_deref().unwrap()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    for piece in [["a", "b"], ["c", "d"]] {
        let lines = ndjson(&piece.map(console));
        let chunk = format!("{:x}\r\n{lines}\r\n", lines.len());
        socket.write_all(chunk.as_bytes()).await.unwrap();
        eventually("the lines of the chunk", async || {
            texts(&log(&ada, &run).await).last().map(String::as_str) == Some(piece[1])
        })
        .await;
    }
    let again = numbered(&ada, &run, 1, 3, &[console("c"), console("d"), console("e")])
        .await
        .ok();
    assert_eq!((&again["appended"], &again["duplicates"]), (&json!(1), &json!(2)));
}
