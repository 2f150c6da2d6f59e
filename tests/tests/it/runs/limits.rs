//! Tests of the limits for one member's unfinished runs: file descriptors, and the number of runs.

use std::fs;
use std::path::Path;

use daybook::tenancy::Role;
use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::process::Command;

use super::process::{Service, ServiceFixture, free_port};

/// Maximum number of file descriptors of the service, and of its open logs.
const DESCRIPTORS: usize = 200;
const OPEN_LOGS: usize = 16;
/// Number of unfinished runs: more than there are descriptors.
const RUNS: usize = 260;

/// Returns the number of a process's descriptors for logs.
fn open_logs(pid: i32, storage: &Path) -> usize {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let targets = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    targets
        .filter(|target| target.starts_with(storage) && target.ends_with("events.ndjson"))
        .count()
}

async fn serve_with_few_descriptors(fixture: &ServiceFixture, port: u16) -> Service {
    let mut command = Command::new("sh");
    fixture.set_environment(&mut command, port, fixture.storage.path());
    command
        .env("DAYBOOK_OPEN_LOGS", OPEN_LOGS.to_string())
        .env("DAYBOOK_POOL_SIZE", "4")
        .args(["-c", &format!("ulimit -n {DESCRIPTORS} && exec \"$0\" serve")])
        .arg(env!("CARGO_BIN_EXE_daybook-under-test"));
    Service::start(command, port).await
}

#[tokio::test]
async fn unfinished_runs_of_one_member_take_no_descriptors_from_others() {
    let fixture = ServiceFixture::new().await;
    let port = free_port();
    let service = serve_with_few_descriptors(&fixture, port).await;
    let new = json!({"name": "never ends", "lost_after_seconds": 86_400});
    let mut runs = Vec::with_capacity(RUNS);
    for _ in 0..RUNS / 20 {
        let begun = join_all((0..20).map(|_| fixture.run(port, new.clone()))).await;
        runs.extend(begun);
        // The log of a started run is open only for a while.
        daybook_tests::eventually("few descriptors after a batch", async || {
            open_logs(service.pid(), fixture.storage.path()) <= OPEN_LOGS
        })
        .await;
    }
    // Another run works as usual.
    let other = fixture.run(port, json!({"name": "import"})).await;
    for seq in 1..=20 {
        let (status, answer) = fixture.send(fixture.line(port, other, seq)).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
    assert_eq!(fixture.log(port, other).await.len(), 22);
    fixture.complete(port, other).await;
    // The other runs continue, too, each at its last line.
    for batch in runs.chunks(20) {
        let sent = batch.iter().map(|run| fixture.send(fixture.line(port, *run, 1)));
        for sent in join_all(sent).await {
            let (status, answer) = sent.unwrap();
            assert_eq!(status, StatusCode::OK, "{answer}");
            assert_eq!(answer["last_sequence"], 3);
        }
    }
    daybook_tests::eventually("few descriptors", async || {
        open_logs(service.pid(), fixture.storage.path()) <= OPEN_LOGS
    })
    .await;
    // No line is lost when the process is killed.
    service.kill().await;
    let service = serve_with_few_descriptors(&fixture, port).await;
    for run in runs.iter().step_by(13) {
        let (status, answer) = fixture.send(fixture.line(port, *run, 2)).await.unwrap();
        assert_eq!(
            (status, &answer["last_sequence"]),
            (StatusCode::OK, &json!(4)),
            "{answer}"
        );
        assert_eq!(fixture.log(port, *run).await.len(), 4);
    }
    service.stop().await;
}

#[tokio::test]
async fn finished_runs_leave_no_descriptor_behind() {
    let fixture = ServiceFixture::new().await;
    let port = free_port();
    let service = serve_with_few_descriptors(&fixture, port).await;
    for _ in 0..RUNS / 20 {
        let work = (0..20).map(async |_| {
            let run = fixture.run(port, json!({"name": "short"})).await;
            fixture.complete(port, run).await;
        });
        join_all(work).await;
    }
    let (status, page) = fixture.send_request(port, Method::GET, "/runs?limit=1").await.unwrap();
    assert_eq!(
        (status, &page["items"][0]["status"]),
        (StatusCode::OK, &json!("succeeded"))
    );
    service.stop().await;
}

#[tokio::test]
async fn the_number_of_a_teams_unfinished_runs_is_limited() {
    let fixture = ServiceFixture::new().await;
    let other = fixture.db.team("Other").await;
    other.member("ada", Role::Owner).await;
    let port = free_port();
    let mut command = fixture.command(port, fixture.storage.path());
    command.env("DAYBOOK_OPEN_RUNS", "5");
    let service = Service::start(command, port).await;
    // Queued runs count as well.
    let new = |start: bool| json!({"name": "import", "start": start});
    let bodies: Vec<_> = (0..20).map(|number| new(number % 2 == 0)).collect();
    let answers = join_all(bodies.iter().map(|body| fixture.post(port, "/runs", body))).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    let begun: Vec<_> = answers
        .iter()
        .filter(|(status, _)| *status == StatusCode::CREATED)
        .collect();
    assert_eq!(begun.len(), 5, "{answers:?}");
    for (status, problem) in answers.iter().filter(|(status, _)| *status != StatusCode::CREATED) {
        assert_eq!(*status, StatusCode::CONFLICT, "{problem}");
        assert_eq!(problem["type"], "/problems/too-many-open-runs");
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.contains("5 runs that have not ended") && detail.contains("maximum is 5"),
            "{detail}"
        );
    }
    // Other teams and existing runs are not affected.
    let url = format!("http://127.0.0.1:{port}/v1/teams/{}/runs", other.id);
    let elsewhere = fixture.http.post(url).bearer_auth(&fixture.token).json(&new(true));
    assert_eq!(fixture.send(elsewhere).await.unwrap().0, StatusCode::CREATED);
    let run = begun[0].1["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(
        fixture.send(fixture.line(port, run, 1)).await.unwrap().0,
        StatusCode::OK
    );
    // A run that ends makes room for another one.
    let cancelled = fixture.post(port, &format!("/runs/{run}/cancel"), &json!({})).await;
    assert_eq!(cancelled.unwrap().0, StatusCode::OK);
    fixture.run(port, new(true)).await;
    let (status, _) = fixture.post(port, "/runs", &new(true)).await.unwrap();
    assert_eq!(status, StatusCode::CONFLICT);
    service.stop().await;
}
