//! Tests of actions that are added while a transaction of their session is open.

use daybook::jobs::{JobSession, SessionSpec, with_job_session};
use daybook::prelude::*;
use daybook_tests::{TeamFixture, count, eventually, widget};
use serde_json::Value;
use sqlx::Row as _;

use super::RosterAction;

fn fetched(players: u32) -> RosterAction {
    RosterAction::Fetched { players }
}

/// Runs work as a task, as the queue does, in a session with Ada's context.
async fn session<F>(fixture: &TeamFixture, work: impl FnOnce(JobSession) -> F + Send + 'static) -> JobResult<()>
where
    F: Future<Output = JobResult<()>> + Send,
{
    let spec = SessionSpec::new("sync_roster").context(fixture.ada.context.clone());
    let database = fixture.database.clone();
    tokio::spawn(async move { with_job_session(&database, spec, work).await })
        .await
        .unwrap()
}

/// Returns the sentences of the actions in order, and checks that their times are in the same order.
async fn sentences(fixture: &TeamFixture) -> Vec<String> {
    let rows = sqlx::query("SELECT seq, at, sentence FROM job_actions ORDER BY seq")
        .fetch_all(&mut fixture.team.connection().await)
        .await
        .unwrap();
    let seqs: Vec<i64> = rows.iter().map(|row| row.get("seq")).collect();
    assert!(
        seqs.iter().copied().eq(1..=i64::try_from(rows.len()).unwrap()),
        "{seqs:?}"
    );
    assert!(
        rows.is_sorted_by_key(|row| row.get::<chrono::DateTime<chrono::Utc>, _>("at")),
        "times are in the order of `seq`"
    );
    rows.iter().map(|row| row.get("sentence")).collect()
}

#[tokio::test]
async fn actions_commit_with_the_transaction_in_one_statement_and_in_order() {
    let fixture = TeamFixture::new().await;
    let mut elsewhere = fixture.team.connection().await;
    let database = fixture.database.clone();
    session(&fixture, async move |session| {
        session.add_action(&fetched(1)).await?;
        let tx = session.begin().await?;
        assert_eq!(session.add_action(&fetched(2)).await?, 2);
        assert_eq!(session.add_actions(&[fetched(3), fetched(4)]).await?, 4);
        create_model_with_event(&tx, widget::named("made"), Track::All).await?;
        assert_eq!(count(&mut elsewhere, "job_actions").await, 1);
        let before = database.stats().round_trips();
        tx.commit().await?;
        assert_eq!(database.stats().round_trips() - before, 2, "the actions and the COMMIT");
        assert_eq!(count(&mut elsewhere, "job_actions").await, 4);
        assert_eq!(session.add_action(&fetched(5)).await?, 5);
        Ok(())
    })
    .await
    .unwrap();
    let wanted: Vec<_> = (1..=5).map(|n| format!("Fetched {n} players")).collect();
    assert_eq!(sentences(&fixture).await, wanted);
    assert_eq!(fixture.count("widgets").await, 1);
}

/// A process that died between two commits would leave one without the other.
#[tokio::test]
async fn actions_are_written_by_the_transaction_itself() {
    let fixture = TeamFixture::new().await;
    session(&fixture, async move |session| {
        let tx = session.begin().await?;
        create_model_with_event(&tx, widget::named("made"), Track::All).await?;
        session.add_action(&fetched(1)).await?;
        session.add_action(&fetched(2)).await?;
        tx.commit().await?;
        Ok(())
    })
    .await
    .unwrap();
    let written_by: Vec<(String, i64)> = sqlx::query_as(
        "SELECT xmin::text, (SELECT count(*) FROM widgets w WHERE w.xmin = a.xmin) FROM job_actions a ORDER BY seq",
    )
    .fetch_all(&mut fixture.team.connection().await)
    .await
    .unwrap();
    assert_eq!(written_by.len(), 2);
    assert_eq!(written_by[0], written_by[1]);
    assert_eq!(written_by[0].1, 1, "the transaction that made the widget");
}

/// Ends a transaction in which an action was added, in one way or another.
async fn actions_are_written_although(how: &'static str) {
    let fixture = TeamFixture::new().await;
    let done = session(&fixture, async move |session| {
        let tx = session.begin().await?;
        create_model_with_event(&tx, widget::named("undone"), Track::All).await?;
        session.add_action(&fetched(1)).await?;
        match how {
            "rolled back" => tx.rollback().await?,
            "dropped" => drop(tx),
            "failed" => return Err(Error::internal("before the end").into()),
            "refused" => {
                tx.execute_sql(sqlx::query("SELECT 1 / 0")).await.unwrap_err();
                tx.commit().await.unwrap_err();
            }
            _ => unreachable!(),
        }
        session.add_action(&fetched(2)).await?;
        match how {
            // Work that drops a transaction with writes and then succeeds has forgotten a commit, which fails a test.
            "dropped" => Err(Error::internal("after the drop").into()),
            _ => Ok(()),
        }
    });
    match how {
        "failed" | "dropped" => drop(done.await.unwrap_err()),
        _ => done.await.unwrap(),
    }
    let wanted: &[&str] = match how {
        "failed" => &["Fetched 1 players"],
        _ => &["Fetched 1 players", "Fetched 2 players"],
    };
    // A dropped transaction is rolled back in the background.
    eventually("the actions", async || sentences(&fixture).await == wanted).await;
    assert_eq!(fixture.count("widgets").await, 0, "{how}");
}

#[tokio::test]
async fn actions_are_written_although_the_transaction_is_rolled_back() {
    for how in ["rolled back", "dropped", "failed", "refused"] {
        actions_are_written_although(how).await;
    }
}

/// The work has passed its transaction to another task, which the session doesn't wait for.
#[tokio::test]
async fn actions_that_wait_for_a_transaction_are_written_at_the_latest_when_the_session_ends() {
    let fixture = TeamFixture::new().await;
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let work = async move |session: JobSession| {
        let tx = session.begin().await?;
        session.add_action(&fetched(1)).await?;
        tokio::spawn(async move {
            let _ = ended.await;
            tx.rollback().await
        });
        Ok(())
    };
    session(&fixture, work).await.unwrap();
    assert_eq!(sentences(&fixture).await, ["Fetched 1 players"]);
    drop(end);
}

#[tokio::test]
async fn after_a_transaction_of_another_team_or_a_read_only_one_actions_are_written() {
    let fixture = TeamFixture::new().await;
    let other = fixture.db.team("Other").await.id;
    session(&fixture, async move |session| {
        let elsewhere = Context::system(other, "test");
        let tx = session.database().begin(&elsewhere).await?;
        session.add_action(&fetched(1)).await?;
        tx.commit().await?;
        let tx = session.database().read(session.context()).await?;
        session.add_action(&fetched(2)).await?;
        tx.commit().await?;
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(sentences(&fixture).await, ["Fetched 1 players", "Fetched 2 players"]);
}

#[tokio::test]
async fn a_second_transaction_of_a_task_is_refused_while_the_first_is_open() {
    let fixture = TeamFixture::new().await;
    session(&fixture, async move |session| {
        let tx = session.begin().await?;
        let refused = session.begin().await.unwrap_err();
        assert_eq!(refused.code(), "transaction-open");
        assert!(refused.to_string().contains("second"), "{refused}");
        assert_eq!(session.database().ping().await.unwrap_err().code(), "transaction-open");
        // Another task of the session may begin a transaction.
        let other = session.clone();
        tokio::spawn(async move { other.begin().await?.commit().await }).await??;
        drop(tx);
        session.begin().await?.commit().await?;
        session.begin().await?.rollback().await?;
        session.database().ping().await?;
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn actions_of_concurrent_tasks_with_transactions_are_numbered_without_gaps() {
    let fixture = TeamFixture::new().await;
    session(&fixture, async move |session| {
        let parts = (0..12_u32).map(|n| {
            let session = session.clone();
            tokio::spawn(async move {
                if n % 3 == 0 {
                    session.add_action(&fetched(n)).await?;
                    return Ok::<_, Error>(());
                }
                let tx = session.begin().await?;
                create_model_with_event(&tx, widget::named(&format!("{n}")), Track::All).await?;
                session.add_action(&fetched(n)).await?;
                match n % 3 {
                    1 => tx.commit().await,
                    _ => tx.rollback().await,
                }
            })
        });
        for part in parts.collect::<Vec<_>>() {
            part.await??;
        }
        Ok(())
    })
    .await
    .unwrap();
    let mut written = sentences(&fixture).await;
    written.sort();
    let mut wanted: Vec<_> = (0..12).map(|n| format!("Fetched {n} players")).collect();
    wanted.sort();
    assert_eq!(written, wanted);
    assert_eq!(fixture.count("widgets").await, 4);
}

#[tokio::test]
async fn the_number_and_size_of_waiting_actions_are_limited() {
    let fixture = TeamFixture::new().await;
    session(&fixture, async move |session| {
        let tx = session.begin().await?;
        let many: Vec<_> = (0..10_000).map(fetched).collect();
        session.add_actions(&many).await?;
        let refused = session.add_action(&fetched(0)).await.unwrap_err();
        assert_eq!(refused.code(), "too-many-waiting");
        tx.commit().await?;
        assert_eq!(session.add_action(&fetched(0)).await?, 10_001);
        let tx = session.begin().await?;
        let large = RosterAction::Skipped {
            player: "x".repeat(60 << 10),
            reason: "",
        };
        let mut taken = 0;
        let refused = loop {
            match session.add_action(&large).await {
                Ok(_) => taken += 1,
                Err(refused) => break refused,
            }
        };
        assert_eq!(refused.code(), "too-many-waiting");
        assert!((50..200).contains(&taken), "{taken}");
        tx.rollback().await?;
        Ok(())
    })
    .await
    .unwrap();
    let largest: Value = sqlx::query_scalar("SELECT to_jsonb(max(seq)) FROM job_actions")
        .fetch_one(&mut fixture.team.connection().await)
        .await
        .unwrap();
    assert!(largest.as_i64().unwrap() > 10_050);
}
