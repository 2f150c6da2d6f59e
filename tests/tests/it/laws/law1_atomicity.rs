//! Law 1: a model's change, its event and the rows of its consumers commit together or not at all.

use std::sync::{Arc, Mutex};

use daybook::assert_events;
use daybook::error::Error;
use daybook::events::{ConsumerResult, Consumers, Event, EventType, Track, create_model_with_event};
use daybook::prelude::event_consumer;
use daybook::tenancy::{Context, Credential, Ending, Entry, Observer, Request, TeamTx, Transaction};
use daybook_tests::{TeamFixture, drop_while_blocked, eventually, wait_for_blocked_session, widget};
use futures_util::FutureExt as _;
use sea_orm::ConnectionTrait;
use sqlx::{Connection, Executor};
use tokio::sync::Notify;

/// Writes one row for each event.
#[event_consumer(all, name = "a-jots")]
async fn jots(tx: &TeamTx, event: &Event) -> ConsumerResult {
    insert_jotting(tx, &event.object_label).await
}

#[event_consumer(EventType::Created, name = "b-refuses")]
async fn refuses(tx: &TeamTx, event: &Event) -> ConsumerResult {
    let _ = tx;
    if event.object_label == "bad" {
        Err("not this one".into())
    } else {
        Ok(())
    }
}

pub(super) async fn insert_jotting(tx: &TeamTx, body: &str) -> ConsumerResult {
    let query = sqlx::query("INSERT INTO jottings (team_id, body) VALUES ($1, $2)")
        .bind(tx.team_id())
        .bind(body);
    tx.execute_sql(query).await?;
    Ok(())
}

async fn fixture() -> TeamFixture {
    TeamFixture::with_consumers(Consumers::of([jots::CONSUMER, refuses::CONSUMER]).unwrap()).await
}

async fn counts(fixture: &TeamFixture) -> [i64; 3] {
    [
        fixture.count("widgets").await,
        fixture.count("events").await,
        fixture.count("jottings").await,
    ]
}

#[tokio::test]
async fn all_of_it_commits() {
    let fixture = fixture().await;
    let tx = fixture.begin().await;
    create_model_with_event(&tx, widget::named("good"), Track::All)
        .await
        .unwrap();
    assert_eq!(
        counts(&fixture).await,
        [0, 0, 0],
        "nothing is visible before the commit"
    );
    tx.commit().await.unwrap();
    assert_eq!(counts(&fixture).await, [1, 1, 1]);
    assert_events!(fixture.team, ["CREATED widget “good”"]);
}

#[tokio::test]
async fn a_consumer_that_fails_undoes_the_whole_transaction() {
    let fixture = fixture().await;
    let refused = fixture
        .write(async |tx| {
            create_model_with_event(tx, widget::named("good"), Track::All).await?;
            create_model_with_event(tx, widget::named("bad"), Track::All).await
        })
        .await;
    assert!(
        matches!(
            refused,
            Err(Error::Consumer {
                consumer: "b-refuses",
                ..
            })
        ),
        "{refused:?}"
    );
    assert_eq!(counts(&fixture).await, [0, 0, 0]);
}

/// After an error in `Mode::Abort` the transaction can't commit, even if the caller ignores the error.
#[tokio::test]
async fn an_ignored_consumer_error_prevents_the_commit() {
    let fixture = fixture().await;
    let tx = fixture.begin().await;
    let refused = create_model_with_event(&tx, widget::named("bad"), Track::All).await;
    assert!(refused.is_err());
    assert!(tx.commit().await.is_err(), "a consumer had refused");
    assert_eq!(counts(&fixture).await, [0, 0, 0]);
}

/// A later savepoint does not make the transaction commit, either.
#[tokio::test]
async fn a_savepoint_does_not_undo_an_earlier_consumer_error() {
    let fixture = fixture().await;
    let tx = fixture.begin().await;
    let refused = create_model_with_event(&tx, widget::named("bad"), Track::All).await;
    assert!(refused.is_err());
    let saved = tx.savepoint(async { Ok::<_, Error>(()) }).await;
    assert!(matches!(saved, Err(Error::Internal(_))), "{saved:?}");
    assert!(tx.commit().await.is_err(), "a consumer had refused");
    assert_eq!(counts(&fixture).await, [0, 0, 0]);
}

#[tokio::test]
async fn a_rollback_leaves_nothing() {
    let fixture = fixture().await;
    let tx = fixture.begin().await;
    create_model_with_event(&tx, widget::named("good"), Track::All)
        .await
        .unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(counts(&fixture).await, [0, 0, 0]);
}

#[tokio::test]
async fn a_dropped_transaction_leaves_nothing() {
    let fixture = fixture().await;
    let tx = fixture.begin().await;
    create_model_with_event(&tx, widget::named("good"), Track::All)
        .await
        .unwrap();
    drop(tx);
    // The drop's rollback is a task; the pool's close waits for it.
    fixture.database.close().await;
    assert_eq!(counts(&fixture).await, [0, 0, 0]);
}

/// Records how transactions ended, and how many events each reported.
#[derive(Debug, Default)]
struct Endings(Mutex<Vec<(Ending, usize)>>);

impl Observer for Endings {
    fn entered(&self, _: &Context) {}

    fn ended(&self, transaction: &Transaction<'_>) {
        let recorded = transaction.recorded.len();
        self.0.lock().unwrap().push((transaction.ending, recorded));
    }

    fn retried(&self) {}
}

/// Begins a transaction as Ada that reports its end.
async fn observed(fixture: &TeamFixture, endings: &Arc<Endings>) -> TeamTx {
    let request = Request {
        observer: Some(endings.clone()),
        ..Request::of(&fixture.ada.context)
    };
    let ada = Credential::Context(fixture.ada.context.clone());
    let entry = Entry::new(fixture.team.id, ada, request);
    fixture.database.enter(&entry).await.unwrap()
}

#[tokio::test]
async fn a_cancelled_commit_completes_and_is_reported() {
    let fixture = TeamFixture::new().await;
    // COMMIT waits for a lock, so that it is cancelled while it runs.
    let mut holder = fixture.db.owner().await;
    holder
        .execute(
            "CREATE TABLE held ();
             GRANT SELECT ON held TO PUBLIC;
             CREATE FUNCTION wait_for_held() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM FROM held; RETURN NULL; END';
             CREATE CONSTRAINT TRIGGER waits AFTER INSERT ON widgets DEFERRABLE INITIALLY DEFERRED
                 FOR EACH ROW EXECUTE FUNCTION wait_for_held()",
        )
        .await
        .unwrap();
    holder.execute("BEGIN; LOCK TABLE held").await.unwrap();
    let endings = Arc::new(Endings::default());
    let tx = observed(&fixture, &endings).await;
    create_model_with_event(&tx, widget::named("w"), Track::All)
        .await
        .unwrap();
    let mut commit = Box::pin(tx.commit());
    assert!(commit.as_mut().now_or_never().is_none(), "COMMIT is running");
    drop(commit);
    holder.execute("ROLLBACK").await.unwrap();
    eventually("the report", async || {
        *endings.0.lock().unwrap() == [(Ending::Committed, 1)]
    })
    .await;
    assert_eq!(fixture.count("widgets").await, 1);
}

/// PostgreSQL answers COMMIT with a silent ROLLBACK after a failed statement.
#[tokio::test]
async fn a_failed_statement_makes_the_commit_an_error() {
    let fixture = fixture().await;
    let tx = fixture.begin().await;
    create_model_with_event(&tx, widget::named("good"), Track::All)
        .await
        .unwrap();
    assert!(tx.execute_unprepared("SELECT 1/0").await.is_err());
    assert!(tx.commit().await.is_err());
    assert_eq!(counts(&fixture).await, [0, 0, 0]);
}

/// A helper that is cancelled while its row is written does not record the event.
#[tokio::test]
async fn a_cancelled_helper_does_not_commit_a_change_without_its_event() {
    let fixture = fixture().await;
    let holder = fixture.begin().await;
    create_model_with_event(&holder, widget::named("same"), Track::All)
        .await
        .unwrap();
    let tx = fixture.begin().await;
    {
        // Its INSERT waits for the transaction that holds the name.
        let creating = create_model_with_event(&tx, widget::named("same"), Track::All);
        tokio::select! {
            _ = creating => panic!("the name is held"),
            () = wait_for_blocked_session(&fixture.db) => {}
        }
    }
    holder.rollback().await.unwrap();
    let committed = tx.commit().await;
    assert_eq!(counts(&fixture).await, [0, 0, 0]);
    assert!(committed.is_err());
}

#[event_consumer(all, name = "never-ends")]
async fn never_ends(tx: &TeamTx, event: &Event) -> ConsumerResult {
    insert_jotting(tx, &event.object_label).await?;
    HALF_DONE.notify_one();
    std::future::pending::<()>().await;
    Ok(())
}

/// Notified when [`never_ends`] has done half of its work.
static HALF_DONE: Notify = Notify::const_new();

/// A consumer's work is not committed in part, either.
#[tokio::test]
async fn a_helper_cancelled_in_a_consumer_prevents_the_commit() {
    let fixture = TeamFixture::with_consumers(Consumers::of([never_ends::CONSUMER]).unwrap()).await;
    let tx = fixture.begin().await;
    let creating = create_model_with_event(&tx, widget::named("w"), Track::All);
    tokio::select! {
        _ = creating => panic!("its consumer never ends"),
        () = HALF_DONE.notified() => {}
    }
    assert!(tx.commit().await.is_err());
    assert_eq!(counts(&fixture).await, [0, 0, 0]);
}

/// A caller that cancels a statement doesn't know whether it failed, so the commit must not return Ok.
#[tokio::test]
async fn a_cancelled_statement_makes_the_commit_an_error() {
    let fixture = fixture().await;
    let tx = fixture.begin().await;
    create_model_with_event(&tx, widget::named("good"), Track::All)
        .await
        .unwrap();
    let mut holder = fixture.db.owner().await;
    holder.execute("SELECT pg_advisory_lock(1)").await.unwrap();
    let failing = tx.execute_unprepared("SELECT 1 / (count(*) - 1) FROM pg_advisory_xact_lock(1)");
    drop_while_blocked(&fixture.db, failing).await;
    holder.close().await.unwrap();
    let committed = tx.commit().await;
    assert_eq!(
        counts(&fixture).await,
        [0, 0, 0],
        "the statement failed, so nothing can have been committed"
    );
    assert!(committed.is_err(), "nothing was committed, but commit() returned Ok");
}

#[tokio::test]
async fn a_statement_that_failed_inside_a_savepoint_is_undone_alone() {
    let fixture = fixture().await;
    let endings = Arc::new(Endings::default());
    let tx = observed(&fixture, &endings).await;
    create_model_with_event(&tx, widget::named("good"), Track::All)
        .await
        .unwrap();
    let undone: daybook::Result<()> = tx
        .savepoint(async {
            create_model_with_event(&tx, widget::named("also"), Track::All).await?;
            tx.execute_unprepared("SELECT 1/0").await?;
            Ok(())
        })
        .await
        .unwrap();
    assert!(undone.is_err());
    tx.commit().await.unwrap();
    assert_eq!(counts(&fixture).await, [1, 1, 1]);
    assert_eq!(
        *endings.0.lock().unwrap(),
        [(Ending::Committed, 1)],
        "what was undone is not reported"
    );
}

/// If the work of a savepoint is cancelled, no part of it is committed.
#[tokio::test]
async fn a_cancelled_savepoint_is_not_committed_in_part() {
    let fixture = fixture().await;
    let tx = fixture.begin().await;
    let jotted = Notify::new();
    let work = tx.savepoint(async {
        insert_jotting(&tx, "half").await?;
        jotted.notify_one();
        std::future::pending::<()>().await;
        daybook::events::ConsumerResult::Ok(())
    });
    tokio::select! {
        _ = work => panic!("it never ends"),
        () = jotted.notified() => {}
    }
    let committed = tx.commit().await;
    assert_eq!(fixture.count("jottings").await, 0);
    assert!(committed.is_err());
}

/// Cancels a savepoint that has done half of its work, and returns as if nothing had happened.
#[event_consumer(all, name = "cancels-a-savepoint")]
async fn cancels_a_savepoint(tx: &TeamTx, event: &Event) -> ConsumerResult {
    let jotted = Notify::new();
    let work = tx.savepoint(async {
        insert_jotting(tx, &event.object_label).await?;
        jotted.notify_one();
        std::future::pending::<()>().await;
        ConsumerResult::Ok(())
    });
    tokio::select! {
        _ = work => Err("it never ends".into()),
        () = jotted.notified() => Ok(()),
    }
}

/// The end of the helper that called the consumer does not hide what was cancelled inside.
#[tokio::test]
async fn a_savepoint_that_a_consumer_cancels_prevents_the_commit() {
    let fixture = TeamFixture::with_consumers(Consumers::of([cancels_a_savepoint::CONSUMER]).unwrap()).await;
    let tx = fixture.begin().await;
    create_model_with_event(&tx, widget::named("w"), Track::All)
        .await
        .unwrap();
    assert!(tx.commit().await.is_err());
    assert_eq!(counts(&fixture).await, [0, 0, 0]);
}
