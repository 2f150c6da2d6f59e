//! Tests of how runs begin and end, and of their events.

use axum::http::StatusCode;
use daybook::tenancy::Role;
use daybook_tests::http::TestApp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{append, console, log, run, texts};

#[tokio::test]
async fn a_run_is_recorded_from_its_first_line_to_its_last() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Member).await;
    let begun = ada
        .post("/runs", json!({"name": "nightly import", "configuration_id": "import"}))
        .await
        .is(StatusCode::CREATED);
    let location = begun.header("location").unwrap();
    let begun = begun.json();
    assert_eq!(begun["status"], "running");
    let run = format!("/runs/{}", begun["id"].as_str().unwrap());
    assert!(location.ends_with(&run));

    let answer = append(
        &ada,
        &run,
        &[
            console("reading"),
            json!({"type": "run.table.summary", "payload": {"file": "a.csv", "row_count": 40}}),
            json!({"type": "run.validation.issue", "payload": {"severity": "warning", "message": "odd"}}),
        ],
    );
    assert_eq!(
        answer.await.ok(),
        json!({"appended": 3, "duplicates": 0, "first_sequence": 3, "last_sequence": 5})
    );
    let one = ada.post(&format!("{run}/events"), console("done")).await.ok();
    assert_eq!(one["last_sequence"], 6);

    ada.get(&format!("{run}/summary"))
        .await
        .problem(StatusCode::CONFLICT, "no-summary-yet");
    let end = json!({"status": "failed", "exit_code": 3, "output_paths": ["out.csv"]});
    let ended = ada.post(&format!("{run}/complete"), end.clone()).await.ok();
    assert_eq!(ended["status"], "failed");
    assert_eq!(ended["exit_code"], 3);
    assert_eq!(ended["row_count"], 40);
    assert_eq!(ended["table_count"], 1);
    assert_eq!(ended["input_file_count"], 1);
    assert_eq!(ended["max_validation_severity"], "warning");
    assert_eq!(ended["output_paths"], json!(["out.csv"]));
    assert_eq!(ended["log"]["state"], "closed");
    assert_eq!(ended["log"]["lines"], 7);
    assert_eq!(ada.get(&run).await.ok(), ended);

    let lines = log(&ada, &run).await;
    let types = [
        "run.queued",
        "run.started",
        "reading",
        "run.table.summary",
        "odd",
        "done",
        "run.completed",
    ];
    assert_eq!(texts(&lines), types);
    for (line, sequence) in lines.iter().zip(1..) {
        assert_eq!(line["sequence"], sequence);
        assert_eq!(line["run_id"], begun["id"]);
        assert_eq!(line["workspace_id"], json!(ada.team_id));
        assert_eq!(line["configuration_id"], "import");
    }
    let summary = ada.get(&format!("{run}/summary")).await.ok();
    assert_eq!(lines[6]["payload"]["summary"], summary);
    assert_eq!(summary["by_type"]["console.line"], 2);
    assert_eq!((&summary["lines"], &summary["exit_code"]), (&json!(7), &json!(3)));
    assert!(summary["duration_ms"].as_i64().is_some());

    // The same end again changes nothing. Another end or a line is refused.
    assert_eq!(ada.post(&format!("{run}/complete"), end).await.ok(), ended);
    let other = ada
        .post(&format!("{run}/complete"), json!({"status": "succeeded"}))
        .await;
    other.problem(StatusCode::CONFLICT, "run-ended");
    append(&ada, &run, &[console("late")])
        .await
        .problem(StatusCode::CONFLICT, "run-ended");
}

#[tokio::test]
async fn a_runs_start_and_end_are_messages_in_its_thread() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Member).await;
    let run = run(&ada).await;
    ada.post(
        &format!("{run}/complete"),
        json!({"status": "failed", "exit_code": 101}),
    )
    .await
    .ok();
    let id = run.trim_start_matches("/runs/");
    let threads = ada.get(&format!("/threads?object_type=run&object_id={id}")).await.ok();
    let thread = threads["items"][0]["id"].as_str().unwrap();
    let messages = ada.get(&format!("/threads/{thread}/messages")).await.ok();
    let items = messages["items"].as_array().unwrap();
    let mut sentences: Vec<_> = items
        .iter()
        .map(|message| message["event"]["text"].as_str().unwrap())
        .collect();
    sentences.sort();
    assert_eq!(
        sentences,
        [
            "Ada asked for run “nightly import”",
            "Ada ended run “nightly import” as failed: exit code 101",
            "Ada started run “nightly import”",
        ]
    );
}

#[tokio::test]
async fn a_queued_run_changes_its_status_by_its_lines() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Member).await;
    let waits = ada.post("/runs", json!({"name": "build", "start": false})).await.ok();
    assert_eq!(waits["status"], "queued");
    let run = format!("/runs/{}", waits["id"].as_str().unwrap());
    let status = async || ada.get(&run).await.ok()["status"].as_str().unwrap().to_owned();
    ada.post(&format!("{run}/complete"), json!({"status": "succeeded"}))
        .await
        .problem(StatusCode::CONFLICT, "illegal-transition");
    append(&ada, &run, &[json!({"type": "build.started"}), console("compiling")])
        .await
        .ok();
    assert_eq!(status().await, "building");
    append(
        &ada,
        &run,
        &[json!({"type": "run.started"}), json!({"type": "run.started"})],
    )
    .await
    .ok();
    assert_eq!(status().await, "running");
    append(&ada, &run, &[json!({"type": "build.started"})])
        .await
        .problem(StatusCode::CONFLICT, "illegal-transition");
    let cancelled = ada
        .post(&format!("{run}/cancel"), json!({"reason": "not needed"}))
        .await
        .ok();
    assert_eq!(cancelled["status"], "cancelled");
    append(&ada, &run, &[console("late")])
        .await
        .problem(StatusCode::CONFLICT, "run-ended");
    assert_eq!(
        ada.team_request(axum::http::Method::POST, &format!("{run}/cancel"))
            .await
            .ok()["status"],
        "cancelled"
    );
}

#[tokio::test]
async fn runs_are_listed_and_filtered() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Member).await;
    for (configuration, severity, rows) in [("a", "error", 10), ("a", "info", 20), ("b", "warning", 30)] {
        let new = json!({"name": configuration, "configuration_id": configuration});
        let run = ada.post("/runs", new).await.ok();
        let run = format!("/runs/{}", run["id"].as_str().unwrap());
        let lines = [
            json!({"type": "run.table.summary", "payload": {"row_count": rows}}),
            json!({"type": "run.validation.issue", "payload": {"severity": severity}}),
        ];
        append(&ada, &run, &lines).await.ok();
        ada.post(
            &format!("{run}/complete"),
            json!({"status": "succeeded", "exit_code": 0}),
        )
        .await
        .ok();
    }
    run(&ada).await;
    for (query, found) in [
        ("", 4),
        ("?status=running", 1),
        ("?status=succeeded", 3),
        ("?configuration_id=a", 2),
        ("?severity=warning", 2),
        ("?severity=info", 3),
        ("?min_rows=20", 2),
        ("?min_tables=1", 3),
        ("?min_files=1", 0),
        ("?exit_code=0&configuration_id=b", 1),
        ("?since=2999-01-01T00:00:00Z", 0),
        ("?until=2999-01-01T00:00:00Z", 4),
    ] {
        let page = ada.get(&format!("/runs{query}")).await.ok();
        assert_eq!(page["items"].as_array().unwrap().len(), found, "{query}");
    }
    let first = ada.get("/runs?limit=3").await.ok();
    let second = ada
        .get(&format!("/runs?limit=3&cursor={}", first["next"].as_str().unwrap()))
        .await
        .ok();
    assert_eq!(second["items"].as_array().unwrap().len(), 1);
    assert_eq!(second["next"], Value::Null);
    for (query, field) in [
        ("?status=done", "status"),
        ("?severity=bad", "severity"),
        ("?min_rows=many", "min_rows"),
        ("?since=yesterday", "since"),
        ("?correlation_id=1", "correlation_id"),
    ] {
        assert_eq!(ada.get(&format!("/runs{query}")).await.wrong_fields(), [field]);
    }
    let new = json!({"name": " ", "configuration_id": "a\nb", "lost_after_seconds": 1});
    let wrong = ada.post("/runs", new).await.wrong_fields();
    assert_eq!(wrong, ["name", "configuration_id", "lost_after_seconds"]);
}

#[tokio::test]
async fn another_teams_run_is_not_found() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let run = run(&ada).await;
    append(&ada, &run, &[console("secret")]).await.ok();
    let other = app.db.team("Other").await;
    let eve = app.member_of(&other, "eve", Role::Owner).await;
    // Her access to her own team does not give her access to this team.
    let own = self::run(&eve).await;
    append(&eve, &own, &[console("hers")]).await.ok();
    for client in [&eve, &eve.for_team(ada.team_id)] {
        client.get(&run).await.is(StatusCode::NOT_FOUND);
        client.get(&format!("{run}/events")).await.is(StatusCode::NOT_FOUND);
        client.get(&format!("{run}/summary")).await.is(StatusCode::NOT_FOUND);
        append(client, &run, &[console("forged")])
            .await
            .is(StatusCode::NOT_FOUND);
        client
            .post(&format!("{run}/complete"), json!({"status": "failed"}))
            .await
            .is(StatusCode::NOT_FOUND);
        client
            .post(&format!("{run}/cancel"), json!({}))
            .await
            .is(StatusCode::NOT_FOUND);
    }
    let viewer = app.member("vera", Role::Viewer).await;
    append(&viewer, &run, &[console("forged")])
        .await
        .is(StatusCode::FORBIDDEN);
    assert_eq!(log(&viewer, &run).await.len(), 3);
}

/// If a process dies between a run's last line and the update of its row, only the log contains the end.
#[tokio::test]
async fn a_run_whose_log_has_ended_is_ended_by_the_process_that_opens_it() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Member).await;
    let run = run(&ada).await;
    append(&ada, &run, &[console("a")]).await.ok();
    app.runs.close(&app.database).await;
    let end = json!({
        "type": "run.completed", "event_id": app.team.id, "created_at": "2026-11-21T12:00:00.000000Z", "sequence": 4,
        "source": "daybook", "workspace_id": app.team.id, "configuration_id": null, "run_id": app.team.id,
        "payload": {"status": "failed", "exit_code": 3, "failure": null, "reason": null, "output_paths": ["a.csv"]},
    });
    let file = super::file_of(&app, &run);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes.extend_from_slice(format!("{end}\n").as_bytes());
    std::fs::write(&file, bytes).unwrap();
    // Another process, because the first one has closed its logs.
    let next = app.second_process(daybook::live::LiveOptions::default()).await;
    let ada = next.bearer(ada.credential.clone().unwrap());
    ada.get(&format!("{run}/events")).await.ok();
    let ended = ada.get(&run).await.ok();
    assert_eq!(
        (&ended["status"], &ended["exit_code"], &ended["output_paths"]),
        (&json!("failed"), &json!(3), &json!(["a.csv"]))
    );
    append(&ada, &run, &[console("b")])
        .await
        .problem(StatusCode::CONFLICT, "run-ended");
}

/// The last line comes after every accepted line, and its summary counts them.
#[tokio::test]
async fn the_summary_of_a_run_that_ends_during_writes_counts_every_line() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Member).await;
    for _ in 0..10 {
        let run = run(&ada).await;
        let writers: Vec<_> = (0..4)
            .map(|_| {
                let (ada, run) = (ada.clone(), run.clone());
                tokio::spawn(async move {
                    let mut taken = 0;
                    while append(&ada, &run, &[console("a")]).await.status == StatusCode::OK {
                        taken += 1;
                    }
                    taken
                })
            })
            .collect();
        daybook_tests::eventually("some lines", async || log(&ada, &run).await.len() > 20).await;
        let end = ada
            .post(&format!("{run}/complete"), json!({"status": "succeeded"}))
            .await
            .ok();
        let mut taken = 3;
        for writer in writers {
            taken += writer.await.unwrap();
        }
        let lines = log(&ada, &run).await;
        assert_eq!(lines.len(), taken);
        assert_eq!(lines.last().unwrap()["type"], "run.completed");
        assert_eq!(end["log"]["lines"], json!(taken), "{end}");
        let home: Option<Uuid> = sqlx::query_scalar("SELECT home FROM runs WHERE id = $1::text::uuid")
            .bind(run.trim_start_matches("/runs/"))
            .fetch_one(&mut app.team.connection().await)
            .await
            .unwrap();
        assert_eq!(home, None, "no process may take it over");
    }
}
