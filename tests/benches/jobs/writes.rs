//! Actions and enqueueing, beside the same rows with plain sqlx; and the cost of a durable consumer for a change.

use std::fmt;
use std::time::Instant;

use daybook::campaigns::campaign;
use daybook::events::Consumers;
use daybook::jobs::{SessionSpec, with_job_session};
use daybook::live::{Live, LiveOptions};
use daybook::prelude::*;
use serde_json::json;

use crate::noop::Noop;
use crate::setup::Bench;
use crate::{median_and_range, verdict};

const ACTIONS: usize = 2_000;
const ROUNDS: usize = 9;

#[derive(Debug, Clone, Serialize)]
struct Fetched {
    players: usize,
    roster: &'static str,
}

impl fmt::Display for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fetched {} players of {}", self.players, self.roster)
    }
}

fn fetched(players: usize) -> Fetched {
    Fetched {
        players,
        roster: "HT2MJM",
    }
}

/// Inserts one row after the other into `job_actions` with plain sqlx, in statements that enter the team themselves.
async fn plain_actions(bench: &Bench, session_id: Uuid) -> f64 {
    let began = Instant::now();
    for seq in 1..=ACTIONS {
        sqlx::query(
            "INSERT INTO job_actions (team_id, session_id, seq, at, action_type, sentence, payload)
             SELECT $1, $2, $3, clock_timestamp(), $4, $5, $6
             FROM (SELECT set_config('daybook.team_id', $1::uuid::text, true)) AS entered",
        )
        .bind(bench.context.team_id)
        .bind(session_id)
        .bind(i64::try_from(seq).unwrap())
        .bind("Fetched")
        .bind("Fetched 40 players of HT2MJM")
        .bind(json!({"players": 40, "roster": "HT2MJM"}))
        .execute(&bench.app)
        .await
        .unwrap();
    }
    ACTIONS as f64 / began.elapsed().as_secs_f64()
}

async fn our_actions(bench: &Bench, database: &Database, batch: usize) -> f64 {
    let spec = SessionSpec::new("actions").context(bench.context.clone());
    with_job_session(database, spec, async |session| {
        let began = Instant::now();
        match batch {
            1 => {
                for players in 0..ACTIONS {
                    session.add_action(&fetched(players)).await?;
                }
            }
            _ => {
                for players in (0..ACTIONS).step_by(batch) {
                    let actions: Vec<_> = (players..players + batch).map(fetched).collect();
                    session.add_actions(&actions).await?;
                }
            }
        }
        Ok(ACTIONS as f64 / began.elapsed().as_secs_f64())
    })
    .await
    .unwrap()
}

pub(crate) async fn actions(bench: &Bench) {
    println!("{ACTIONS} actions of one session, one after the other");
    let (mut ours, mut batched, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    // As many connections as the floor uses: a pool uses its connections in turn, and many are slower than two.
    let database = bench.with_two_connections().await;
    for _ in 0..ROUNDS {
        ours.push(our_actions(bench, &database, 1).await);
        batched.push(our_actions(bench, &database, 100).await);
        let spec = SessionSpec::new("floor").context(bench.context.clone());
        let floor = with_job_session(&bench.database, spec, async |session| {
            Ok(plain_actions(bench, session.id()).await)
        });
        plain.push(floor.await.unwrap());
    }
    let (floor, low, high) = median_and_range(&mut plain);
    println!("  plain single-row inserts           {floor:>8.0}/s ({low:.0}–{high:.0})");
    for (name, figures, aim) in [
        ("add_action", &mut ours, 0.9),
        ("add_actions, 100 at a time", &mut batched, 5.0),
    ] {
        let (each, low, high) = median_and_range(figures);
        println!(
            "  {name:<34} {each:>8.0}/s ({low:.0}–{high:.0}); {:.2}{}",
            each / floor,
            verdict(each / floor, aim)
        );
    }
    println!();
}

/// Enqueues jobs in one transaction, and inserts the same rows with plain statements in such a transaction.
pub(crate) async fn enqueue(bench: &Bench) {
    const JOBS: u32 = 2_000;
    println!("tx.enqueue, {JOBS} in one transaction, rolled back");
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let tx = bench.database.begin(&bench.context).await.unwrap();
        let began = Instant::now();
        for n in 0..JOBS {
            tx.enqueue(Noop { n }).await.unwrap();
        }
        ours.push(f64::from(JOBS) / began.elapsed().as_secs_f64());
        tx.rollback().await.unwrap();

        let mut tx = bench.app.begin().await.unwrap();
        sqlx::query("SELECT set_config('daybook.team_id', $1, true)")
            .bind(bench.context.team_id.to_string())
            .execute(&mut *tx)
            .await
            .unwrap();
        let began = Instant::now();
        for n in 0..JOBS {
            sqlx::query(
                "INSERT INTO job_requests (team_id, id, job_name, job_id, input, context, run_at, priority, max_attempts)
                 VALUES ($1, $2, $3, $2, $4, $5, clock_timestamp(), $6, $7)",
            )
            .bind(bench.context.team_id)
            .bind(Uuid::now_v7())
            .bind("noop")
            .bind(serde_json::to_value(Noop { n }).unwrap())
            .bind(serde_json::to_value(&bench.context).unwrap())
            .bind(0_i16)
            .bind(25_i16)
            .execute(&mut *tx)
            .await
            .unwrap();
        }
        plain.push(f64::from(JOBS) / began.elapsed().as_secs_f64());
        tx.rollback().await.unwrap();
    }
    let (floor, low, high) = median_and_range(&mut plain);
    println!("  plain inserts of the same rows     {floor:>8.0}/s ({low:.0}–{high:.0})");
    let (each, low, high) = median_and_range(&mut ours);
    println!(
        "  tx.enqueue                         {each:>8.0}/s ({low:.0}–{high:.0}); {:.2}{}\n",
        each / floor,
        verdict(each / floor, 0.9)
    );
}

#[event_consumer(all, mode = durable, name = "bench")]
async fn durable(_ctx: &ConsumerContext, _events: &[Event]) -> ConsumerResult {
    Ok(())
}

/// Returns the number of campaigns created per second, eight at a time.
async fn changes(bench: &Bench, database: &Database) -> f64 {
    const CHANGES_PER_TASK: usize = 250;
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let (database, context) = (database.clone(), bench.context.clone());
        tasks.spawn(async move {
            for n in 0..CHANGES_PER_TASK {
                let tx = database.begin(&context).await.unwrap();
                let campaign = campaign::ActiveModel {
                    name: Set(format!("{writer} {n}")),
                    ..Default::default()
                };
                create_model_with_event(&tx, campaign, Track::All).await.unwrap();
                tx.commit().await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    (8 * CHANGES_PER_TASK) as f64 / began.elapsed().as_secs_f64()
}

/// Measures the cost of a durable consumer for the matching changes. Its workers are in another process, and paused.
pub(crate) async fn consumer(bench: &Bench) {
    println!("Campaigns created, 8 at a time, signals sent to other processes; the workers paused in another process");
    let without = bench.with_consumers(Consumers::none()).await;
    let with = bench.with_consumers(Consumers::of([durable::CONSUMER]).unwrap()).await;
    let live = [&without, &with]
        .map(|database| Live::start(database, Some(bench.owner.clone()), LiveOptions::default()).unwrap());
    let (mut floor, mut ours) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let (one, other) = (changes(bench, &without).await, changes(bench, &with).await);
        // The first round warms up.
        if round > 0 {
            floor.push(one);
            ours.push(other);
        }
    }
    drop(live);
    let (floor, low, high) = median_and_range(&mut floor);
    println!("  without a durable consumer         {floor:>8.0}/s ({low:.0}–{high:.0})");
    let (each, low, high) = median_and_range(&mut ours);
    println!(
        "  with one                           {each:>8.0}/s ({low:.0}–{high:.0}); {:.2}{}\n",
        each / floor,
        verdict(each / floor, 0.95)
    );
}
