//! Tests of the topic `job-sessions`.

use std::collections::BTreeSet;
use std::time::Duration;

use daybook::jobs::{SessionSpec, badge, with_job_session};
use daybook::live::LiveOptions;
use daybook::tenancy::Context;
use serde::Serialize;
use serde_json::{Value, json};

use super::LiveFixture;

#[derive(Serialize)]
struct Fetched {
    players: u32,
}

impl std::fmt::Display for Fetched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fetched {} players", badge("players", self.players))
    }
}

/// Runs a session that adds this number of actions, one after the other.
async fn sync(fixture: &LiveFixture, actions: u32) {
    let spec = SessionSpec::new("sync_roster")
        .context(Context::system(fixture.app.team.id, "test"))
        .input(&json!({"secret": "only in the single session"}))
        .sentence(format_args!("Started syncing {}", badge("roster", "HT2MJM")));
    with_job_session(&fixture.app.database, spec, async |session| {
        for players in 1..=actions {
            session.add_action(&Fetched { players }).await?;
        }
        Ok(())
    })
    .await
    .unwrap();
}

/// Returns the numbers of the frames' actions, the session's last status and the last cursor.
fn contents(frames: &[Value]) -> (Vec<i64>, String, String) {
    let actions = frames.iter().flat_map(|frame| frame["actions"].as_array().unwrap());
    let last = frames.last().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (
        actions.map(|action| action["seq"].as_i64().unwrap()).collect(),
        text(&last["session"]["status"]),
        text(&last["cursor"]),
    )
}

#[tokio::test]
async fn a_session_is_followed_live_and_resumed_by_a_cursor() {
    let fixture = LiveFixture::new().await;
    let mut grace = fixture.connect(&fixture.grace).await;
    let subscribed = grace
        .follow(json!({"type": "subscribe", "topic": "job-sessions"}))
        .await;
    let before = subscribed["cursor"].as_str().unwrap().to_owned();

    sync(&fixture, 3).await;
    let mut frames = Vec::new();
    while frames
        .last()
        .is_none_or(|frame: &Value| frame["session"]["status"] == "running")
    {
        let frame = grace.next().await;
        assert_eq!(frame["type"], "job-sessions:updated");
        frames.push(frame);
    }
    let (actions, status, cursor) = contents(&frames);
    assert_eq!((actions, status.as_str()), (vec![1, 2, 3], "succeeded"));
    let session = &frames[0]["session"];
    assert!(session.get("input").is_none());
    assert_eq!(
        session["parts"],
        json!([{"kind": "text", "text": "Started syncing "}, {"kind": "badge", "name": "roster", "text": "HT2MJM"}])
    );
    let action = frames.iter().find_map(|frame| frame["actions"].get(0)).unwrap();
    assert_eq!(
        (&action["sentence"], &action["type"]),
        (&json!("Fetched 1 players"), &json!("Fetched"))
    );
    assert_eq!(
        action["parts"][1],
        json!({"kind": "badge", "name": "players", "text": "1"})
    );

    // A client that reconnects receives what has happened since, and nothing else.
    let mut away = fixture.connect(&fixture.ada).await;
    away.follow(json!({"type": "subscribe", "topic": "job-sessions", "cursor": before}))
        .await;
    let (actions, status, _) = contents(&[away.next().await]);
    assert_eq!((actions, status.as_str()), (vec![1, 2, 3], "succeeded"));
    let mut back = fixture.connect(&fixture.ada).await;
    back.follow(json!({"type": "subscribe", "topic": "job-sessions", "cursor": cursor}))
        .await;
    assert!(back.frames_until_pong().await.is_empty());
    sync(&fixture, 1).await;
    assert_eq!(back.next().await["session"]["job_name"], "sync_roster");
}

#[tokio::test]
async fn several_pages_arrive_completely_also_without_signals() {
    let options = LiveOptions::default()
        .ignore_signals(true)
        .poll_interval(Duration::from_millis(100));
    let fixture = LiveFixture::with_options(options).await;
    let mut grace = fixture.connect(&fixture.grace).await;
    grace
        .follow(json!({"type": "subscribe", "topic": "job-sessions"}))
        .await;
    sync(&fixture, 450).await;
    let mut seen = Vec::new();
    let mut ended = false;
    while !ended || seen.len() < 450 {
        let frame = grace.next().await;
        ended |= frame["session"]["status"] == "succeeded";
        seen.extend(contents(&[frame]).0);
    }
    assert_eq!(seen, (1..=450).collect::<Vec<_>>());
}

#[tokio::test]
async fn another_teams_sessions_are_not_sent() {
    let fixture = LiveFixture::new().await;
    let mut grace = fixture.connect(&fixture.grace).await;
    grace
        .follow(json!({"type": "subscribe", "topic": "job-sessions"}))
        .await;
    let other = fixture.app.db.team("Other").await;
    let spec = SessionSpec::new("elsewhere").context(Context::system(other.id, "test"));
    with_job_session(&fixture.app.database, spec, async |_| Ok(()))
        .await
        .unwrap();
    // The read for this session comes after the other session was written.
    sync(&fixture, 1).await;
    let frame = grace.next().await;
    assert_eq!(frame["session"]["job_name"], "sync_roster");
    let mut frames = vec![frame];
    while frames.last().unwrap()["session"]["status"] == "running" {
        frames.push(grace.next().await);
    }
    let ids: BTreeSet<_> = frames
        .iter()
        .map(|frame| frame["session"]["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), 1, "{frames:?}");
    assert_eq!(contents(&frames).0, [1], "{frames:?}");
}
