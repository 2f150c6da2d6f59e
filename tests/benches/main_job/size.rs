//! Measurements without a floor: a large table against a small one, and the idle service's memory.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use daybook::events::event_from_row;
use daybook::prelude::Uuid;
use sqlx::ConnectOptions as _;

use crate::Spread;
use crate::setup::Bench;

const SMALL_TABLE_EVENTS: u64 = 10_000;
const LARGE_TABLE_EVENTS: u64 = 1_000_000;
/// The number of measurements of each size.
const ROUNDS: usize = 9;
const CALLS_PER_ROUND: u32 = 150;

/// Creates a campaign with its event, and reads the first page of the team's feed and of one object's timeline. It does
/// so in turn on a table of ten thousand events and on one of a million; each has its own cluster.
pub(crate) async fn compare() {
    let (small, large) = (Bench::start("small").await, Bench::start("large").await);
    grow_to(&small, SMALL_TABLE_EVENTS).await;
    grow_to(&large, LARGE_TABLE_EVENTS).await;
    let mut times: [[Vec<f64>; 2]; 3] = Default::default();
    let mut ratios: [Vec<f64>; 3] = Default::default();
    for round in 0..=ROUNDS {
        let (few, many) = (measure(&small).await, measure(&large).await);
        // The first round warms plans and caches.
        if round > 0 {
            for (i, (few, many)) in few.into_iter().zip(many).enumerate() {
                times[i][0].push(few);
                times[i][1].push(many);
                ratios[i].push(many / few);
            }
        }
    }
    println!(
        "\n{:<44} {:>12} {:>12}   {:<22} {:>5}",
        "", "10,000", "1,000,000", "ratio of times", "aim"
    );
    let names = [
        "create, event only",
        "a page of 50 of the team's feed",
        "a page of 50 of one object's timeline",
    ];
    for ((name, mut times), mut ratios) in names.into_iter().zip(times).zip(ratios) {
        let ratio = Spread::of(&mut ratios);
        let verdict = if ratio.median <= 1.1 { "" } else { "  MISSED" };
        println!(
            "{name:<44} {:>9.0} µs {:>9.0} µs   {:<22} {:>5}{verdict}",
            Spread::of(&mut times[0]).median,
            Spread::of(&mut times[1]).median,
            ratio.to_string(),
            "≤ 1.1"
        );
    }
    small.stop().await;
    large.stop().await;
}

async fn measure(bench: &Bench) -> [f64; 3] {
    [
        time(async || crate::ours::create(bench.clone(), 0).await).await,
        time(async || {
            page(
                bench,
                "SELECT * FROM events WHERE team_id = $1 ORDER BY id DESC LIMIT 50",
                None,
            )
            .await;
        })
        .await,
        time(async || {
            let timeline = "SELECT * FROM events WHERE team_id = $1 AND object_type = 'campaign' AND object_id = $2
                ORDER BY id DESC LIMIT 50";
            page(bench, timeline, Some("object-7")).await;
        })
        .await,
    ]
}

/// Returns the microseconds of one call, the mean of `CALLS_PER_ROUND` calls in sequence.
async fn time(work: impl AsyncFn()) -> f64 {
    let began = Instant::now();
    for _ in 0..CALLS_PER_ROUND {
        work().await;
    }
    began.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS_PER_ROUND)
}

async fn page(bench: &Bench, sql: &'static str, object: Option<&str>) {
    let tx = bench.without_consumers.enter(&bench.entry().read_only()).await.unwrap();
    let mut query = sqlx::query(sql).bind(bench.team_id);
    if let Some(object) = object {
        query = query.bind(object);
    }
    let rows = tx.fetch_all(query).await.unwrap();
    assert_eq!(rows.len(), 50);
    for row in &rows {
        event_from_row(row).unwrap();
    }
    tx.commit().await.unwrap();
}

/// Fills the table with events of this team about a hundred objects, in the order of their ids.
async fn grow_to(bench: &Bench, wanted: u64) {
    let mut owner = bench.owner.connect().await.unwrap();
    sqlx::query("SELECT set_config('daybook.team_id', $1, false)")
        .bind(bench.team_id.to_string())
        .execute(&mut owner)
        .await
        .unwrap();
    let there: i64 = sqlx::query_scalar("SELECT count(*) FROM events")
        .fetch_one(&mut owner)
        .await
        .unwrap();
    let missing = wanted.saturating_sub(u64::try_from(there).unwrap());
    let mut left = i64::try_from(missing).unwrap();
    while left > 0 {
        let n = left.min(100_000);
        let base = Uuid::now_v7().to_string();
        sqlx::query(
            "INSERT INTO events (team_id, id, event_type, object_type, object_id, object_label, threadable, actor_kind,
                actor_id, actor_name, via, event_data, schema_version, correlation_id)
             SELECT $1, (left($2, 19) || lpad(to_hex(i >> 16), 4, '0') || '-' || lpad(to_hex(i & 65535), 12, '0'))::uuid,
                'UPDATED', 'campaign', 'object-' || i % 100, 'Spring launch', true, 'user', $3, 'ada', 'http',
                '{\"changes\": {\"budget\": {\"old\": \"100\", \"new\": \"250\"}}}', 1, $1
             FROM generate_series(1, $4) AS i",
        )
        .bind(bench.team_id)
        .bind(&base)
        .bind(bench.user_id)
        .bind(n)
        .execute(&mut owner)
        .await
        .unwrap();
        left -= n;
    }
    // In production, autovacuum would have done this. Without statistics, the first plans are guesses.
    sqlx::query("VACUUM ANALYZE events").execute(&mut owner).await.unwrap();
    sqlx::query("CHECKPOINT").execute(&mut owner).await.ok();
}

/// Starts the shipped service, waits until it is ready, and reads its resident memory.
pub(crate) fn print_idle_memory() {
    let binary = std::env::current_exe()
        .unwrap()
        .ancestors()
        .nth(2)
        .unwrap()
        .join("daybook");
    if !binary.exists() {
        println!(
            "\nidle memory: NOT MEASURED, {} is missing; `make bench` builds it",
            binary.display()
        );
        return;
    }
    let folder = std::env::temp_dir().join(format!("daybook-bench-idle-{}", std::process::id()));
    let mut service = Command::new(binary)
        .arg("serve")
        .env("DAYBOOK_DATA_DIR", &folder)
        .env("DAYBOOK_BIND", "127.0.0.1:0")
        .env_remove("DATABASE_URL")
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(service.stderr.take().unwrap()).lines();
    let ready = lines.any(|line| line.is_ok_and(|line| line.contains("listening on")));
    assert!(ready, "the service ended before it was ready");
    // Memory that the start needed is released within a short time.
    std::thread::sleep(Duration::from_secs(2));
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.id())).unwrap_or_default();
    let resident = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap_or("VmRSS: not known here")
        .to_owned();
    println!("\nidle service, its own process without PostgreSQL's: {resident}");
    let _ = Command::new("kill").args(["-TERM", &service.id().to_string()]).status();
    let _ = service.wait();
    let _ = std::fs::remove_dir_all(folder);
}
