//! Tests of runs over HTTP: writing and reading their lines, and how they end.

mod clients;
mod disks;
mod dropped_calls;
mod exec;
mod expiry;
mod jobs;
mod killed;
mod leases;
mod lifecycle;
mod limits;
mod lost;
mod output;
pub mod process;
mod processes;
mod reading;
mod slow;
pub mod sse;
mod writing;

use daybook_tests::http::{Client, TestRequest};
use serde_json::{Value, json};

/// Starts a run of the team Acme, and returns its path.
pub async fn run(client: &Client) -> String {
    let run = client.post("/runs", json!({"name": "nightly import"})).await.ok();
    format!("/runs/{}", run["id"].as_str().unwrap())
}

/// Encodes lines as NDJSON.
fn ndjson(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

pub fn console(message: &str) -> Value {
    json!({"type": "console.line", "payload": {"stream": "stdout", "level": "info", "message": message}})
}

/// Appends several lines in one request.
pub fn append(client: &Client, run: &str, lines: &[Value]) -> TestRequest {
    client
        .team_request(axum::http::Method::POST, &format!("{run}/events"))
        .header("content-type", "application/x-ndjson")
        .body(ndjson(lines))
}

/// Returns a complete log, read as NDJSON.
async fn log(client: &Client, run: &str) -> Vec<Value> {
    let answer = client
        .get(&format!("{run}/events"))
        .header("accept", "application/x-ndjson")
        .await;
    assert!(answer.status.is_success(), "{answer:?}");
    let text = answer.text();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Returns a short text for each line: the message of a console line, or the type.
fn texts(lines: &[Value]) -> Vec<String> {
    let word = |line: &Value| {
        let message = line["payload"]["message"].as_str();
        message.or_else(|| line["type"].as_str()).unwrap().to_owned()
    };
    lines.iter().map(word).collect()
}

/// Returns the file of a run's log.
fn file_of(app: &daybook_tests::http::TestApp, run: &str) -> std::path::PathBuf {
    let folder = app.storage.path().join("workspaces").join(app.team.id.to_string());
    folder.join(run.trim_start_matches('/')).join("logs/events.ndjson")
}
