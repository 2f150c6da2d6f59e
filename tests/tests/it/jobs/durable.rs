//! Tests of consumers that run after the commit, and of isolated ones that are retried.

use std::time::Duration;

use daybook::events::Consumers;
use daybook::jobs::replayable;
use daybook::prelude::*;
use daybook_tests::jobs::{JobRunner, program};
use daybook_tests::{eventually, widget};
use serde_json::{Value, json};

/// Inserts an event's object into `jottings`, in the transaction that records that the event was processed.
async fn insert_jotting_once(ctx: &ConsumerContext, event: &Event) -> ConsumerResult {
    let tx = ctx.begin().await?;
    if ctx.once(&tx).await? {
        insert_jotting(&tx, &event.object_label).await?;
    }
    tx.commit().await?;
    Ok(())
}

async fn insert_jotting(tx: &TeamTx, body: &str) -> Result<()> {
    let query = sqlx::query("INSERT INTO jottings (team_id, body) VALUES ($1, $2)");
    tx.execute_sql(query.bind(tx.team_id()).bind(body)).await?;
    Ok(())
}

async fn mended(tx: &TeamTx) -> Result<bool> {
    let found = widget::Entity::find()
        .filter(widget::Column::Name.eq("mended"))
        .one(tx)
        .await?;
    Ok(found.is_some())
}

#[event_consumer(EventType::Created, object_type = "widget", mode = durable, name = "mirror")]
pub async fn mirror(ctx: &ConsumerContext, event: &Event) -> ConsumerResult {
    insert_jotting_once(ctx, event).await
}

/// Does its work and then fails, as if it had not recorded its success.
#[event_consumer(EventType::Created, mode = durable, name = "forgetful")]
async fn forgetful(ctx: &ConsumerContext, event: &Event) -> ConsumerResult {
    let tx = ctx.begin().await?;
    let first = ctx.once(&tx).await?;
    if first {
        insert_jotting(&tx, &event.object_label).await?;
    }
    tx.commit().await?;
    if first {
        Err("forgot that the work was done".into())
    } else {
        Ok(())
    }
}

/// A value of the tests' program.
#[derive(Debug, Clone)]
struct Greeting(&'static str);

#[event_consumer(EventType::Created, object_type = "widget", mode = durable, name = "greeter")]
async fn greeter(ctx: &ConsumerContext, event: &Event) -> ConsumerResult {
    let Greeting(greeting) = ctx.extension::<Greeting>().ok_or("the program has no Greeting")?;
    let tx = ctx.begin().await?;
    if ctx.once(&tx).await? {
        insert_jotting(&tx, &format!("{greeting} {}", event.object_label)).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Records the id of each delivery, and fails at the first attempt at an event.
#[event_consumer(EventType::Created, object_type = "widget", mode = durable, name = "delivered")]
async fn delivered(ctx: &ConsumerContext, event: &Event) -> ConsumerResult {
    let tx = ctx.begin().await?;
    let first = ctx.once(&tx).await?;
    insert_jotting(&tx, &format!("{} {}", event.object_label, ctx.delivery_id())).await?;
    tx.commit().await?;
    if first {
        Err("the answer was lost".into())
    } else {
        Ok(())
    }
}

#[derive(Debug, Serialize)]
struct Counted {
    events: usize,
}

impl std::fmt::Display for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Counted {} events", self.events)
    }
}

#[event_consumer(EventType::Created, EventType::Updated, mode = durable, name = "slices")]
async fn slices(ctx: &ConsumerContext, events: &[Event]) -> ConsumerResult {
    let tx = ctx.begin().await?;
    for event in ctx.fresh(&tx, events).await? {
        insert_jotting(&tx, &event.object_label).await?;
    }
    tx.commit().await?;
    ctx.add_action(&Counted { events: events.len() }).await?;
    Ok(())
}

/// Processes only the first of its events, and then tries to process all of them.
#[event_consumer(EventType::Created, mode = durable, name = "by-halves")]
async fn by_halves(ctx: &ConsumerContext, events: &[Event]) -> ConsumerResult {
    let tx = ctx.begin().await?;
    ctx.fresh(&tx, &events[..1]).await?;
    tx.commit().await?;
    let tx = ctx.begin().await?;
    let once = ctx.once(&tx).await;
    tx.rollback().await?;
    let tx = ctx.begin().await?;
    insert_jotting(&tx, once.unwrap_err().code()).await?;
    for event in ctx.fresh(&tx, events).await? {
        insert_jotting(&tx, &event.object_label).await?;
    }
    tx.commit().await?;
    Ok(())
}

#[event_consumer(EventType::Created, mode = isolate, name = "once-mended")]
async fn once_mended(tx: &TeamTx, event: &Event) -> ConsumerResult {
    if !mended(tx).await? {
        return Err("not mended yet".into());
    }
    insert_jotting(tx, &event.object_label).await?;
    Ok(())
}

async fn jottings(runner: &JobRunner) -> Vec<String> {
    sqlx::query_scalar("SELECT body FROM jottings ORDER BY body")
        .fetch_all(&mut runner.fixture.team.connection().await)
        .await
        .unwrap()
}

async fn timelines(runner: &JobRunner) -> Vec<Value> {
    sqlx::query_scalar("SELECT to_jsonb(t) FROM job_session_timelines t ORDER BY id")
        .fetch_all(&mut runner.fixture.team.connection().await)
        .await
        .unwrap()
}

async fn runner_with(consumer: &'static daybook::events::ConsumerDef) -> JobRunner {
    let runner = JobRunner::with_consumers(Consumers::of([consumer]).unwrap()).await;
    runner.wait_for_consumer(consumer.name).await;
    runner
}

#[tokio::test]
async fn a_durable_consumer_reads_the_programs_own_values() {
    let program = program(Consumers::of([greeter::CONSUMER]).unwrap()).extension(Greeting("Hello"));
    let runner = JobRunner::start_program(program).await;
    runner.wait_for_consumer("greeter").await;
    runner.fixture.widget("a").await;
    eventually("a jotting", async || jottings(&runner).await == ["Hello a"]).await;
}

#[tokio::test]
async fn a_durable_consumer_runs_after_the_commit_as_a_session_in_the_events_story() {
    let runner = runner_with(mirror::CONSUMER).await;
    let tx = runner.fixture.begin().await;
    create_model_with_event(&tx, widget::named("undone"), Track::All)
        .await
        .unwrap();
    tx.rollback().await.unwrap();
    runner.fixture.widget("done").await;
    eventually("a jotting", async || jottings(&runner).await == ["done"]).await;
    eventually("the end of the session", async || {
        timelines(&runner).await[0]["status"] == "succeeded"
    })
    .await;
    let event = runner.fixture.team.events().await.remove(0);
    let sessions = timelines(&runner).await;
    let [session] = &sessions[..] else {
        panic!("{sessions:?}")
    };
    assert_eq!(session["job_name"], "mirror");
    assert_eq!(session["sentence"], "Started giving an event to mirror");
    assert_eq!(session["input"], json!({"consumer": "mirror", "event_ids": [event.id]}));
    assert_eq!(session["correlation_id"], event.correlation_id.to_string());
    assert_eq!(session["causation_id"], event.id.to_string());
}

#[tokio::test]
async fn events_of_a_savepoint_are_handed_over() {
    let runner = runner_with(mirror::CONSUMER).await;
    let tx = runner.fixture.begin().await;
    let inside = async {
        create_model_with_event(&tx, widget::named("inside"), Track::All).await?;
        Ok::<_, Error>(())
    };
    tx.savepoint(inside).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    runner.fixture.widget("after").await;
    eventually("both jottings", async || jottings(&runner).await == ["after", "inside"]).await;
}

#[tokio::test]
async fn an_effect_guarded_by_once_happens_once_in_several_attempts() {
    let runner = runner_with(forgetful::CONSUMER).await;
    runner.fixture.widget("once").await;
    eventually("a second attempt", async || {
        let sessions = timelines(&runner).await;
        sessions.len() == 2 && sessions[1]["status"] == "succeeded"
    })
    .await;
    assert_eq!(
        timelines(&runner).await[0]["error"]["message"],
        "forgot that the work was done"
    );
    assert_eq!(jottings(&runner).await, ["once"]);
}

#[tokio::test]
async fn a_delivery_has_the_same_id_at_every_attempt() {
    let runner = runner_with(delivered::CONSUMER).await;
    runner.fixture.widget("one").await;
    runner.fixture.widget("two").await;
    eventually("two attempts at each", async || jottings(&runner).await.len() == 4).await;
    let jottings = jottings(&runner).await;
    assert_eq!(jottings[0], jottings[1]);
    assert_eq!(jottings[2], jottings[3]);
    let id = |jotting: &str| jotting.split_once(' ').unwrap().1.to_owned();
    assert_ne!(id(&jottings[0]), id(&jottings[2]), "another event is another delivery");
}

#[tokio::test]
async fn a_partly_processed_slice_is_not_processed_again_completely() {
    let runner = runner_with(by_halves::CONSUMER).await;
    let tx = runner.fixture.begin().await;
    let widgets = ["one", "two", "three"].map(widget::named);
    create_models_with_events(&tx, widgets.to_vec(), Track::All)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    eventually("all jottings", async || {
        jottings(&runner).await == ["partly-done", "three", "two"]
    })
    .await;
}

#[tokio::test]
async fn a_replay_has_only_the_events_that_the_consumer_is_registered_for() {
    let fixture = daybook_tests::TeamFixture::new().await;
    fixture.widget("one").await;
    let tx = fixture.begin().await;
    let spring = daybook_tests::campaign::ActiveModel {
        name: Set("Spring".to_owned()),
        budget: Set(100.into()),
        ..Default::default()
    };
    create_model_with_event(&tx, spring, Track::All).await.unwrap();
    tx.commit().await.unwrap();
    let tx = fixture.begin().await;
    let an_hour_ago = Utc::now() - TimeDelta::hours(1);
    let created_widgets = replayable(&tx, mirror::CONSUMER, an_hour_ago).await.unwrap();
    assert_eq!(created_widgets, [fixture.team.events().await[0].id]);
    let all_created = replayable(&tx, forgetful::CONSUMER, an_hour_ago).await.unwrap();
    assert_eq!(all_created.len(), 2);
}

#[tokio::test]
async fn events_that_are_found_together_are_delivered_in_slices() {
    let runner = runner_with(slices::CONSUMER).await;
    let other = runner.fixture.db.team("Other").await;
    let grace = other.member("grace", Role::Owner).await;
    let tx = runner.fixture.database.begin(&grace.context).await.unwrap();
    create_model_with_event(&tx, widget::named("theirs"), Track::All)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let tx = runner.fixture.begin().await;
    let widgets = (0..700).map(|n| widget::named(&format!("{n:03}"))).collect();
    create_models_with_events(&tx, widgets, Track::All).await.unwrap();
    tx.commit().await.unwrap();
    eventually("700 jottings", async || jottings(&runner).await.len() == 700).await;
    eventually("the end of all sessions", async || {
        let sessions = timelines(&runner).await;
        sessions.iter().all(|session| session["status"] == "succeeded")
    })
    .await;
    let sessions = timelines(&runner).await;
    let sizes: Vec<_> = sessions
        .iter()
        .map(|session| session["input"]["event_ids"].as_array().unwrap().len())
        .collect();
    assert_eq!(sizes.iter().sum::<usize>(), 700);
    assert!(sizes.iter().all(|size| *size <= 500), "{sizes:?}");
    assert_eq!(
        sessions[0]["actions"][0]["sentence"],
        format!("Counted {} events", sizes[0])
    );
    let theirs: i64 = daybook_tests::count(&mut other.connection().await, "jottings").await;
    assert_eq!(theirs, 1);
}

#[tokio::test]
async fn an_isolated_failure_is_retried_as_a_job_until_it_is_resolved() {
    let runner = JobRunner::with_consumers(Consumers::of([once_mended::CONSUMER]).unwrap()).await;
    runner.fixture.widget("early").await;
    assert_eq!(runner.fixture.count("consumer_failures").await, 1);
    runner.fixture.widget("mended").await;
    eventually("the failure is resolved", async || {
        let open: i64 = sqlx::query_scalar("SELECT count(*) FROM consumer_failures WHERE resolved_at IS NULL")
            .fetch_one(&mut runner.fixture.team.connection().await)
            .await
            .unwrap();
        open == 0
    })
    .await;
    assert_eq!(jottings(&runner).await, ["early", "mended"]);
    assert!(
        timelines(&runner)
            .await
            .iter()
            .any(|session| session["sentence"] == "Started giving an event to once-mended again")
    );
}

#[tokio::test]
async fn a_failure_that_was_resolved_before_the_retry_is_not_retried() {
    let mut runner = JobRunner::without_workers(daybook_tests::jobs::program(
        Consumers::of([once_mended::CONSUMER]).unwrap(),
    ))
    .await;
    runner.fixture.widget("early").await;
    sqlx::query("UPDATE consumer_failures SET resolved_at = now()")
        .execute(&mut runner.fixture.team.connection().await)
        .await
        .unwrap();
    runner.fixture.widget("mended").await;
    runner.start_workers().await;
    runner.wait_until_idle().await;
    assert_eq!(timelines(&runner).await[0]["status"], "succeeded");
    assert_eq!(jottings(&runner).await, ["mended"]);
}

/// The relay skips no event of slow transactions, in whatever order they begin, record and commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_relay_skips_no_event_of_slow_transactions() {
    let runner = runner_with(mirror::CONSUMER).await;
    let mut writers = tokio::task::JoinSet::new();
    for n in 0_u64..60 {
        let (database, context) = (runner.fixture.database.clone(), runner.fixture.ada.context.clone());
        writers.spawn(async move {
            // They begin, record and commit in different orders.
            let wait = |salt: u64| Duration::from_millis((n * 7_919 + salt * 104_729) % 400);
            tokio::time::sleep(wait(1)).await;
            let tx = database.begin(&context).await.unwrap();
            create_model_with_event(&tx, widget::named(&format!("{n:02}")), Track::All)
                .await
                .unwrap();
            tokio::time::sleep(wait(2)).await;
            if n % 10 == 0 {
                tx.rollback().await.unwrap();
                return None;
            }
            tx.commit().await.unwrap();
            Some(format!("{n:02}"))
        });
    }
    let mut committed: Vec<String> = writers.join_all().await.into_iter().flatten().collect();
    committed.sort();
    eventually("all jottings", async || {
        jottings(&runner).await.len() >= committed.len()
    })
    .await;
    runner.wait_until_idle().await;
    assert_eq!(jottings(&runner).await, committed);
    assert_eq!(runner.fixture.count("consumer_effects").await, 54);
}
