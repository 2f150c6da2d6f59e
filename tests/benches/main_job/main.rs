//! The cost of the main job, beside its floor: `make bench`.
//!
//! **The floor** is the same transaction with plain sqlx: the same entry, the same statements with the data sent by the
//! client, the same pool settings, the same policies. Daybook and the floor take turns in each round, so that a change
//! in the machine's speed affects both. The ratio is computed for each round, and its median is printed with the lowest
//! and the highest. 1.00 is as fast as the floor; a missed aim is printed as `MISSED`.
//!
//! `cargo bench --package daybook-tests --bench main_job -- update` runs only the cases with `update` in their name.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures with the machine's clock")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark has no caller for its errors, and prints its figures"
)]

mod floor;
mod ours;
mod setup;
mod size;

use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

use setup::Bench;

/// The number of rounds; in each, Daybook and the floor run once.
const ROUNDS: usize = 9;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let bench = Bench::start("floor").await;
        println!("{}", bench.machine().await);
        if filter().is_none_or(|wanted| "size".contains(&wanted)) {
            size::compare().await;
        }
        let bench = bench.with_rows_to_update().await;
        println!(
            "\n{:<44} {:>5} {:>9} {:>9}   {:<22} {:>5}  trips",
            "", "conns", "floor/s", "Daybook/s", "ratio (low–high)", "aim"
        );
        for connections in [1, 8] {
            compare(
                &bench,
                "create, event only",
                connections,
                0.9,
                150,
                &floor::create,
                &ours::create,
            )
            .await;
            compare(
                &bench,
                "create, whole story, 3 notified",
                connections,
                0.75,
                150,
                &floor::create_story,
                &ours::create_story,
            )
            .await;
            compare(
                &bench,
                "update, event only",
                connections,
                0.85,
                150,
                &floor::update,
                &ours::update,
            )
            .await;
            compare(
                &bench,
                "1,000 created in one call",
                connections,
                0.7,
                2,
                &floor::create_1000,
                &ours::create_1000,
            )
            .await;
            compare(
                &bench,
                "1,000 updated in one call",
                connections,
                0.7,
                2,
                &floor::update_1000,
                &ours::update_1000,
            )
            .await;
        }
        if filter().is_none() {
            ours::print_limit(&bench).await;
            size::print_idle_memory();
        }
        bench.stop().await;
    });
}

/// Returns the filter of the command line, if there is one.
fn filter() -> Option<String> {
    std::env::args().skip(1).find(|argument| !argument.starts_with('-'))
}

/// One kind of work, done once by a caller with the connection number `n`.
pub(crate) trait Work: Fn(Bench, usize) -> setup::WorkFuture + Sync {}
impl<F: Fn(Bench, usize) -> setup::WorkFuture + Sync> Work for F {}

async fn compare(
    bench: &Bench,
    name: &str,
    connections: usize,
    aim: f64,
    each: usize,
    floor: &dyn Work,
    ours: &dyn Work,
) {
    if filter().is_some_and(|wanted| !name.contains(&wanted)) {
        return;
    }
    // First, prepare statements, plans and caches on every connection.
    time(bench, connections, each.min(20), floor).await;
    time(bench, connections, each.min(20), ours).await;
    let (mut ratios, mut floors, mut mine) = (Vec::new(), Vec::new(), Vec::new());
    let (mut floor_cpu, mut our_cpu) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..ROUNDS {
        let began = cpu();
        let floor_took = time(bench, connections, each, floor).await;
        let between = cpu();
        let ours_took = time(bench, connections, each, ours).await;
        floor_cpu += between - began;
        our_cpu += cpu() - between;
        ratios.push(floor_took.as_secs_f64() / ours_took.as_secs_f64());
        floors.push((connections * each) as f64 / floor_took.as_secs_f64());
        mine.push((connections * each) as f64 / ours_took.as_secs_f64());
    }
    let trips = bench.round_trips(ours(bench.clone(), 0)).await;
    let floor_trips = bench.floor_round_trips(floor(bench.clone(), 0)).await;
    let ratio = Spread::of(&mut ratios);
    let done = (ROUNDS * connections * each) as f64;
    let per = |cpu: Duration| cpu.as_secs_f64() * 1e6 / done;
    let verdict = if ratio.median >= aim { "" } else { "  MISSED" };
    println!(
        "{name:<44} {connections:>5} {:>9.0} {:>9.0}   {:<22} {aim:>5}  {trips} (floor {floor_trips})  {:>6.0} µs (floor {:.0}){verdict}",
        Spread::of(&mut floors).median,
        Spread::of(&mut mine).median,
        ratio.to_string(),
        per(our_cpu),
        per(floor_cpu),
    );
}

/// Returns the CPU time of this process, without PostgreSQL's.
fn cpu() -> Duration {
    let used = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let micros = |time: nix::sys::time::TimeVal| {
        use nix::sys::time::TimeValLike as _;
        Duration::from_micros(u64::try_from(time.num_microseconds()).unwrap())
    };
    micros(used.user_time()) + micros(used.system_time())
}

async fn time(bench: &Bench, connections: usize, each: usize, work: &dyn Work) -> Duration {
    let began = Instant::now();
    let callers = (0..connections).map(|n| {
        let doings: Vec<_> = (0..each).map(|_| work(bench.clone(), n)).collect();
        tokio::spawn(async move {
            for doing in doings {
                doing.await;
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    began.elapsed()
}

/// The median of some figures, with the lowest and the highest.
pub(crate) struct Spread {
    pub(crate) median: f64,
    low: f64,
    high: f64,
}

impl Spread {
    pub(crate) fn of(figures: &mut [f64]) -> Self {
        figures.sort_by(f64::total_cmp);
        Self {
            median: figures[figures.len() / 2],
            low: figures[0],
            high: figures[figures.len() - 1],
        }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} ({:.2}–{:.2})", self.median, self.low, self.high)
    }
}
