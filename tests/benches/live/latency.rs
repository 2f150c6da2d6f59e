//! The time from a commit to the frame at one subscriber, on an idle database.

use std::time::{Duration, Instant};

use daybook_tests::live::LiveClient;
use sqlx::postgres::{PgListener, PgPoolOptions};
use uuid::Uuid;

use crate::setup::Bench;
use crate::{median, print};

const SAMPLES: usize = 300;

pub(crate) async fn compare(bench: &Bench) {
    let thread_id = bench.threads(1).await[0];
    let mut here = bench.follower(bench.address, thread_id).await;

    let pool = PgPoolOptions::new()
        .max_connections(2)
        .connect_with(bench.owner.clone())
        .await
        .unwrap();
    let mut listener = PgListener::connect_with(&pool).await.unwrap();
    listener.listen("bench").await.unwrap();

    let (mut bare, mut sent, mut done) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..SAMPLES + 20 {
        let began = Instant::now();
        sqlx::query("SELECT pg_notify('bench', 'x')")
            .execute(&pool)
            .await
            .unwrap();
        listener.recv().await.unwrap();
        let notified = began.elapsed();
        let (from_sent, from_done) = commit_to_frame(bench, thread_id, &mut here).await;
        if i >= 20 {
            bare.push(notified.as_secs_f64() * 1e6);
            sent.push(from_sent.as_secs_f64() * 1e6);
            done.push(from_done.as_secs_f64() * 1e6);
        }
    }
    let bare = median(&mut bare);
    for (name, times, aim) in [
        (
            "latency: NOTIFY to LISTEN, commit to frame",
            &mut done,
            Some((3.0, true)),
        ),
        (
            "latency: the same, with the COMMIT itself and its fsync",
            &mut sent,
            None,
        ),
    ] {
        let ours = median(times);
        print(
            name,
            &format!("{bare:.0} µs"),
            &format!("{ours:.0} µs"),
            ours / bare,
            aim,
        );
    }
    drop(listener);
    pool.close().await;
}

/// Returns the time to the frame at the client: from before the COMMIT is sent, and from its response. A NOTIFY that
/// writes nothing else does not wait for the disk.
async fn commit_to_frame(bench: &Bench, thread_id: Uuid, follower: &mut LiveClient) -> (Duration, Duration) {
    let tx = bench.database.begin(&bench.context).await.unwrap();
    let post = sqlx::query(
        "WITH t AS (UPDATE threads SET last_seq = last_seq + 1 WHERE team_id = $1 AND id = $2 RETURNING last_seq)
         INSERT INTO thread_messages (team_id, thread_id, seq, kind, author_kind, author_name, body)
         SELECT $1, $2, last_seq, 'comment', 'system', 'bench', 'hello' FROM t",
    );
    tx.execute_sql(post.bind(bench.team_id).bind(thread_id)).await.unwrap();
    tx.signal(daybook::tenancy::SignalTopic::of("thread", thread_id));
    let began = Instant::now();
    tx.commit().await.unwrap();
    let committed = Instant::now();
    follower.next_text().await.unwrap();
    (began.elapsed(), committed.elapsed())
}
