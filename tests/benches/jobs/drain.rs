//! Drains a backlog with Daybook and with the queue alone.

use std::time::{Duration, Instant};

use daybook::prelude::*;
use graphile_worker::{IntoTaskHandlerResult, LocalQueueConfig, TaskHandler, WorkerContext, WorkerOptions};

use crate::noop::{Noop, STARTED_AT, Started};
use crate::setup::{Bench, CONCURRENCY};
use crate::{median_and_range, verdict};

const BACKLOG: u32 = 20_000;
const ROUNDS: usize = 3;
/// The minimum ratio to the queue alone.
const MIN_RATIO: f64 = 0.3;

#[derive(Serialize, Deserialize)]
struct Bare {}

impl TaskHandler for Bare {
    const IDENTIFIER: &'static str = "bare";

    async fn run(self, _: WorkerContext) -> impl IntoTaskHandlerResult {
        Ok::<(), String>(())
    }
}

/// Returns Daybook's jobs per second: enqueued, then handed over and run as sessions.
async fn ours(bench: &Bench) -> f64 {
    let tx = bench.database.begin(&bench.context).await.unwrap();
    let jobs = (0..BACKLOG).map(|n| Noop { n }).collect();
    tx.enqueue_all::<Noop>(jobs, JobOptions::new()).await.unwrap();
    tx.commit().await.unwrap();
    let began = Instant::now();
    let workers = bench.work().await;
    bench.drained().await;
    let took = began.elapsed();
    workers.stop().await;
    let sessions: i64 = sqlx::query_scalar("SELECT count(*) FROM job_sessions WHERE status = 'succeeded'")
        .fetch_one(&bench.worker)
        .await
        .unwrap();
    assert!(sessions >= i64::from(BACKLOG), "{sessions}");
    f64::from(BACKLOG) / took.as_secs_f64()
}

/// Returns the jobs per second of the queue alone, with its local queue. It completes finished jobs one by one or, with
/// `together`, in batches.
async fn bare(bench: &Bench, together: bool) -> f64 {
    sqlx::query(
        "SELECT FROM graphile_worker.add_jobs(ARRAY(
            SELECT ROW('bare', json_build_object('n', n), NULL, now(), 25::smallint, NULL, 0, NULL)::graphile_worker.job_spec
            FROM generate_series(1, $1) n))",
    )
    .bind(i32::try_from(BACKLOG).unwrap())
    .execute(&bench.worker)
    .await
    .unwrap();
    let stop = std::sync::Arc::new(tokio::sync::Notify::new());
    let stopping = stop.clone();
    let options = WorkerOptions::default()
        .pg_pool(bench.worker.clone())
        .schema("graphile_worker")
        .concurrency(CONCURRENCY)
        .local_queue(LocalQueueConfig::default().with_size(CONCURRENCY * 4))
        .listen_os_shutdown_signals(false)
        .shutdown_signal(async move { stopping.notified().await })
        .define_job::<Bare>();
    let options = match together {
        true => options.complete_job_batch_delay(Duration::from_millis(2)),
        false => options,
    };
    let worker = options.init().await.unwrap();
    let began = Instant::now();
    let running = tokio::spawn(async move { worker.run().await });
    bench.drained().await;
    let took = began.elapsed();
    stop.notify_one();
    running.await.unwrap().unwrap();
    f64::from(BACKLOG) / took.as_secs_f64()
}

pub(crate) async fn drain(bench: &Bench) {
    println!(
        "A backlog of {BACKLOG} jobs that do nothing; {CONCURRENCY} at a time, a local queue of size {}, for both",
        CONCURRENCY * 4
    );
    let (mut our, mut single, mut together) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        our.push(ours(bench).await);
        single.push(bare(bench, false).await);
        together.push(bare(bench, true).await);
    }
    let (ours, low, high) = median_and_range(&mut our);
    println!("  Daybook, with sessions, completed in 2 ms batches  {ours:>8.0}/s ({low:.0}–{high:.0})");
    for (name, figures, aimed) in [
        ("the queue alone, completed one by one", &mut single, true),
        ("the queue alone, completed in 2 ms batches", &mut together, false),
    ] {
        let (bare, low, high) = median_and_range(figures);
        let ratio = ours / bare;
        let verdict = match aimed {
            true => verdict(ratio, MIN_RATIO),
            false => String::new(),
        };
        println!("  {name:<50} {bare:>8.0}/s ({low:.0}–{high:.0}); Daybook/queue {ratio:.2}{verdict}");
    }
    println!();
}

/// Measures the time from the commit's response to the job's first step, on an idle service.
pub(crate) async fn latency(bench: &Bench) {
    let workers = bench.work().await;
    let mut took = Vec::new();
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_millis(30)).await;
        let tx = bench.database.begin(&bench.context).await.unwrap();
        tx.enqueue(Started {}).await.unwrap();
        tx.commit().await.unwrap();
        let committed = Instant::now();
        let began = loop {
            if let Some(began) = STARTED_AT.lock().unwrap().take() {
                break began;
            }
            tokio::time::sleep(Duration::from_micros(50)).await;
        };
        took.push(began.saturating_duration_since(committed).as_secs_f64() * 1_000.0);
    }
    workers.stop().await;
    let (median, low, high) = median_and_range(&mut took);
    println!("On an idle service, from the commit to the job's first step: {median:.2} ms ({low:.2}–{high:.2})\n");
}
