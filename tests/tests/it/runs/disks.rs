//! Tests of disks that are full, read-only or damaged. The disk is a separate mount, which ends with the service.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Tool;

use axum::http::StatusCode as Status;
use daybook::runs::Rebuilt;
use daybook::tenancy::{Context, Role};
use daybook_tests::http::TestApp;
use nix::unistd::Uid;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::process::Command;
use uuid::Uuid;

use super::process::{Service, ServiceFixture, free_port};
use super::{append, console, log, run, texts};

/// Starts a service whose storage is a disk of this size in MiB.
async fn serve_on_a_disk_of(fixture: &ServiceFixture, port: u16, mebibytes: u32, options: &str) -> (Service, PathBuf) {
    let disk = fixture.storage.path().join("disk");
    fs::create_dir_all(&disk).unwrap();
    let mut command = Command::new("unshare");
    // In a new user namespace, an ordinary user may mount; root may in any case.
    if !Uid::effective().is_root() {
        command.arg("--map-root-user");
    }
    let script = format!(
        "mount -t tmpfs -o size={mebibytes}m{options} tmpfs '{disk}' && exec '{program}' serve",
        disk = disk.display(),
        program = env!("CARGO_BIN_EXE_daybook-under-test"),
    );
    fixture.set_environment(&mut command, port, &disk);
    command.args(["--mount", "--propagation", "private", "sh", "-c", &script]);
    let service = Service::start(command, port).await;
    // The disk is visible only through the service's mount namespace.
    let seen = PathBuf::from(format!("/proc/{}/root", service.pid())).join(disk.strip_prefix("/").unwrap());
    (service, seen)
}

fn remount(service: &Service, fixture: &ServiceFixture, how: &str) {
    let disk = fixture.storage.path().join("disk");
    let status = Tool::new("nsenter")
        .args(["--target", &service.pid().to_string(), "--mount", "mount", "-o"])
        .arg(format!("remount,{how}"))
        .arg(disk)
        .status();
    assert!(status.unwrap().success());
}

fn lines(from: usize, count: usize) -> String {
    let pad = "x".repeat(1_000);
    (from..from + count)
        .map(|at| {
            format!(
                "{}\n",
                json!({"type": "console.line", "payload": {"message": at.to_string(), "pad": pad}})
            )
        })
        .collect()
}

async fn post_lines(fixture: &ServiceFixture, port: u16, run: Uuid, body: String) -> (StatusCode, Value) {
    let request = fixture.request(port, Method::POST, &format!("/runs/{run}/events"));
    let request = request.header("content-type", "application/x-ndjson").body(body);
    fixture.send(request).await.unwrap()
}

#[tokio::test]
async fn on_a_full_disk_lines_are_refused_accepted_lines_are_kept_and_gaps_are_counted() {
    let fixture = ServiceFixture::new().await;
    let port = free_port();
    // Space for the write-ahead log, and little more.
    let (service, disk) = serve_on_a_disk_of(&fixture, port, 36, "").await;
    let run = fixture.run(port, json!({"name": "import"})).await;
    let filler = disk.join("filler");
    fs::write(&filler, vec![0; 3 << 20]).unwrap();
    let mut kept = 0;
    let (status, refusal) = loop {
        let answer = post_lines(&fixture, port, run, lines(kept, 50)).await;
        if answer.0 != StatusCode::OK {
            break answer;
        }
        kept += 50;
        assert!(kept < 10_000);
    };
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{refusal}");
    let detail = refusal["detail"].as_str().unwrap();
    assert!(detail.contains("no space is left") && !detail.contains('/'), "{detail}");
    assert!(kept > 0);
    // Accepted lines can be read, also now, and the run continues.
    let console = |log: Vec<Value>| -> Vec<String> {
        let lines = log.iter().filter(|line| line["type"] == "console.line");
        lines
            .map(|line| line["payload"]["message"].as_str().unwrap().to_owned())
            .collect()
    };
    let expected: Vec<String> = (0..kept).map(|at| at.to_string()).collect();
    assert_eq!(console(fixture.log(port, run).await), expected);
    daybook_tests::eventually("a run whose log is degraded", async || {
        let (_, run) = fixture
            .send_request(port, Method::GET, &format!("/runs/{run}"))
            .await
            .unwrap();
        run["status"] == "running" && run["log"]["degraded"] == true
    })
    .await;
    assert_eq!(
        post_lines(&fixture, port, run, lines(kept, 50)).await.0,
        StatusCode::SERVICE_UNAVAILABLE
    );

    fs::remove_file(filler).unwrap();
    let (status, answer) = post_lines(&fixture, port, run, lines(kept + 100, 50)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let log = fixture.log(port, run).await;
    let gap = log.iter().find(|line| line["type"] == "log.gap").unwrap();
    assert_eq!(gap["payload"]["count"], 100, "{gap}");
    assert_eq!(console(log).len(), kept + 50);
    let end = json!({"status": "succeeded"});
    let (status, ended) = fixture
        .post(port, &format!("/runs/{run}/complete"), &end)
        .await
        .unwrap();
    assert_eq!(
        (status, &ended["status"]),
        (StatusCode::OK, &json!("succeeded")),
        "{ended}"
    );
    let (_, summary) = fixture
        .send_request(port, Method::GET, &format!("/runs/{run}/summary"))
        .await
        .unwrap();
    assert_eq!(summary["missing"], 100);
    service.stop().await;
}

#[tokio::test]
async fn a_run_continues_while_its_folder_is_read_only() {
    let fixture = ServiceFixture::new().await;
    let port = free_port();
    let (service, _) = serve_on_a_disk_of(&fixture, port, 48, ",ro").await;
    let run = fixture.run(port, json!({"name": "import"})).await;
    let (status, refusal) = post_lines(&fixture, port, run, lines(0, 3)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        refusal["detail"].as_str().unwrap().contains("can't be written to"),
        "{refusal}"
    );
    let (status, _) = fixture
        .send_request(port, Method::GET, &format!("/runs/{run}/events"))
        .await
        .unwrap();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let end = json!({"status": "succeeded"});
    let (status, _) = fixture
        .post(port, &format!("/runs/{run}/complete"), &end)
        .await
        .unwrap();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let (_, known) = fixture
        .send_request(port, Method::GET, &format!("/runs/{run}"))
        .await
        .unwrap();
    assert_eq!(known["status"], "running");

    remount(&service, &fixture, "rw");
    assert_eq!(post_lines(&fixture, port, run, lines(3, 3)).await.0, StatusCode::OK);
    fixture.complete(port, run).await;
    let log = fixture.log(port, run).await;
    let types: Vec<_> = log.iter().map(|line| line["type"].clone()).collect();
    assert_eq!(types[..3], ["run.queued", "run.started", "log.gap"]);
    assert_eq!((&log[2]["payload"]["count"], types.len()), (&json!(3), 7));
    service.stop().await;
}

fn file_of(app: &TestApp, run: &str) -> PathBuf {
    let id = run.trim_start_matches("/runs/");
    let folder = app.storage.path().join("workspaces").join(app.team.id.to_string());
    folder.join("runs").join(id).join("logs/events.ndjson")
}

/// Overwrites a line in the middle of a log.
fn damage_line(file: &Path, words: &str) {
    let mut bytes = fs::read(file).unwrap();
    let text = String::from_utf8(bytes.clone()).unwrap();
    let at = text.find(words).unwrap();
    let begin = text[..at].rfind('\n').unwrap() + 1;
    bytes[begin..begin + 30].fill(b'#');
    fs::write(file, bytes).unwrap();
}

#[tokio::test]
async fn a_damaged_line_is_replaced_by_a_gap_for_every_reader() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Member).await;
    let run = run(&ada).await;
    let sent: Vec<_> = (0..2_000).map(|at| console(&format!("line {at} of many"))).collect();
    append(&ada, &run, &sent).await.ok();
    ada.post(&format!("{run}/complete"), json!({"status": "succeeded"}))
        .await
        .ok();
    let whole = log(&ada, &run).await;
    damage_line(&file_of(&app, &run), "line 1000 of many");

    let sse = ada
        .get(&format!("{run}/events?stream=true"))
        .await
        .is(Status::OK)
        .text();
    let events: Vec<Value> = sse
        .lines()
        .filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
        .filter(|event: &Value| event["sequence"].is_u64())
        .collect();
    let sequences: Vec<_> = events.iter().map(|event| event["sequence"].as_u64().unwrap()).collect();
    assert_eq!(sequences, (1..=2_003).collect::<Vec<_>>());
    assert_eq!(events[1_002]["type"], "log.gap");
    assert_eq!(events[1_002]["payload"]["count"], 1);
    assert_eq!((&events[1_001], &events[1_003]), (&whole[1_001], &whole[1_003]));
    // Reads a page around the damaged line, and one that begins at it.
    for from in [1_000, 1_003] {
        let page = ada
            .get(&format!("{run}/events?from_sequence={from}&limit=10"))
            .await
            .ok();
        let sequences: Vec<_> = page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["sequence"].as_u64().unwrap())
            .collect();
        let first = if from == 1_003 { 1_004 } else { from };
        assert_eq!(sequences, (first..first + 10).collect::<Vec<_>>());
    }
    let filtered = ada
        .get(&format!("{run}/events?type=console.line"))
        .header("accept", "application/x-ndjson")
        .await;
    assert_eq!(filtered.text().lines().count(), 1_999);
    // The new summary counts the damaged line; the stored one was computed before the damage.
    let id: Uuid = run.trim_start_matches("/runs/").parse().unwrap();
    let context = Context::system(app.team.id, "test");
    let rebuilt = app
        .runs
        .rebuild_summary(&app.database, &context, id, true)
        .await
        .unwrap();
    assert_eq!(rebuilt, Rebuilt::Differs);
    assert_eq!(ada.get(&format!("{run}/summary")).await.ok()["unreadable"], 1);
    assert_eq!(texts(&whole).len(), 2_003);
}

#[tokio::test]
async fn a_rebuilt_summary_is_identical_byte_for_byte() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Member).await;
    let context = Context::system(app.team.id, "test");
    for ending in ["complete", "cancel"] {
        let run = run(&ada).await;
        let sent: Vec<_> = (0..500)
            .map(|at| match at % 3 {
                0 => console(&format!("é \u{1f600} \" \\ \u{7} {at}")),
                1 => json!({"type": "run.table.summary", "payload": {"file": format!("{}.csv", at % 7), "row_count": at}}),
                _ => json!({"type": "run.validation.issue", "payload": {"severity": (["info", "error"][at % 2])}}),
            })
            .collect();
        append(&ada, &run, &sent).await.ok();
        let body = if ending == "complete" {
            json!({"status": "failed", "exit_code": 1})
        } else {
            json!({"reason": "why not"})
        };
        ada.post(&format!("{run}/{ending}"), body).await.ok();
        let id: Uuid = run.trim_start_matches("/runs/").parse().unwrap();
        let rebuilt = app
            .runs
            .rebuild_summary(&app.database, &context, id, false)
            .await
            .unwrap();
        assert_eq!(rebuilt, Rebuilt::Same);
        let before = ada.get(&format!("{run}/summary")).await.text();
        let mut owner = app.team.connection().await;
        sqlx::query("UPDATE runs SET summary_json = '{}', row_count = 0 WHERE id = $1")
            .bind(id)
            .execute(&mut owner)
            .await
            .unwrap();
        let rebuilt = app
            .runs
            .rebuild_summary(&app.database, &context, id, true)
            .await
            .unwrap();
        assert_eq!(rebuilt, Rebuilt::Differs);
        assert_eq!(ada.get(&format!("{run}/summary")).await.text(), before);
        assert_ne!(ada.get(&run).await.ok()["row_count"], 0);
    }
    let ended = app.runs.ended(&app.database, &context).await.unwrap();
    assert_eq!(ended.len(), 2);
}
