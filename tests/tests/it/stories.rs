//! What one request led to, with its causes.

use daybook::events::Consumers;
use daybook::prelude::*;
use daybook::testing::TestDb;
use daybook_tests::http::{TestApp, sample_program};
use daybook_tests::jobs::{hire, quick};
use daybook_tests::{campaign, eventually};
use serde_json::{Value, json};

const STORY: &str = "0af7651916cd43dd8448eb211c80319c";

/// Approves what is new, after the commit.
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
async fn a_request_its_events_its_jobs_and_theirs_are_one_story() {
    let program = sample_program().consumers(Consumers::of([approve::CONSUMER]).unwrap());
    let db = TestDb::with_migrations(sample_program().migrations().clone()).await;
    let options = db.options();
    let app = TestApp::start_as(program, db, options).await;
    let ada = app.member("ada", Role::Owner).await;
    let workers = hire(&app.db, &app.database, &quick()).await;
    let watching = daybook::tenancy::WorkerDatabase::connect(app.db.owner_options(), 1)
        .await
        .unwrap();
    eventually("the consumer's beginning", async || {
        !daybook::jobs::watch(&watching).await.unwrap().lags.is_empty()
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
    let told: Vec<(&Value, &Value)> = steps
        .iter()
        .map(|step| match step["kind"].as_str() {
            Some("event") => (&step["event"]["text"], &step["caused_by"]),
            _ => (&step["session"]["sentence"], &step["caused_by"]),
        })
        .collect();
    assert_eq!(told[0], (&json!("Ada created campaign “Spring”"), &Value::Null));
    assert_eq!(
        told[1],
        (
            &json!("Started giving an event to approver"),
            &json!({"kind": "event", "id": steps[0]["id"]})
        )
    );
    assert_eq!(told[2].1, &json!({"kind": "job", "id": steps[1]["id"]}));
    assert!(
        told[2]
            .0
            .as_str()
            .unwrap()
            .starts_with("approver changed name of campaign"),
        "{told:?}"
    );
    assert_eq!(story["truncated"], false);

    // Another team's eyes see nothing of it.
    let other = app.db.team("Other").await;
    let eve = app.member_of(&other, "eve", Role::Owner).await;
    eve.get(&path).await.problem(StatusCode::NOT_FOUND, "not-found");
    workers.stop().await;
}
