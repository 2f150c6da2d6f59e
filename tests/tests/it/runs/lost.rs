//! Tests of runs whose writers are silent, and of the processes that detect them.

use daybook::runs::Runs;
use daybook::tenancy::{Role, WorkerDatabase};
use daybook_tests::WAIT_LIMIT;
use daybook_tests::http::{TestApp, run_options};
use futures_util::future::join_all;
use serde_json::json;

use super::{append, console};

#[tokio::test]
async fn processes_that_detect_the_same_silent_run_end_it_once() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let mut paths = Vec::new();
    for _ in 0..8 {
        let run = ada
            .post("/runs", json!({"name": "import", "lost_after_seconds": 300}))
            .await
            .ok();
        paths.push(format!("/runs/{}", run["id"].as_str().unwrap()));
    }
    // The process that wrote them stopped long ago.
    app.runs.close(&app.database).await;
    let mut owner = app.team.connection().await;
    for statement in [
        "UPDATE runs SET updated_at = now() - interval '1 hour'",
        "UPDATE run_homes SET renewed_at = now() - interval '1 hour', left_at = now() - interval '1 hour'",
    ] {
        sqlx::query(statement).execute(&mut owner).await.unwrap();
    }
    let workers = WorkerDatabase::connect(app.db.owner_options(), 2).await.unwrap();
    let database = app.database.clone().with_workers(workers);
    let new = || Runs::new(run_options(&app.storage), database.clock().clone());
    let processes = [new(), new(), new()];
    // Two sweeps in each of three processes, all concurrently.
    let sweeps = processes
        .iter()
        .chain(&processes)
        .map(|runs| runs.end_silent(&database));
    let ended: usize = join_all(sweeps).await.into_iter().sum();
    assert_eq!(ended, paths.len());
    for path in &paths {
        let run = ada.get(path).await.ok();
        assert_eq!(
            (&run["status"], &run["failure"]["code"]),
            (&json!("failed"), &json!("writer-lost"))
        );
    }
    let recorded: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM events WHERE object_type = 'run' AND event_type = 'STATE_CHANGED'
            AND event_data -> 'state' ->> 'new' = 'failed'",
    )
    .fetch_one(&mut owner)
    .await
    .unwrap();
    assert_eq!(usize::try_from(recorded).unwrap(), paths.len());
    for runs in processes {
        runs.close(&database).await;
    }
}

/// A writer that comes back during the sweep is not lost.
#[tokio::test]
async fn a_run_with_a_live_writer_is_not_ended_although_its_row_is_old() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let run = ada
        .post("/runs", json!({"name": "import", "lost_after_seconds": 300}))
        .await
        .ok();
    let path = format!("/runs/{}", run["id"].as_str().unwrap());
    append(&ada, &path, &[console("here")]).await.ok();
    let mut owner = app.team.connection().await;
    for statement in [
        "UPDATE runs SET updated_at = now() - interval '1 hour'",
        "UPDATE run_homes SET renewed_at = now() - interval '1 hour'",
    ] {
        sqlx::query(statement).execute(&mut owner).await.unwrap();
    }
    let database = app
        .database
        .clone()
        .with_workers(WorkerDatabase::connect(app.db.owner_options(), 2).await.unwrap());
    assert_eq!(app.runs.end_silent(&database).await, 0);
    assert_eq!(ada.get(&path).await.ok()["status"], "running");
    tokio::time::timeout(WAIT_LIMIT, app.runs.close(&database))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_run_without_a_process_is_lost_after_its_limit_and_not_before() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let mut paths = Vec::new();
    for name in ["beyond", "within", "held until a moment ago"] {
        let new = json!({"name": name, "lost_after_seconds": 60});
        let run = ada.post("/runs", new).await.ok();
        paths.push(format!("/runs/{}", run["id"].as_str().unwrap()));
    }
    append(&ada, &paths[2], &[console("here")]).await.ok();
    app.runs.close(&app.database).await;
    let mut owner = app.team.connection().await;
    // Leaves five seconds for a slow machine.
    for statement in [
        "UPDATE runs SET updated_at = clock_timestamp() - interval '1 hour'",
        "UPDATE runs SET home = NULL, updated_at = clock_timestamp() - interval '60.5 s' WHERE name = 'beyond'",
        "UPDATE runs SET home = NULL, updated_at = clock_timestamp() - interval '55 s' WHERE name = 'within'",
        "UPDATE run_homes SET renewed_at = clock_timestamp() - interval '55 s', left_at = clock_timestamp()",
    ] {
        sqlx::query(statement).execute(&mut owner).await.unwrap();
    }
    let workers = WorkerDatabase::connect(app.db.owner_options(), 2).await.unwrap();
    let database = app.database.clone().with_workers(workers);
    let process = Runs::new(run_options(&app.storage), database.clock().clone());
    assert_eq!(process.end_silent(&database).await, 1);
    let mut statuses = Vec::new();
    for path in &paths {
        statuses.push(ada.get(path).await.ok()["status"].clone());
    }
    assert_eq!(statuses, ["failed", "running", "running"]);
    process.close(&database).await;
}
