//! Kills workers repeatedly while they process a thousand jobs (ten thousand in `make soak`).

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use daybook::events::Consumers;
use daybook::prelude::*;
use daybook_tests::jobs::{ACKNOWLEDGED_FILE_VARIABLE, JobRunner, program, scribe};
use daybook_tests::{eventually, soak, widget};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::Row as _;
use sqlx::postgres::PgConnection;
use tokio::process::{Child, Command};

/// The time after which a session counts as lost, in seconds.
const LOST_AFTER_S: u64 = 2;
/// Maximum time without progress.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(120);

fn worker(runner: &JobRunner, acknowledged: &std::path::Path) -> Child {
    let url = daybook_tests::url_of(&runner.fixture.db).unwrap();
    Command::new(env!("CARGO_BIN_EXE_worker-under-test"))
        .args(["serve", "--role", "worker"])
        .env("DATABASE_URL", url)
        .env("DAYBOOK_BIND", "127.0.0.1:0")
        .env("DAYBOOK_JWT_SECRET", "x".repeat(32))
        .env("DAYBOOK_JOBS", "8")
        .env("DAYBOOK_LOST_AFTER", LOST_AFTER_S.to_string())
        .env("DAYBOOK_SAMPLE_RATE", "0")
        .env("DAYBOOK_LOG", "warn")
        .env(ACKNOWLEDGED_FILE_VARIABLE, acknowledged)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Kills a worker, unless it has no job at the moment. The worker is paused first, so that it can't finish a job
/// between the check and the kill.
async fn kill_if_busy(worker: &mut Child, connection: &mut PgConnection) -> bool {
    let pid = Pid::from_raw(i32::try_from(worker.id().unwrap()).unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    let running: i64 = sqlx::query_scalar("SELECT count(*) FROM job_sessions WHERE status = 'running'")
        .fetch_one(connection)
        .await
        .unwrap();
    if running == 0 {
        kill(pid, Signal::SIGCONT).unwrap();
        return false;
    }
    worker.kill().await.unwrap();
    true
}

#[tokio::test]
async fn after_kills_every_job_is_done_once_and_no_session_stays_running() {
    let jobs = soak(1_000, 10_000);
    let total_kills = soak(2, 6);
    let runner = JobRunner::without_workers(program(Consumers::of([scribe::CONSUMER]).unwrap())).await;
    if daybook_tests::url_of(&runner.fixture.db).is_none() {
        daybook_tests::skip_without("the password of the server that DAYBOOK_TEST_DATABASE_URL names");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let acknowledged = folder.path().join("acknowledged");
    let mut working = worker(&runner, &acknowledged);
    runner.wait_for_consumer("scribe").await;
    for round in 0..jobs / 1_000 {
        let tx = runner.fixture.begin().await;
        let widgets = (0..1_000).map(|n| widget::named(&format!("{:05}", round * 1_000 + n)));
        create_models_with_events(&tx, widgets.collect(), Track::All)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }
    let mut connection = runner.fixture.team.connection().await;
    let (mut progressed, mut last) = (Instant::now(), 0);
    let mut kills = 0;
    let mut done_at_kill = Vec::new();
    loop {
        let done: i64 = sqlx::query_scalar("SELECT count(*) FROM jottings")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        // The kills are spread over the whole work.
        let step = i64::try_from(jobs).unwrap() / i64::from(total_kills + 1);
        if kills < total_kills
            && done > step * i64::from(kills + 1) - step / 2
            && kill_if_busy(&mut working, &mut connection).await
        {
            done_at_kill.push(done);
            kills += 1;
            working = worker(&runner, &acknowledged);
        }
        if kills == total_kills && done == i64::try_from(jobs).unwrap() {
            break;
        }
        if done > last {
            (progressed, last) = (Instant::now(), done);
        }
        assert!(
            progressed.elapsed() < PROGRESS_TIMEOUT,
            "{done} done, killed {kills} times"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    runner.wait_until_idle().await;

    let rows = sqlx::query("SELECT body, count(*) AS times FROM jottings GROUP BY body ORDER BY body")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert_eq!(rows.len(), jobs);
    assert!(
        rows.iter().all(|row| row.get::<i64, _>("times") == 1),
        "each effect happened once"
    );

    let recorded: BTreeMap<String, i64> =
        sqlx::query("SELECT payload ->> 'text' AS text, count(*) AS n FROM job_actions GROUP BY 1")
            .fetch_all(&mut connection)
            .await
            .unwrap()
            .iter()
            .map(|row| (row.get("text"), row.get("n")))
            .collect();
    let contents = std::fs::read_to_string(&acknowledged).unwrap();
    let mut acknowledged: BTreeMap<&str, i64> = BTreeMap::new();
    for line in contents.lines() {
        *acknowledged.entry(line).or_default() += 1;
    }
    assert_eq!(acknowledged.len(), jobs);
    for (text, times) in acknowledged {
        assert!(
            recorded.get(text).copied().unwrap_or_default() >= times,
            "{text}: acknowledged {times} times"
        );
    }

    // Sessions that were running when their worker died are marked as lost.
    eventually("no session that is still running", async || {
        let running: i64 = sqlx::query_scalar("SELECT count(*) FROM job_sessions WHERE status = 'running'")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        running == 0
    })
    .await;
    let by_status: BTreeMap<String, i64> =
        sqlx::query("SELECT status, count(*) AS n FROM job_sessions GROUP BY status")
            .fetch_all(&mut connection)
            .await
            .unwrap()
            .iter()
            .map(|row| (row.get("status"), row.get("n")))
            .collect();
    assert_eq!(by_status.get("running"), None, "{by_status:?}");
    // There may be a second session for a job whose worker died after the first success, before the queue recorded it.
    let done: i64 = sqlx::query_scalar("SELECT count(DISTINCT job_id) FROM job_sessions WHERE status = 'succeeded'")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(done, i64::try_from(jobs).unwrap(), "{by_status:?}");
    assert!(
        by_status.get("lost").copied().unwrap_or_default() > 0,
        "no job was killed while it ran: {by_status:?}"
    );
    eprintln!("killed after {done_at_kill:?}; {by_status:?}");
}
