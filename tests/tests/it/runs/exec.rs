//! Tests of `daybook exec`: the program has priority, and its log loses nothing.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST};
use axum::response::{IntoResponse as _, Response};
use daybook_tests::WAIT_LIMIT;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::Connection as _;
use tokio::process::{Child, Command};
use uuid::Uuid;

use super::process::{ServiceFixture, free_port};

/// Returns the command `daybook exec` with these arguments, for the service on a port.
pub fn exec(fixture: &ServiceFixture, port: u16, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_daybook-under-test"));
    fixture.set_environment(&mut command, port, fixture.storage.path());
    command
        .env("DAYBOOK_URL", format!("http://127.0.0.1:{port}"))
        .env("DAYBOOK_TOKEN", &fixture.token)
        .arg("exec")
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

pub async fn output(mut command: Command) -> Output {
    command.spawn().unwrap().wait_with_output().await.unwrap()
}

/// Returns the team's newest run.
pub async fn newest_run(fixture: &ServiceFixture, port: u16) -> Value {
    let (status, page) = fixture.send_request(port, Method::GET, "/runs?limit=1").await.unwrap();
    assert_eq!(status, StatusCode::OK);
    page["items"][0].clone()
}

/// Returns the console lines of a run: stream and message.
async fn console(fixture: &ServiceFixture, port: u16, run: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let log = fixture.log(port, run["id"].as_str().unwrap().parse().unwrap()).await;
    let lines = log.iter().filter(|line| line["type"] == "console.line");
    lines
        .map(|line| (text(&line["payload"]["stream"]), text(&line["payload"]["message"])))
        .collect()
}

pub fn words(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn output_is_printed_and_logged_and_the_exit_code_is_returned() {
    let fixture = ServiceFixture::new().await;
    let port = free_port();
    let service = fixture.serve(port).await;
    let script = "echo one; echo two >&2; printf 'a\\377b\\n'; printf 'no end'; exit 42";
    let done = output(exec(&fixture, port, &["--name", "a script", "--", "sh", "-c", script])).await;
    assert_eq!(done.status.code(), Some(42));
    assert_eq!(done.stdout, b"one\na\xffb\nno end");
    let stderr = words(&done.stderr);
    let run = newest_run(&fixture, port).await;
    let link = format!(
        "daybook exec: http://127.0.0.1:{port}/v1/teams/{}/runs/{}",
        fixture.team.id,
        run["id"].as_str().unwrap()
    );
    assert!(stderr.starts_with(&link) && stderr.ends_with("two\n"), "{stderr}");
    assert_eq!(run["name"], "a script");
    assert_eq!((&run["status"], &run["exit_code"]), (&json!("failed"), &json!(42)));
    let mut messages = console(&fixture, port, &run).await;
    messages.sort();
    let expected = [
        ("stderr", "two"),
        ("stdout", "a\u{FFFD}b"),
        ("stdout", "no end"),
        ("stdout", "one"),
    ];
    assert_eq!(
        messages,
        expected.map(|(stream, words)| (stream.to_owned(), words.to_owned()))
    );

    let done = output(exec(&fixture, port, &["--", "/no/such/program"])).await;
    assert_eq!(done.status.code(), Some(127));
    assert_eq!(newest_run(&fixture, port).await["failure"]["code"], "not-started");
    let done = output(exec(&fixture, port, &["--", "sh", "-c", "kill -KILL $$"])).await;
    assert_eq!(done.status.code(), Some(137));
    assert_eq!(
        newest_run(&fixture, port).await["failure"]["message"],
        "killed by SIGKILL"
    );
    let done = output(exec(&fixture, port, &["--", "true"])).await;
    assert_eq!(done.status.code(), Some(0));
    assert_eq!(newest_run(&fixture, port).await["status"], "succeeded");
    service.stop().await;
}

#[tokio::test]
async fn a_service_that_is_unavailable_for_a_while_receives_every_line() {
    let fixture = ServiceFixture::new().await;
    let port = free_port();
    // The service is unavailable at the start and once during the run.
    let script = "for i in $(seq 1 300); do echo line $i; sleep 0.01; done; exit 5";
    let running = exec(&fixture, port, &["--", "sh", "-c", script]).spawn().unwrap();
    let service = fixture.serve(port).await;
    daybook_tests::eventually("the first lines", async || {
        let (_, page) = fixture.send_request(port, Method::GET, "/runs").await.unwrap();
        match page["items"][0]["id"].as_str() {
            Some(run) => fixture.log(port, run.parse().unwrap()).await.len() > 20,
            None => false,
        }
    })
    .await;
    service.kill().await;
    let service = fixture.serve(port).await;
    let done = running.wait_with_output().await.unwrap();
    assert_eq!(done.status.code(), Some(5));
    let run = newest_run(&fixture, port).await;
    assert_eq!(run["exit_code"], 5);
    let messages: Vec<_> = console(&fixture, port, &run)
        .await
        .into_iter()
        .map(|(_, words)| words)
        .collect();
    let expected: Vec<_> = (1..=300).map(|number| format!("line {number}")).collect();
    assert_eq!(messages, expected);
    service.stop().await;
}

#[tokio::test]
async fn a_service_that_is_unavailable_until_the_program_has_ended_receives_every_line() {
    let fixture = ServiceFixture::new().await;
    let port = free_port();
    let ended = fixture.storage.path().join("ended");
    let script = format!("seq 1 300; touch '{}'; exit 5", ended.display());
    let running = exec(&fixture, port, &["--", "sh", "-c", &script]).spawn().unwrap();
    daybook_tests::eventually("the program's end", async || ended.exists()).await;
    let service = fixture.serve(port).await;
    let done = running.wait_with_output().await.unwrap();
    assert_eq!(done.status.code(), Some(5), "{}", words(&done.stderr));
    let run = newest_run(&fixture, port).await;
    assert_eq!((&run["status"], &run["exit_code"]), (&json!("failed"), &json!(5)));
    let messages = console(&fixture, port, &run).await;
    let expected = (1..=300).map(|number| ("stdout".to_owned(), number.to_string()));
    assert_eq!(messages, expected.collect::<Vec<_>>());
    service.stop().await;
}

/// Starts a gateway in front of the service on a port. It loses the first response to a POST to each path: the service
/// has done its work, and the client doesn't know. Returns the gateway's port, and the paths whose response was lost.
async fn lossy_gateway(service: u16) -> (u16, Arc<Mutex<BTreeSet<String>>>) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let lost = Arc::<Mutex<BTreeSet<String>>>::default();
    let losing = lost.clone();
    let forward = async move |request: Request| -> Response {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let mut headers = parts.headers;
        headers.remove(HOST);
        headers.remove(CONTENT_LENGTH);
        let url = format!("http://127.0.0.1:{service}{}", parts.uri);
        let sent = http.request(parts.method.clone(), url).headers(headers).body(body);
        let answer = sent.send().await.unwrap();
        let status = answer.status();
        let path = parts.uri.path().to_owned();
        if parts.method == Method::POST && status.is_success() && losing.lock().unwrap().insert(path) {
            return StatusCode::GATEWAY_TIMEOUT.into_response();
        }
        let kind = answer.headers()[CONTENT_TYPE].clone();
        (
            status,
            [(CONTENT_TYPE, kind)],
            Body::from(answer.bytes().await.unwrap()),
        )
            .into_response()
    };
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(forward)).await });
    (port, lost)
}

#[tokio::test]
async fn requests_whose_responses_are_lost_begin_one_run_and_store_each_line_once() {
    let fixture = ServiceFixture::new().await;
    let port = free_port();
    let service = fixture.serve(port).await;
    let (gateway, lost) = lossy_gateway(port).await;
    let done = output(exec(&fixture, gateway, &["--", "sh", "-c", "seq 1 20; exit 4"])).await;
    assert_eq!(done.status.code(), Some(4), "{}", words(&done.stderr));
    let (_, runs) = fixture.send_request(port, Method::GET, "/runs").await.unwrap();
    assert_eq!(runs["items"].as_array().unwrap().len(), 1, "{runs}");
    let run = &runs["items"][0];
    assert_eq!((&run["status"], &run["exit_code"]), (&json!("failed"), &json!(4)));
    let messages = console(&fixture, port, run).await;
    let expected = (1..=20).map(|number| ("stdout".to_owned(), number.to_string()));
    assert_eq!(messages, expected.collect::<Vec<_>>());
    let team = format!("/v1/teams/{}/runs", fixture.team.id);
    let id = run["id"].as_str().unwrap();
    let expected = ["", &format!("/{id}/complete"), &format!("/{id}/events")].map(|path| format!("{team}{path}"));
    assert_eq!(*lost.lock().unwrap(), BTreeSet::from(expected));
    service.stop().await;
}

#[tokio::test]
async fn the_program_runs_without_a_service_or_a_token() {
    let fixture = ServiceFixture::new().await;
    let port = free_port();
    let done = output(exec(
        &fixture,
        port,
        &["--patience", "0", "--", "sh", "-c", "echo here; exit 3"],
    ))
    .await;
    assert_eq!((done.status.code(), &done.stdout[..]), (Some(3), &b"here\n"[..]));
    assert!(words(&done.stderr).contains("were not sent"), "{}", words(&done.stderr));
    let mut command = exec(&fixture, port, &["--", "sh", "-c", "echo here; exit 3"]);
    command.env_remove("DAYBOOK_TOKEN");
    let done = output(command).await;
    assert_eq!((done.status.code(), &done.stdout[..]), (Some(3), &b"here\n"[..]));
    assert!(words(&done.stderr).contains("no token"), "{}", words(&done.stderr));
    let service = fixture.serve(port).await;
    let mut command = exec(&fixture, port, &["--", "sh", "-c", "echo here; exit 3"]);
    command.env("DAYBOOK_TOKEN", "nonsense");
    let done = output(command).await;
    assert_eq!((done.status.code(), &done.stdout[..]), (Some(3), &b"here\n"[..]));
    assert!(words(&done.stderr).contains("401"), "{}", words(&done.stderr));
    service.stop().await;
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap())
}

#[tokio::test]
async fn signals_are_forwarded_to_the_program() {
    let fixture = ServiceFixture::new().await;
    let port = free_port();
    let service = fixture.serve(port).await;
    let script = "trap 'echo caught; exit 9' TERM USR1; echo ready; while :; do sleep 0.02; done";
    for signal in [Signal::SIGTERM, Signal::SIGUSR1] {
        let running = exec(&fixture, port, &["--", "sh", "-c", script]).spawn().unwrap();
        daybook_tests::eventually("the program is ready", async || {
            let run = newest_run(&fixture, port).await;
            run["status"] == "running" && !console(&fixture, port, &run).await.is_empty()
        })
        .await;
        kill(pid(&running), signal).unwrap();
        let done = running.wait_with_output().await.unwrap();
        assert_eq!(
            (done.status.code(), words(&done.stdout)),
            (Some(9), "ready\ncaught\n".to_owned())
        );
        assert_eq!(newest_run(&fixture, port).await["exit_code"], 9);
    }
    service.stop().await;
}

/// Returns the number of requests that the service refused with a client error.
async fn refused_requests(fixture: &ServiceFixture, port: u16) -> u64 {
    let url = format!("http://127.0.0.1:{port}/metrics");
    let text = fixture.http.get(url).send().await.unwrap().text().await.unwrap();
    let name = "daybook_requests_ended_total{outcome=\"client_error\"} ";
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.parse().unwrap()
}

#[tokio::test]
async fn a_cancelled_run_ends_its_program_although_its_log_ends_first() {
    let fixture = ServiceFixture::new().await;
    let port = free_port();
    let service = fixture.serve(port).await;
    let script = "echo ready; while :; do echo more; sleep 0.02; done";
    let running = exec(&fixture, port, &["--", "sh", "-c", script]).spawn().unwrap();
    let mut run = Value::Null;
    daybook_tests::eventually("the program is ready", async || {
        run = newest_run(&fixture, port).await;
        run["status"] == "running" && !console(&fixture, port, &run).await.is_empty()
    })
    .await;
    let id: Uuid = run["id"].as_str().unwrap().parse().unwrap();

    // The log has ended, but the row is locked, so it can't be updated yet. The program's next lines arrive in this
    // state.
    let mut connection = fixture.team.connection().await;
    let mut open_transaction = connection.begin().await.unwrap();
    sqlx::query("SELECT FROM runs WHERE id = $1 FOR UPDATE")
        .bind(id)
        .fetch_one(&mut *open_transaction)
        .await
        .unwrap();
    let refused_before = refused_requests(&fixture, port).await;
    let nothing = json!({});
    let path = format!("/runs/{id}/cancel");
    let cancelling = fixture.post(port, &path, &nothing);
    let release_row = async {
        daybook_tests::eventually("the log's end", async || {
            fixture.log(port, id).await.last().unwrap()["type"] == "run.completed"
        })
        .await;
        daybook_tests::eventually("refused lines", async || {
            refused_requests(&fixture, port).await > refused_before
        })
        .await;
        assert_eq!(newest_run(&fixture, port).await["status"], "running");
        open_transaction.commit().await.unwrap();
    };
    let (cancelled, ()) = tokio::join!(cancelling, release_row);
    assert_eq!(cancelled.unwrap().0, StatusCode::OK);
    let done = tokio::time::timeout(WAIT_LIMIT, running.wait_with_output()).await;
    let done = done.expect("the program ends").unwrap();
    assert_eq!(done.status.code(), Some(143), "{}", words(&done.stderr));
    assert_eq!(newest_run(&fixture, port).await["status"], "cancelled");
    service.stop().await;
}
