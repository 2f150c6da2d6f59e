//! Tests of the feeds of runs and job sessions with transactions that stay open during a read: within one page, and
//! between two pages.

use std::collections::BTreeMap;

use daybook_tests::live::LiveClient;
use daybook_tests::wait_for_blocked_session;
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _};

use super::LiveFixture;

/// Maximum number of rows of a page.
const PAGE_ROWS: i32 = 200;

/// A feed of a team, and the statement that inserts its rows.
struct Feed {
    topic: &'static str,
    /// Inserts `$3` rows for the team `$1`, with the name `$2` and a number.
    insert: &'static str,
    name: &'static str,
}

const RUNS: Feed = Feed {
    topic: "runs",
    insert: "INSERT INTO runs (team_id, id, name, status, events_path, lost_after_seconds, correlation_id)
         SELECT $1, gen_random_uuid(), $2 || n, 'queued', 'nowhere', 60, $1 FROM generate_series(1, $3) n",
    name: "/run/name",
};

const SESSIONS: Feed = Feed {
    topic: "job-sessions",
    insert: "INSERT INTO job_sessions (team_id, id, job_name, job_id, attempt, max_attempts, status, sentence, input,
            context, correlation_id, finished_at)
         SELECT $1, gen_random_uuid(), $2 || n, gen_random_uuid(), 1, 1, 'succeeded', 'Synced', '{}', '{}', $1, now()
         FROM generate_series(1, $3) n",
    name: "/session/job_name",
};

impl Feed {
    async fn write(&self, fixture: &LiveFixture, connection: &mut PgConnection, name: &str, rows: i32) {
        let query = sqlx::query(self.insert).bind(fixture.app.team.id).bind(name).bind(rows);
        query.execute(connection).await.unwrap();
    }

    /// Inserts a row in a transaction that stays open.
    async fn open(&self, fixture: &LiveFixture, name: &str) -> PgConnection {
        let mut connection = fixture.app.team.connection().await;
        connection.execute("BEGIN").await.unwrap();
        self.write(fixture, &mut connection, name, 1).await;
        connection
    }

    fn name_in(&self, frame: &Value) -> String {
        let name = frame.pointer(self.name).and_then(Value::as_str);
        name.unwrap_or_else(|| panic!("{frame}")).to_owned()
    }

    fn subscribe(&self, cursor: Option<&Value>) -> Value {
        let mut frame = json!({"type": "subscribe", "topic": self.topic});
        if let Some(cursor) = cursor {
            frame["cursor"] = cursor.clone();
        }
        frame
    }
}

async fn a_slow_transaction_is_not_skipped(feed: Feed) {
    let fixture = LiveFixture::new().await;
    let mut grace = fixture.connect(&fixture.grace).await;
    grace.follow(feed.subscribe(None)).await;
    let mut slow = feed.open(&fixture, "slow").await;
    let mut others = fixture.app.team.connection().await;
    feed.write(&fixture, &mut others, "quick", 1).await;
    assert_eq!(feed.name_in(&grace.next().await), "quick1");
    slow.execute("COMMIT").await.unwrap();
    assert_eq!(feed.name_in(&grace.next().await), "slow1");
    assert!(grace.frames_until_pong().await.is_empty());
}

/// The first open transaction has a lower number than all rows that are read, the second one a number between two
/// pages. Both commit after the first page was read.
async fn rows_that_commit_between_pages_are_sent_once(feed: Feed) {
    let fixture = LiveFixture::new().await;
    let mut grace = fixture.connect(&fixture.grace).await;
    let cursor = grace.follow(feed.subscribe(None)).await["cursor"].clone();
    drop(grace);
    let mut early = feed.open(&fixture, "early").await;
    let mut others = fixture.app.team.connection().await;
    let mut middle = None;
    let parts = 12;
    for part in 0..parts {
        if part == parts / 2 {
            middle = Some(feed.open(&fixture, "middle").await);
        }
        feed.write(&fixture, &mut others, &format!("part{part}_"), PAGE_ROWS)
            .await;
    }
    // A client with a small receive buffer takes one page at a time.
    let mut again = LiveClient::connect_with_small_buffer(fixture.address, &fixture.grace).await;
    again.follow(feed.subscribe(Some(&cursor))).await;
    let mut seen = BTreeMap::from([(feed.name_in(&again.next().await), 1)]);
    for open in [&mut early, &mut middle.unwrap()] {
        open.execute("COMMIT").await.unwrap();
    }
    while seen.len() < usize::try_from(parts * PAGE_ROWS).unwrap() + 2 {
        *seen.entry(feed.name_in(&again.next().await)).or_default() += 1;
    }
    assert!(again.frames_until_pong().await.is_empty());
    let several: Vec<_> = seen.iter().filter(|(_, times)| **times != 1).collect();
    assert!(several.is_empty(), "not sent exactly once: {several:?}");
}

#[tokio::test]
async fn the_run_of_a_slow_transaction_is_not_skipped() {
    a_slow_transaction_is_not_skipped(RUNS).await;
}

#[tokio::test]
async fn the_session_of_a_slow_transaction_is_not_skipped() {
    a_slow_transaction_is_not_skipped(SESSIONS).await;
}

#[tokio::test]
async fn runs_that_commit_between_two_pages_are_sent_once() {
    rows_that_commit_between_pages_are_sent_once(RUNS).await;
}

#[tokio::test]
async fn sessions_that_commit_between_two_pages_are_sent_once() {
    rows_that_commit_between_pages_are_sent_once(SESSIONS).await;
}

/// The read of a subscription that was cancelled ends after the next subscription to the same topic, which begins
/// elsewhere.
#[tokio::test]
async fn a_read_for_a_cancelled_subscription_does_not_change_the_next_one() {
    let fixture = LiveFixture::new().await;
    let mut grace = fixture.connect(&fixture.grace).await;
    let cursor = grace.follow(RUNS.subscribe(None)).await["cursor"].clone();
    drop(grace);
    let mut writer = fixture.app.team.connection().await;
    RUNS.write(&fixture, &mut writer, "missed", 1).await;

    let mut owner = fixture.app.db.owner().await;
    let mut holding = owner.begin().await.unwrap();
    holding
        .execute("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let mut again = fixture.connect(&fixture.grace).await;
    again.send(RUNS.subscribe(None)).await;
    wait_for_blocked_session(&fixture.app.db).await;
    again.send(json!({"type": "unsubscribe", "topic": RUNS.topic})).await;
    again.send(RUNS.subscribe(Some(&cursor))).await;
    let frames = again.frames_until_pong().await;
    assert_eq!(frames, [json!({"type": "unsubscribed", "topic": RUNS.topic})]);
    holding.rollback().await.unwrap();
    let subscribed = again.next().await;
    assert_eq!(
        (&subscribed["type"], &subscribed["cursor"]),
        (&json!("subscribed"), &cursor)
    );
    assert_eq!(RUNS.name_in(&again.next().await), "missed1");
}
