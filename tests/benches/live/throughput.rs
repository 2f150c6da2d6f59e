//! The main job while a thousand sockets follow threads that nobody writes to.

use std::time::{Duration, Instant};

use daybook::events::{Track, create_model_with_event};
use daybook_tests::live::LiveClient;

use crate::setup::{Bench, named};
use crate::{median, print};

const SOCKETS: usize = 1_000;
const ROUNDS: usize = 9;
const WRITERS: usize = 8;
const WRITES_PER_WRITER: usize = 150;

pub(crate) async fn compare(bench: &Bench) {
    let threads = bench.threads(SOCKETS).await;
    write(bench).await;
    let (mut alone, mut with_sockets, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let without = write(bench).await;
        let mut sockets: Vec<LiveClient> = Vec::with_capacity(SOCKETS);
        for thread_id in &threads {
            sockets.push(bench.follower(bench.address, *thread_id).await);
        }
        let with = write(bench).await;
        drop(sockets);
        let a_second = |took: Duration| (WRITERS * WRITES_PER_WRITER) as f64 / took.as_secs_f64();
        alone.push(a_second(without));
        with_sockets.push(a_second(with));
        ratios.push(without.as_secs_f64() / with.as_secs_f64());
    }
    print(
        "throughput: whole story, 8 writers, beside 1,000 sockets",
        &format!("{:.0}/s", median(&mut alone)),
        &format!("{:.0}/s", median(&mut with_sockets)),
        median(&mut ratios),
        Some((0.9, false)),
    );
}

async fn write(bench: &Bench) -> Duration {
    let began = Instant::now();
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let bench = bench.clone();
            tokio::spawn(async move {
                for _ in 0..WRITES_PER_WRITER {
                    let tx = bench.database.begin(&bench.context).await.unwrap();
                    create_model_with_event(&tx, named("Spring"), Track::All).await.unwrap();
                    tx.commit().await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    began.elapsed()
}
