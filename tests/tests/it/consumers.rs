//! Consumers: which events they receive, in what order, and what their failure does in each mode.
//!
//! The consumers in this file are linked into this binary, so each test lists the ones that it uses: `Consumers::of`.

use std::sync::atomic::{AtomicU32, Ordering};

use daybook::App;
use daybook::assert_events;
use daybook::error::Error;
use daybook::events::{
    ConsumerResult, Consumers, CustomEventData, Event, EventType, MAX_CONSUMER_DEPTH, Track, create_model_with_event,
    create_models_with_events, emit_event, update_model_with_event, update_models_with_events,
};
use daybook::prelude::event_consumer;
use daybook::tenancy::{Role, TeamTx};
use daybook::testing::{RECORDER, Recording};
use daybook_tests::{TeamFixture, campaign, widget};
use sea_orm::ActiveValue::Set;
use sea_orm::{ConnectionTrait, EntityTrait};

async fn insert_jotting(tx: &TeamTx, body: &str) -> ConsumerResult {
    tx.execute_sql(
        sqlx::query("INSERT INTO jottings (team_id, body) VALUES ($1, $2)")
            .bind(tx.team_id())
            .bind(body),
    )
    .await?;
    Ok(())
}

async fn jottings(fixture: &TeamFixture) -> Vec<String> {
    sqlx::query_scalar("SELECT body FROM jottings ORDER BY body")
        .fetch_all(&mut fixture.team.connection().await)
        .await
        .unwrap()
}

/// The stored failures: consumer, number of events, error text.
async fn failures(fixture: &TeamFixture) -> Vec<(String, i32, String)> {
    sqlx::query_as("SELECT consumer, cardinality(event_ids), error FROM consumer_failures ORDER BY id")
        .fetch_all(&mut fixture.team.connection().await)
        .await
        .unwrap()
}

#[event_consumer(all, name = "first")]
async fn first(tx: &TeamTx, event: &Event) -> ConsumerResult {
    insert_jotting(tx, &format!("first {}", event.object_label)).await
}

#[event_consumer(all, mode = isolate, name = "fails-after-writing")]
async fn fails_after_writing(tx: &TeamTx, events: &[Event]) -> ConsumerResult {
    insert_jotting(tx, &format!("lost {}", events.len())).await?;
    Err("the printer\0 is on fire".into())
}

#[event_consumer(all, mode = isolate, name = "fails-in-sql")]
async fn fails_in_sql(tx: &TeamTx, events: &[Event]) -> ConsumerResult {
    insert_jotting(tx, &format!("lost {}", events.len())).await?;
    tx.execute_unprepared("SELECT 1/0").await?;
    Ok(())
}

/// Continues after a failed statement. PostgreSQL undoes its work anyway.
#[event_consumer(all, mode = isolate, name = "ignores-an-error")]
async fn ignores_an_error(tx: &TeamTx, events: &[Event]) -> ConsumerResult {
    insert_jotting(tx, &format!("lost {}", events.len())).await?;
    let _ = tx.execute_unprepared("SELECT 1/0").await;
    Ok(())
}

#[event_consumer(all, name = "later")]
async fn later(tx: &TeamTx, event: &Event) -> ConsumerResult {
    insert_jotting(tx, &format!("later {}", event.object_label)).await
}

#[event_consumer(all, name = "refuses")]
async fn refuses(tx: &TeamTx, event: &Event) -> ConsumerResult {
    let _ = (tx, event);
    Err(Error::conflict("no-budget-left", "the team's budget is spent").into())
}

#[event_consumer(EventType::Created, EventType::Deleted, object_type = "campaign", name = "filtered")]
async fn filtered(tx: &TeamTx, events: &[Event]) -> ConsumerResult {
    tx.extension::<Recording>().unwrap().add(events);
    Ok(())
}

/// A value of the tests' program.
#[derive(Debug, Clone)]
struct Greeting(&'static str);

#[event_consumer(all, name = "greets")]
async fn greets(tx: &TeamTx, event: &Event) -> ConsumerResult {
    let Greeting(greeting) = tx.extension::<Greeting>().ok_or("the program has no Greeting")?;
    insert_jotting(tx, &format!("{greeting} {}", event.object_label)).await
}

#[tokio::test]
async fn a_consumer_reads_the_newest_of_the_programs_values_of_one_type() {
    let fixture = TeamFixture::new().await;
    let program = App::new()
        .consumers(Consumers::of([greets::CONSUMER]).unwrap())
        .extension(Greeting("Goodbye"))
        .extension(Greeting("Hello"));
    let database = program.equip(fixture.database.clone()).unwrap();
    let tx = database.begin(&fixture.ada.context).await.unwrap();
    create_model_with_event(&tx, widget::named("a"), Track::All)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(jottings(&fixture).await, ["Hello a"]);
}

#[tokio::test]
async fn a_slice_is_called_once_for_each_call_of_a_helper() {
    let fixture = TeamFixture::with_consumers(Consumers::of([RECORDER, first::CONSUMER]).unwrap()).await;
    let tx = fixture.begin().await;
    create_model_with_event(&tx, widget::named("a"), Track::All)
        .await
        .unwrap();
    let models = ["b", "c", "d"].map(widget::named).to_vec();
    create_models_with_events(&tx, models, Track::All).await.unwrap();
    let done = widget::ActiveModel {
        state: Set("done".into()),
        ..Default::default()
    };
    update_models_with_events(&tx, widget::Entity::find(), done.clone(), Track::All)
        .await
        .unwrap();
    // No change, no event, no call.
    update_models_with_events(&tx, widget::Entity::find(), done, Track::All)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let recording = Recording::of(&fixture.database);
    assert_eq!(recording.calls().iter().map(Vec::len).collect::<Vec<_>>(), [1, 3, 4]);
    assert_eq!(
        recording.events(),
        fixture.team.events().await,
        "they receive what is stored"
    );
    // A consumer of single events is called for each event.
    assert_eq!(jottings(&fixture).await.len(), 8);
}

#[tokio::test]
async fn a_consumer_receives_only_events_that_match_it() {
    let fixture = TeamFixture::with_consumers(Consumers::of([filtered::CONSUMER]).unwrap()).await;
    let tx = fixture.begin().await;
    create_model_with_event(&tx, widget::named("w"), Track::All)
        .await
        .unwrap();
    let spring = campaign::ActiveModel {
        name: Set("Spring".into()),
        ..Default::default()
    };
    let spring = create_model_with_event(&tx, spring, Track::All).await.unwrap();
    let changes = campaign::ActiveModel {
        name: Set("Summer".into()),
        ..Default::default()
    };
    let summer = update_model_with_event(&tx, &spring, changes, Track::All)
        .await
        .unwrap();
    daybook::events::delete_model_with_event(&tx, summer, None)
        .await
        .unwrap();
    let seen = Recording::of(&fixture.database).events();
    assert_events!(seen, ["CREATED campaign “Spring”", "DELETED campaign “Summer”"]);
}

/// A consumer sees the model as it is after the change, and what the same transaction wrote before.
#[tokio::test]
async fn a_consumer_runs_inside_the_transaction() {
    #[event_consumer(EventType::Created, name = "sees-the-row")]
    async fn sees_the_row(tx: &TeamTx, event: &Event) -> ConsumerResult {
        let row = event.object::<widget::Model>(tx).await?;
        assert!(
            event.object::<daybook::campaigns::campaign::Model>(tx).await.is_err(),
            "it is not a campaign"
        );
        insert_jotting(tx, &row.ok_or("no such widget")?.name).await
    }
    let fixture = TeamFixture::with_consumers(Consumers::of([sees_the_row::CONSUMER]).unwrap()).await;
    fixture.widget("w").await;
    assert_eq!(jottings(&fixture).await, ["w"]);
}

#[tokio::test]
async fn a_failed_abort_consumer_returns_its_error_to_the_client() {
    let fixture = TeamFixture::with_consumers(Consumers::of([first::CONSUMER, refuses::CONSUMER]).unwrap()).await;
    let refused = fixture
        .write(async |tx| create_model_with_event(tx, widget::named("w"), Track::All).await)
        .await;
    let error = refused.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Consumer {
                consumer: "refuses",
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!((error.status().as_u16(), error.code()), (409, "no-budget-left"));
    assert_eq!((fixture.count("widgets").await, jottings(&fixture).await.len()), (0, 0));
    assert_events!(fixture.team, []);
}

/// Each isolated failure is undone and kept, the change stays, and later consumers run.
#[tokio::test]
async fn a_failed_isolated_consumer_is_undone_and_its_failure_is_kept() {
    let consumers = [
        first::CONSUMER,
        fails_after_writing::CONSUMER,
        fails_in_sql::CONSUMER,
        ignores_an_error::CONSUMER,
        later::CONSUMER,
    ];
    let fixture = TeamFixture::with_consumers(Consumers::of(consumers).unwrap()).await;
    let tx = fixture.begin().await;
    create_models_with_events(&tx, ["a", "b"].map(widget::named).to_vec(), Track::All)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(fixture.count("widgets").await, 2);
    assert_eq!(jottings(&fixture).await, ["first a", "first b", "later a", "later b"]);
    let failures = failures(&fixture).await;
    let names: Vec<_> = failures
        .iter()
        .map(|(consumer, events, _)| (consumer.as_str(), *events))
        .collect();
    assert_eq!(
        names,
        [("fails-after-writing", 2), ("fails-in-sql", 2), ("ignores-an-error", 2)]
    );
    assert!(failures[0].2.contains("the printer is on fire"), "{}", failures[0].2);
    assert!(
        failures[1].2.contains("SQLSTATE 22012 division_by_zero"),
        "{}",
        failures[1].2
    );
}

/// One savepoint for each consumer and call, not for each event.
#[tokio::test]
async fn isolation_costs_the_same_for_one_event_and_for_many() {
    #[event_consumer(all, mode = isolate, name = "does-nothing")]
    async fn does_nothing(tx: &TeamTx, event: &Event) -> ConsumerResult {
        let _ = (tx, event);
        Ok(())
    }
    let fixture = TeamFixture::with_consumers(Consumers::of([does_nothing::CONSUMER]).unwrap()).await;
    let tx = fixture.begin().await;
    for n in [1, 200] {
        let before = tx.stats().round_trips();
        let models = (0..n).map(|i| widget::named(&format!("{n}-{i}"))).collect();
        create_models_with_events(&tx, models, Track::All).await.unwrap();
        assert_eq!(tx.stats().round_trips() - before, 4, "rows, events, SAVEPOINT, RELEASE");
    }
}

#[event_consumer(EventType::Created, name = "chains")]
async fn chains(tx: &TeamTx, event: &Event) -> ConsumerResult {
    let widget = widget::Entity::find_by_id(event.object_id.parse::<uuid::Uuid>()?)
        .one(tx)
        .await?;
    let noted = CustomEventData {
        name: "noted".into(),
        data: serde_json::Value::Null,
    };
    emit_event(tx, &widget.ok_or("no such widget")?, noted).await?;
    Ok(())
}

#[tokio::test]
async fn an_event_that_a_consumer_emits_names_its_cause() {
    let fixture = TeamFixture::with_consumers(Consumers::of([chains::CONSUMER, RECORDER]).unwrap()).await;
    let tx = fixture.begin().await;
    create_models_with_events(&tx, ["a", "b"].map(widget::named).to_vec(), Track::All)
        .await
        .unwrap();
    let after = create_model_with_event(
        &tx,
        campaign::ActiveModel {
            name: Set("c".into()),
            ..Default::default()
        },
        Track::All,
    );
    // The consumer `chains` doesn't know campaigns and refuses them, which does not matter here.
    assert!(after.await.is_err());
    let events: Vec<Event> = Recording::of(&fixture.database).events();
    let lines: Vec<_> = events
        .iter()
        .map(|event| (event.object_label.as_str(), event.event_type))
        .collect();
    let custom = EventType::Custom;
    let created = EventType::Created;
    assert_eq!(lines, [("a", custom), ("b", custom), ("a", created), ("b", created)]);
    assert_eq!(events[0].causation_id, Some(events[2].id));
    assert_eq!(events[1].causation_id, Some(events[3].id));
    assert_eq!((events[2].causation_id, events[3].causation_id), (None, None));
    assert_eq!(events[0].correlation_id, events[2].correlation_id);
}

/// An event that is emitted after the consumers have run has none of their events as its cause.
#[tokio::test]
async fn a_cause_ends_with_its_consumer() {
    let fixture = TeamFixture::with_consumers(Consumers::of([chains::CONSUMER]).unwrap()).await;
    fixture
        .write(async |tx| {
            create_model_with_event(tx, widget::named("a"), Track::All).await?;
            create_model_with_event(tx, widget::named("b"), Track::All).await
        })
        .await
        .unwrap();
    let causes: Vec<_> = fixture
        .team
        .events()
        .await
        .iter()
        .map(|event| event.causation_id.is_some())
        .collect();
    assert_eq!(causes, [false, true, false, true]);
}

static LOOPED: AtomicU32 = AtomicU32::new(0);

#[event_consumer(all, name = "loops")]
async fn loops(tx: &TeamTx, event: &Event) -> ConsumerResult {
    LOOPED.fetch_add(1, Ordering::Relaxed);
    let widget = widget::Entity::find_by_id(event.object_id.parse::<uuid::Uuid>()?)
        .one(tx)
        .await?;
    let again = CustomEventData {
        name: "again".into(),
        data: serde_json::Value::Null,
    };
    emit_event(tx, &widget.ok_or("no such widget")?, again).await?;
    Ok(())
}

#[tokio::test]
async fn a_loop_ends_with_an_error_and_commits_nothing() {
    let fixture = TeamFixture::with_consumers(Consumers::of([loops::CONSUMER]).unwrap()).await;
    let outcome = fixture
        .write(async |tx| create_model_with_event(tx, widget::named("w"), Track::All).await)
        .await;
    let Err(Error::ConsumerDepth { depth, .. }) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(depth, MAX_CONSUMER_DEPTH + 1);
    assert_eq!(LOOPED.load(Ordering::Relaxed) as usize, MAX_CONSUMER_DEPTH);
    assert_eq!(fixture.count("widgets").await, 0);
    assert_events!(fixture.team, []);
}

#[event_consumer(all, mode = isolate, name = "loops-isolated")]
async fn loops_isolated(tx: &TeamTx, event: &Event) -> ConsumerResult {
    let widget = widget::Entity::find_by_id(event.object_id.parse::<uuid::Uuid>()?)
        .one(tx)
        .await?;
    let again = CustomEventData {
        name: "again".into(),
        data: serde_json::Value::Null,
    };
    emit_event(tx, &widget.ok_or("no such widget")?, again).await?;
    Ok(())
}

/// An isolated loop must not undo the change: the change stays, and the loop becomes a stored failure.
#[tokio::test]
async fn an_isolated_loop_also_ends_and_the_change_stays() {
    let fixture = TeamFixture::with_consumers(Consumers::of([loops_isolated::CONSUMER]).unwrap()).await;
    fixture.widget("w").await;
    assert_eq!(fixture.count("widgets").await, 1);
    assert_eq!(fixture.team.events().await.len(), MAX_CONSUMER_DEPTH + 1);
    let failures = failures(&fixture).await;
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert!(failures[0].2.contains("levels deep"), "{failures:?}");
}

static ATTEMPTS: AtomicU32 = AtomicU32::new(0);

#[event_consumer(all, mode = isolate, name = "conflicts-once")]
async fn conflicts_once(tx: &TeamTx, event: &Event) -> ConsumerResult {
    if ATTEMPTS.fetch_add(1, Ordering::Relaxed) == 0 {
        tx.execute_unprepared("DO $$ BEGIN RAISE EXCEPTION 'met' USING ERRCODE = 'serialization_failure'; END $$")
            .await?;
    }
    insert_jotting(tx, &event.object_label).await
}

/// A retryable error is not a failure of the consumer: the whole transaction runs again.
#[tokio::test]
async fn a_retryable_error_in_an_isolated_consumer_retries_the_transaction() {
    let fixture = TeamFixture::with_consumers(Consumers::of([conflicts_once::CONSUMER]).unwrap()).await;
    fixture
        .database
        .write_as(&fixture.entry(), Role::Member, async |tx| {
            create_model_with_event(tx, widget::named("w"), Track::All).await
        })
        .await
        .unwrap();
    assert_eq!(ATTEMPTS.load(Ordering::Relaxed), 2);
    assert_eq!(failures(&fixture).await, []);
    assert_eq!(jottings(&fixture).await, ["w"]);
    assert_events!(fixture.team, ["CREATED widget “w”"]);
}

/// If another consumer refuses an isolated consumer's own event, the isolated consumer has failed, and the change
/// stays.
#[tokio::test]
async fn an_error_caused_by_an_isolated_consumers_own_event_is_its_failure() {
    #[event_consumer(EventType::Custom, name = "refuses-custom")]
    async fn refuses_custom(tx: &TeamTx, event: &Event) -> ConsumerResult {
        let _ = (tx, event);
        Err("not that".into())
    }
    #[event_consumer(EventType::Created, mode = isolate, name = "chains-isolated")]
    async fn chains_isolated(tx: &TeamTx, event: &Event) -> ConsumerResult {
        chains(tx, event).await
    }
    let fixture =
        TeamFixture::with_consumers(Consumers::of([refuses_custom::CONSUMER, chains_isolated::CONSUMER]).unwrap())
            .await;
    fixture.widget("w").await;
    assert_events!(fixture.team, ["CREATED widget “w”"]);
    let failures = failures(&fixture).await;
    assert_eq!(failures.len(), 1);
    assert!(failures[0].2.contains("not that"), "{failures:?}");
}
