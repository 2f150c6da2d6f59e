//! Tests of stories: what one request led to, with the causes.

use daybook::events::Consumers;
use daybook::prelude::*;
use daybook::testing::TestDb;
use daybook_tests::http::{TestApp, sample_program};
use daybook_tests::jobs::{start_workers, test_worker_options};
use daybook_tests::{campaign, eventually};
use serde_json::{Value, json};

const STORY: &str = "0af7651916cd43dd8448eb211c80319c";

/// Approves new campaigns, after the commit.
#[event_consumer(EventType::Created, object_type = "campaign", mode = durable, name = "approver")]
async fn approve(ctx: &ConsumerContext, event: &Event) -> ConsumerResult {
    let tx = ctx.begin().await?;
    if ctx.once(&tx).await?
        && let Some(campaign) = event.object::<campaign::Model>(&tx).await?
    {
        let rename = campaign::ActiveModel {
            name: Set("Approved".to_owned()),
            ..Default::default()
        };
        update_model_with_event(&tx, &campaign, rename, Track::All).await?;
    }
    tx.commit().await?;
    Ok(())
}

#[tokio::test]
async fn a_requests_events_jobs_and_their_events_are_one_story() {
    let program = sample_program().consumers(Consumers::of([approve::CONSUMER]).unwrap());
    let db = TestDb::with_migrations(sample_program().migrations().clone()).await;
    let options = db.options();
    let app = TestApp::start_program(program, db, options).await;
    let ada = app.member("ada", Role::Owner).await;
    let workers = start_workers(&app.db, &app.database, &test_worker_options()).await;
    let watching = daybook::tenancy::WorkerDatabase::connect(app.db.owner_options(), 1)
        .await
        .unwrap();
    eventually("the consumer has started", async || {
        !daybook::jobs::queue_state(&watching).await.unwrap().lags.is_empty()
    })
    .await;
    ada.post("/campaigns", json!({"name": "Spring", "budget": "100"}))
        .header("traceparent", &format!("00-{STORY}-b7ad6b7169203331-01"))
        .await
        .is(StatusCode::CREATED);
    let path = format!("/stories/{STORY}");
    let mut story = Value::Null;
    eventually("the whole story", async || {
        story = ada.get(&path).await.ok();
        let steps = story["steps"].as_array().unwrap();
        steps.len() == 3 && steps.iter().all(|step| step["session"]["status"] != "running")
    })
    .await;
    let steps = story["steps"].as_array().unwrap();
    let found_steps: Vec<(&Value, &Value)> = steps
        .iter()
        .map(|step| match step["kind"].as_str() {
            Some("event") => (&step["event"]["text"], &step["caused_by"]),
            _ => (&step["session"]["sentence"], &step["caused_by"]),
        })
        .collect();
    assert_eq!(found_steps[0], (&json!("Ada created campaign “Spring”"), &Value::Null));
    assert_eq!(
        found_steps[1],
        (
            &json!("Started giving an event to approver"),
            &json!({"kind": "event", "id": steps[0]["id"]})
        )
    );
    assert_eq!(found_steps[2].1, &json!({"kind": "job", "id": steps[1]["id"]}));
    assert!(
        found_steps[2]
            .0
            .as_str()
            .unwrap()
            .starts_with("approver changed name of campaign"),
        "{found_steps:?}"
    );
    assert_eq!(story["truncated"], false);

    // It is not visible to another team.
    let other = app.db.team("Other").await;
    let eve = app.member_of(&other, "eve", Role::Owner).await;
    eve.get(&path).await.problem(StatusCode::NOT_FOUND, "not-found");
    workers.stop().await;
}

/// A job has recorded an event, enqueued another job because of it, and started a run.
#[tokio::test]
async fn of_two_causes_the_nearer_one_is_returned() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    ada.post("/campaigns", json!({"name": "Spring", "budget": "100"}))
        .header("traceparent", &format!("00-{STORY}-b7ad6b7169203331-01"))
        .await
        .is(StatusCode::CREATED);
    let path = format!("/stories/{STORY}");
    let event = ada.get(&path).await.ok()["steps"][0]["id"].clone();
    let event_id: Uuid = event.as_str().unwrap().parse().unwrap();
    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    let requested = Context::system(app.team.id, "test");
    let by_first = Context {
        actor: Actor::Job {
            id: first,
            name: "first".to_owned(),
        },
        ..requested.clone()
    };
    let mut connection = app.team.connection().await;
    for (id, context, cause) in [(first, requested, None), (second, by_first, Some(event_id))] {
        sqlx::query(
            "INSERT INTO job_sessions (team_id, id, job_name, job_id, attempt, max_attempts, status, sentence, input,
                context, correlation_id, causation_id, finished_at)
             VALUES ($1, $2, 'sync', $2, 1, 1, 'succeeded', 'Synced', '{}', $3, $4::text::uuid, $5, now())",
        )
        .bind(app.team.id)
        .bind(id)
        .bind(serde_json::to_value(&context).unwrap())
        .bind(STORY)
        .bind(cause)
        .execute(&mut connection)
        .await
        .unwrap();
    }
    sqlx::query(
        "INSERT INTO runs (team_id, id, name, status, events_path, lost_after_seconds, correlation_id, causation_id,
            job_session_id)
         VALUES ($1, $2, 'import', 'queued', 'nowhere', 60, $3::text::uuid, $4, $5)",
    )
    .bind(app.team.id)
    .bind(Uuid::now_v7())
    .bind(STORY)
    .bind(event_id)
    .bind(first)
    .execute(&mut connection)
    .await
    .unwrap();
    let story = ada.get(&path).await.ok();
    let steps = story["steps"].as_array().unwrap();
    let cause = |found: &dyn Fn(&Value) -> bool| {
        let step = steps.iter().find(|step| found(step)).unwrap();
        step["caused_by"].clone()
    };
    assert_eq!(cause(&|step| step["id"] == json!(first)), Value::Null);
    assert_eq!(
        cause(&|step| step["id"] == json!(second)),
        json!({"kind": "event", "id": event})
    );
    assert_eq!(
        cause(&|step| step["kind"] == "run"),
        json!({"kind": "job", "id": first})
    );
}
