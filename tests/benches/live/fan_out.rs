//! One comment for a thousand sockets that follow its thread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::extract::ws::Utf8Bytes;
use daybook_tests::live::LiveClient;
use tokio::sync::Notify;

use crate::setup::{Bench, serve};
use crate::{bare, median, print};

const SOCKETS: usize = 1_000;
const SAMPLES: usize = 60;

/// A thousand clients that count their messages.
struct Subscribers {
    got: Arc<AtomicUsize>,
    all: Arc<Notify>,
}

impl Subscribers {
    fn of(sockets: Vec<LiveClient>) -> Self {
        let crowd = Self {
            got: Arc::default(),
            all: Arc::default(),
        };
        for mut socket in sockets {
            let (got, all) = (crowd.got.clone(), crowd.all.clone());
            tokio::spawn(async move {
                while socket.next_text().await.is_some() {
                    if got.fetch_add(1, Ordering::Relaxed) + 1 == SOCKETS {
                        all.notify_one();
                    }
                }
            });
        }
        crowd
    }

    async fn time(&self, send: impl Future<Output = Instant>) -> Duration {
        self.got.store(0, Ordering::Relaxed);
        let began = send.await;
        self.all.notified().await;
        began.elapsed()
    }
}

pub(crate) async fn compare(bench: &Bench) {
    let thread_id = bench.threads(1).await[0];
    let mut followers = Vec::with_capacity(SOCKETS);
    for _ in 0..SOCKETS {
        followers.push(bench.follower(bench.address, thread_id).await);
    }
    let ours = Subscribers::of(followers);

    let (router, sender) = bare::broadcaster();
    let address: SocketAddr = serve(router).await;
    let mut sockets = Vec::with_capacity(SOCKETS);
    for _ in 0..SOCKETS {
        sockets.push(LiveClient::open(address, &format!("ws://{address}/live"), None).await);
    }
    while sender.receiver_count() < SOCKETS {
        tokio::task::yield_now().await;
    }
    let bare = Subscribers::of(sockets);

    let mut example = bench.follower(bench.address, thread_id).await;
    let (mut bares, mut mine) = (Vec::new(), Vec::new());
    for i in 0..SAMPLES + 5 {
        let took = ours.time(comment(bench, thread_id)).await;
        let frame = Utf8Bytes::from(example.next_text().await.unwrap());
        let plain = bare
            .time(async {
                let began = Instant::now();
                sender.send(frame).unwrap();
                began
            })
            .await;
        if i >= 5 {
            mine.push(took.as_secs_f64() * 1e3);
            bares.push(plain.as_secs_f64() * 1e3);
        }
    }
    let (bare, ours) = (median(&mut bares), median(&mut mine));
    print(
        "fan-out: from the commit to the last of 1,000 sockets",
        &format!("{bare:.1} ms"),
        &format!("{ours:.1} ms"),
        ours / bare,
        Some((2.0, true)),
    );
}

/// Commits a message, and returns the time of the commit; the hub reads the message after this.
async fn comment(bench: &Bench, thread_id: uuid::Uuid) -> Instant {
    let tx = bench.database.begin(&bench.context).await.unwrap();
    let post = sqlx::query(
        "WITH t AS (UPDATE threads SET last_seq = last_seq + 1 WHERE team_id = $1 AND id = $2 RETURNING last_seq)
         INSERT INTO thread_messages (team_id, thread_id, seq, kind, author_kind, author_name, body)
         SELECT $1, $2, last_seq, 'comment', 'system', 'bench', 'hello, all of you' FROM t",
    );
    tx.execute_sql(post.bind(bench.team_id).bind(thread_id)).await.unwrap();
    tx.signal(daybook::tenancy::SignalTopic::of("thread", thread_id));
    tx.commit().await.unwrap();
    Instant::now()
}
