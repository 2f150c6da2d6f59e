//! The work as a route does it, with the public helpers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use daybook::campaigns::campaign;
use daybook::prelude::*;

use crate::setup::{Bench, Parts, WorkFuture};

/// Makes sure that each update changes something.
static NEXT: AtomicU64 = AtomicU64::new(1);

pub(crate) fn next_budget() -> Decimal {
    Decimal::from(NEXT.fetch_add(1, Ordering::Relaxed))
}

fn new_campaign() -> campaign::ActiveModel {
    campaign::ActiveModel {
        name: Set("Spring launch".to_owned()),
        budget: Set(Decimal::from(100)),
        client_email: Set(Some("client@example.com".to_owned())),
        ..Default::default()
    }
}

pub(crate) async fn make(bench: &Parts, n: usize) -> Vec<campaign::Model> {
    let tx = bench.without_consumers.enter(&bench.entry()).await.unwrap();
    let made = create_models_with_events(&tx, vec![new_campaign(); n], Track::All)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    made
}

pub(crate) fn create(bench: Bench, _: usize) -> WorkFuture {
    Box::pin(async move {
        let tx = bench.without_consumers.enter(&bench.entry()).await.unwrap();
        create_model_with_event(&tx, new_campaign(), Track::All).await.unwrap();
        tx.commit().await.unwrap();
    })
}

pub(crate) fn create_story(bench: Bench, _: usize) -> WorkFuture {
    Box::pin(async move {
        let tx = bench.with_consumers.enter(&bench.entry()).await.unwrap();
        create_model_with_event(&tx, new_campaign(), Track::All).await.unwrap();
        tx.commit().await.unwrap();
    })
}

pub(crate) fn update(bench: Bench, n: usize) -> WorkFuture {
    Box::pin(async move {
        let tx = bench.without_consumers.enter(&bench.entry()).await.unwrap();
        let changes = campaign::ActiveModel {
            budget: Set(next_budget()),
            ..Default::default()
        };
        update_model_with_event(&tx, &bench.campaigns[n], changes, Track::All)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    })
}

pub(crate) fn create_1000(bench: Bench, _: usize) -> WorkFuture {
    Box::pin(async move {
        make(&bench, 1_000).await;
    })
}

pub(crate) fn update_1000(bench: Bench, n: usize) -> WorkFuture {
    Box::pin(async move {
        let tx = bench.without_consumers.enter(&bench.entry()).await.unwrap();
        let select = campaign::Entity::find().filter(campaign::Column::Id.eq_any(bench.thousands[n].iter().copied()));
        let changes = campaign::ActiveModel {
            budget: Set(next_budget()),
            ..Default::default()
        };
        let changed = update_models_with_events(&tx, select, changes, Track::All)
            .await
            .unwrap();
        assert_eq!(changed.len(), 1_000);
        tx.commit().await.unwrap();
    })
}

/// Measures the limit: one autocommitted statement that does everything of "create, event only". A program that asks
/// the database who acts before it writes can't be as fast.
pub(crate) async fn print_limit(bench: &Bench) {
    let n = 500;
    for _ in 0..20 {
        one_statement(bench).await;
    }
    let began = Instant::now();
    for _ in 0..n {
        one_statement(bench).await;
    }
    let limit = f64::from(n) / began.elapsed().as_secs_f64();
    println!(
        "\nthe limit: one statement that writes model and event without checking who acts, 1 connection: {limit:.0}/s"
    );
}

async fn one_statement(bench: &Bench) {
    sqlx::query(
        "WITH c AS MATERIALIZED (SELECT set_config('daybook.team_id', $1, true)::uuid AS team_id),
            model AS (INSERT INTO campaigns (team_id, id, name, budget, client_email)
                SELECT team_id, $2, 'Spring launch', 100, 'client@example.com' FROM c RETURNING id)
         INSERT INTO events (team_id, id, event_type, object_type, object_id, object_label, threadable, actor_kind,
            actor_id, actor_name, event_data, schema_version, correlation_id)
         SELECT c.team_id, $3, 'CREATED', 'campaign', $4, 'Spring launch', true, 'user', $5, 'ada', $6, 1, $2 FROM c",
    )
    .bind(bench.team_id.to_string())
    .bind(Uuid::now_v7())
    .bind(Uuid::now_v7())
    .bind(Uuid::now_v7().to_string())
    .bind(bench.user_id)
    .bind(crate::floor::created_data())
    .execute(&bench.pool)
    .await
    .unwrap();
}
