//! Tests transactions that conflict with each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use daybook::assert_events;
use daybook::error::Error;
use daybook::events::{Track, create_model_with_event, update_model_with_event};
use daybook::tenancy::Role;
use daybook_tests::{TeamFixture, widget};
use sea_orm::ActiveValue::Set;
use sea_orm::ConnectionTrait;
use tokio::sync::Barrier;

/// Two tasks lock two rows in opposite order: one is the deadlock's victim and runs again, and both succeed.
#[tokio::test]
async fn a_deadlock_is_retried_and_both_succeed() {
    let fixture = TeamFixture::new().await;
    let (a, b) = (fixture.widget("a").await, fixture.widget("b").await);
    let (barrier, attempts) = (Arc::new(Barrier::new(2)), Arc::new(AtomicU32::new(0)));
    let task = |first: widget::Model, then: widget::Model, serial: i64| {
        let (database, entry) = (fixture.database.clone(), fixture.entry());
        let (barrier, attempts) = (barrier.clone(), attempts.clone());
        async move {
            database
                .write_as(&entry, Role::Member, async |tx| {
                    let change = |n| widget::ActiveModel {
                        serial: Set(n),
                        ..Default::default()
                    };
                    update_model_with_event(tx, &first, change(serial), Track::All).await?;
                    // Only the first attempts wait for each other; a second attempt has no other to wait for.
                    if attempts.fetch_add(1, Ordering::SeqCst) < 2 {
                        barrier.wait().await;
                    }
                    update_model_with_event(tx, &then, change(serial), Track::All).await
                })
                .await
        }
    };
    let (one, two) = tokio::join!(task(a.clone(), b.clone(), 100), task(b, a, 200));
    one.unwrap();
    two.unwrap();
    assert_eq!(attempts.load(Ordering::SeqCst), 3, "one of the two ran twice");
    // Each row was changed twice, and nothing of the victim's first attempt is recorded.
    assert_eq!(fixture.team.events().await.len(), 2 + 4);
}

#[tokio::test]
async fn an_error_that_is_not_worth_retrying_is_not_retried() {
    let fixture = TeamFixture::new().await;
    let attempts = AtomicU32::new(0);
    let outcome: Result<(), _> = fixture
        .database
        .write_as(&fixture.entry(), Role::Member, async |tx| {
            attempts.fetch_add(1, Ordering::SeqCst);
            create_model_with_event(tx, widget::named("w"), Track::All).await?;
            Err(Error::conflict("no", "no"))
        })
        .await;
    assert!(matches!(outcome, Err(Error::Conflict { code: "no", .. })));
    assert_eq!(attempts.load(Ordering::SeqCst), 1);
    assert_events!(fixture.team, []);
}

#[tokio::test]
async fn retrying_ends() {
    let fixture = TeamFixture::new().await;
    let attempts = AtomicU32::new(0);
    let outcome: Result<(), _> = fixture
        .database
        .write_as(&fixture.entry(), Role::Member, async |tx| {
            attempts.fetch_add(1, Ordering::SeqCst);
            tx.execute_unprepared("DO $$ BEGIN RAISE EXCEPTION 'met' USING ERRCODE = 'serialization_failure'; END $$")
                .await?;
            Ok(())
        })
        .await;
    let error = outcome.unwrap_err();
    assert!(error.is_retryable() && error.status() == 503, "{error:?}");
    assert_eq!(attempts.load(Ordering::SeqCst), 6);
}

/// Two tasks create objects with the same name: one succeeds, the other gets an error, and its event is not recorded.
#[tokio::test]
async fn a_unique_key_accepts_one_of_two() {
    let fixture = TeamFixture::new().await;
    fixture.widget("w").await;
    let again = fixture
        .write(async |tx| create_model_with_event(tx, widget::named("w"), Track::All).await)
        .await;
    assert!(
        matches!(
            again,
            Err(Error::Conflict {
                code: "already-exists",
                ..
            })
        ),
        "{again:?}"
    );
    assert_events!(fixture.team, ["CREATED widget “w”"]);
}

#[tokio::test]
async fn a_lower_role_does_not_run_the_work() {
    let fixture = TeamFixture::new().await;
    let vic = fixture.team.member("vic", Role::Viewer).await;
    let outcome = fixture
        .database
        .write_as(&vic.entry(), Role::Member, async |tx| {
            create_model_with_event(tx, widget::named("w"), Track::All).await
        })
        .await;
    assert!(matches!(outcome, Err(Error::Forbidden { .. })), "{outcome:?}");
    assert_events!(fixture.team, []);
}
