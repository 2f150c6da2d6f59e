//! Tests of runs that jobs write, and of the jobs that seal and delete logs.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use daybook::housekeeping::Retention;
use daybook::jobs::{JobSession, SessionSpec, Workers, with_job_session};
use daybook::runs::{NewRun, RetentionAction, RunOutcome, due_logs, start};
use daybook::tenancy::{Context, Role, SYSTEM_TEAM, WorkerDatabase};
use daybook_tests::http::{Client, TestApp};
use daybook_tests::jobs::{start_workers, test_worker_options};
use daybook_tests::live::LiveClient;
use serde_json::{Value, json};
use sqlx::Executor as _;
use uuid::Uuid;

use super::{append, console, log, run, texts};

fn spec(app: &TestApp) -> SessionSpec {
    SessionSpec::new("import").context(Context::system(app.team.id, "test"))
}

#[tokio::test]
async fn a_jobs_run_is_linked_to_the_job_and_part_of_its_story() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let mut session_id = Uuid::nil();
    let work = async |session: JobSession| {
        let run = start(&session, NewRun::new("nightly import").configuration("import")).await?;
        run.console("info", "reading").await?;
        run.line("run.table.summary", &json!({"file": "a.csv", "row_count": 7}))
            .await?;
        let ended = run.end(RunOutcome::succeeded().exit_code(0)).await?;
        Ok((session.id(), ended))
    };
    let (session, ended) = with_job_session(&app.database, spec(&app), work).await.unwrap();
    session_id = session.max(session_id);
    assert_eq!((ended.job_session_id, ended.row_count), (Some(session_id), Some(7)));
    let path = format!("/runs/{}", ended.id);
    assert_eq!(
        texts(&log(&ada, &path).await),
        [
            "run.queued",
            "run.started",
            "reading",
            "run.table.summary",
            "run.completed"
        ]
    );
    let found = ada.get(&format!("/runs?job_session_id={session_id}")).await.ok();
    assert_eq!(found["items"][0]["id"], json!(ended.id));

    let story = ada.get(&format!("/stories/{}", ended.correlation_id)).await.ok();
    let steps = story["steps"].as_array().unwrap();
    let step = steps.iter().find(|step| step["kind"] == "run").unwrap();
    assert_eq!(step["caused_by"], json!({"kind": "job", "id": session_id}));
    assert_eq!(step["run"]["name"], "nightly import");
    // Its start and its end are events of the job.
    let events: Vec<_> = steps.iter().filter(|step| step["kind"] == "event").collect();
    assert_eq!(events.len(), 3);
    assert!(events.iter().all(|event| event["caused_by"]["kind"] == "job"));
}

#[tokio::test]
async fn a_run_that_its_job_does_not_end_fails() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let work = async |session: JobSession| {
        let run = start(&session, NewRun::new("nightly import")).await?;
        run.console("info", "reading").await?;
        Ok(run.id())
    };
    let id = with_job_session(&app.database, spec(&app), work).await.unwrap();
    let path = format!("/runs/{id}");
    daybook_tests::eventually("its end", async || ada.get(&path).await.ok()["status"] == "failed").await;
    assert_eq!(ada.get(&path).await.ok()["failure"]["code"], "writer-dropped");
}

#[tokio::test]
async fn a_cancelled_run_refuses_its_jobs_next_line() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let cancelling = ada.clone();
    let work = async move |session: JobSession| {
        let run = start(&session, NewRun::new("nightly import")).await?;
        run.console("info", "reading").await?;
        cancelling
            .post(&format!("/runs/{}/cancel", run.id()), json!({}))
            .await
            .ok();
        let refused = run.console("info", "more").await.unwrap_err();
        assert_eq!(refused.code(), "run-ended");
        Ok(())
    };
    with_job_session(&app.database, spec(&app), work).await.unwrap();
}

#[tokio::test]
async fn a_log_is_sealed_and_later_deleted_and_the_run_is_kept() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let workers = WorkerDatabase::connect(app.db.owner_options(), 2).await.unwrap();
    let run = run(&ada).await;
    let lines: Vec<_> = (0..3_000).map(|at| console(&format!("line {at}"))).collect();
    append(&ada, &run, &lines).await.ok();
    assert!(
        due_logs(&workers, RetentionAction::Sealed, 0, 10)
            .await
            .unwrap()
            .is_empty(),
        "it is still running"
    );
    ada.post(&format!("{run}/complete"), json!({"status": "succeeded"}))
        .await
        .ok();
    let send = |range: &str| {
        let send = ada
            .get(&format!("{run}/events"))
            .header("accept", "application/x-ndjson");
        send.header("range", range)
    };
    let whole = log(&ada, &run).await;
    let (middle, etag) = (
        send("bytes=100000-100999").await,
        send("bytes=0-0").await.header("etag"),
    );

    assert!(
        due_logs(&workers, RetentionAction::Sealed, 1, 10)
            .await
            .unwrap()
            .is_empty(),
        "it ended today"
    );
    let found = due_logs(&workers, RetentionAction::Sealed, 0, 10).await.unwrap();
    assert_eq!(found.len(), 1);
    let sealed = app.runs.seal(&app.database, found[0]).await.unwrap().unwrap();
    assert!(sealed.sealed_bytes * 5 < sealed.plain_bytes, "{sealed:?}");
    let known = ada.get(&run).await.ok();
    assert_eq!(known["log"]["state"], "sealed");
    assert!(known["log"]["path"].as_str().unwrap().ends_with("events.ndjson.zst"));
    assert!(
        due_logs(&workers, RetentionAction::Sealed, 0, 10)
            .await
            .unwrap()
            .is_empty()
    );
    // It is read as before, in every format.
    assert_eq!(log(&ada, &run).await, whole);
    assert_eq!(send("bytes=100000-100999").await.body, middle.body);
    assert_eq!(send("bytes=0-0").await.header("etag"), etag);
    let page = ada.get(&format!("{run}/events?after_sequence=2500&limit=2")).await.ok();
    assert_eq!(page["items"][0], whole[2_500]);
    let sse = ada
        .get(&format!("{run}/events?stream=true&from_sequence=3000"))
        .await
        .text();
    assert_eq!(sse.matches("\ndata: ").count() - 1, 4);
    let context = Context::system(app.team.id, "test");
    let id = run.trim_start_matches("/runs/").parse().unwrap();
    let rebuilt = app
        .runs
        .rebuild_summary(&app.database, &context, id, false)
        .await
        .unwrap();
    assert_eq!(rebuilt, daybook::runs::Rebuilt::Same);

    let summary = ada.get(&format!("{run}/summary")).await.ok();
    let found = due_logs(&workers, RetentionAction::Deleted, 0, 10).await.unwrap();
    assert!(app.runs.delete_log(&app.database, found[0]).await.unwrap());
    ada.get(&format!("{run}/events"))
        .await
        .problem(StatusCode::GONE, "gone");
    assert_eq!(ada.get(&run).await.ok()["log"]["state"], "deleted");
    assert_eq!(ada.get(&format!("{run}/summary")).await.ok(), summary);
    assert!(
        due_logs(&workers, RetentionAction::Deleted, 0, 10)
            .await
            .unwrap()
            .is_empty()
    );
    // A log that is not in this storage is not deleted here.
    assert!(!app.runs.delete_log(&app.database, found[0]).await.unwrap());
}

#[tokio::test]
async fn a_silent_writers_run_fails_and_a_queued_run_does_not() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let new = |start: bool| json!({"name": "import", "lost_after_seconds": 5, "start": start});
    let waits = ada.post("/runs", new(false)).await.ok();
    let silent = ada.post("/runs", new(true)).await.ok();
    let path = |run: &serde_json::Value| format!("/runs/{}", run["id"].as_str().unwrap());
    let status = async |run: &serde_json::Value| ada.get(&path(run)).await.ok()["status"].clone();
    let beats = ada.post("/runs", new(true)).await.ok();
    let (mut last_beat, mut longest_silence) = (Instant::now(), Duration::ZERO);
    daybook_tests::eventually("the end of the silent writer's run", async || {
        append(&ada, &path(&beats), &[]).await;
        longest_silence = longest_silence.max(last_beat.elapsed());
        last_beat = Instant::now();
        tokio::time::sleep(Duration::from_millis(100)).await;
        status(&silent).await == "failed"
    })
    .await;
    assert_eq!(ada.get(&path(&silent)).await.ok()["failure"]["code"], "writer-lost");
    assert_eq!(status(&waits).await, "queued");
    // On a slow machine this writer may have been silent, too.
    assert!(status(&beats).await == "running" || longest_silence > Duration::from_secs(4));
}

#[tokio::test]
async fn runs_are_followed_live() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let address = app.serve(|router| router).await;
    let mut live = LiveClient::connect(address, &ada).await;
    let subscribed = live.follow(json!({"type": "subscribe", "topic": "runs"})).await;
    let before = subscribed["cursor"].clone();
    let path = run(&ada).await;
    ada.post(&format!("{path}/complete"), json!({"status": "succeeded"}))
        .await
        .ok();
    let mut last = json!(null);
    while last["run"]["status"] != "succeeded" {
        last = live.next().await;
        assert_eq!(last["type"], "runs:updated");
    }
    assert_eq!(last["run"], ada.get(&path).await.ok());
    let mut back = LiveClient::connect(address, &ada).await;
    back.follow(json!({"type": "subscribe", "topic": "runs", "cursor": before}))
        .await;
    assert_eq!(back.next().await["run"], last["run"]);
}

/// Starts workers that seal and delete logs as soon as their runs have ended.
async fn hire_without_retention(app: &TestApp) -> Workers {
    let immediately = Retention::default().seal_runs_after_days(0).run_logs_days(0);
    start_workers(
        &app.db,
        &immediately.attach(app.database.clone()),
        &test_worker_options(),
    )
    .await
}

/// Puts a scheduled job into the queue as its schedule does.
async fn trigger_schedule(app: &TestApp, job: &str) {
    let mut owner = app.db.owner().await;
    sqlx::query("SELECT FROM graphile_worker.add_job($1, '{\"input\": {}, \"_cron\": {\"ts\": \"now\"}}')")
        .bind(job)
        .execute(&mut owner)
        .await
        .unwrap();
}

#[tokio::test]
async fn the_jobs_that_seal_and_delete_logs_record_actions() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let run = run(&ada).await;
    append(&ada, &run, &[console("a")]).await.ok();
    ada.post(&format!("{run}/complete"), json!({"status": "succeeded"}))
        .await
        .ok();
    let workers = hire_without_retention(&app).await;
    for (job, state, words) in [
        ("seal_run_logs", "sealed", "Sealed the log of run "),
        ("delete_run_logs", "deleted", "Deleted the log of run "),
    ] {
        trigger_schedule(&app, job).await;
        daybook_tests::eventually(state, async || ada.get(&run).await.ok()["log"]["state"] == state).await;
        let mut connection = app.db.app_connection().await;
        let enter = format!("SELECT set_config('daybook.team_id', '{SYSTEM_TEAM}', false)");
        connection.execute(sqlx::AssertSqlSafe(enter)).await.unwrap();
        daybook_tests::eventually("the job's session", async || {
            let sentence: Option<String> = sqlx::query_scalar(
                "SELECT a.sentence FROM job_actions a JOIN job_sessions s ON s.id = a.session_id
                 WHERE s.job_name = $1 AND s.status = 'succeeded'",
            )
            .bind(job)
            .fetch_optional(&mut connection)
            .await
            .unwrap();
            sentence.is_some_and(|sentence| sentence.starts_with(words))
        })
        .await;
    }
    workers.stop().await;
}

/// Returns the state of a run's log.
async fn log_state(ada: &Client, run: &str) -> Value {
    ada.get(run).await.ok()["log"]["state"].clone()
}

#[tokio::test]
async fn a_log_that_cannot_be_sealed_delays_no_other_and_is_deleted_after_its_time() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let (stuck, other) = (run(&ada).await, run(&ada).await);
    for run in [&stuck, &other] {
        append(&ada, run, &[console("a")]).await.ok();
        ada.post(&format!("{run}/complete"), json!({"status": "succeeded"}))
            .await
            .ok();
    }
    // A folder has the name of the temporary file. This log is the older one, so it comes first.
    let path = ada.get(&stuck).await.ok()["log"]["path"].as_str().unwrap().to_owned();
    let temporary = app.storage.path().join(format!("{path}.zst.new"));
    std::fs::create_dir(&temporary).unwrap();
    let workers = hire_without_retention(&app).await;
    trigger_schedule(&app, "seal_run_logs").await;
    daybook_tests::eventually("the other log is sealed", async || {
        log_state(&ada, &other).await == "sealed"
    })
    .await;
    assert_eq!(log_state(&ada, &stuck).await, "closed");
    assert_eq!(texts(&log(&ada, &stuck).await)[2], "a");
    trigger_schedule(&app, "delete_run_logs").await;
    for run in [&stuck, &other] {
        daybook_tests::eventually("the log is deleted", async || log_state(&ada, run).await == "deleted").await;
    }
    assert!(!app.storage.path().join(path).exists());
    workers.stop().await;
}
