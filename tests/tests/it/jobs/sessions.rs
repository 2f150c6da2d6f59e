//! Tests of a session from its beginning to its end.

use daybook::prelude::*;
use daybook_entity::SYSTEM_TEAM;
use daybook_tests::{TeamFixture, campaign};
use serde_json::{Value, json};
use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::RosterAction;

/// Returns a session with its actions from the view `job_session_timelines`.
async fn timeline(connection: &mut PgConnection, id: Uuid) -> Value {
    let row = sqlx::query("SELECT to_jsonb(t) AS timeline FROM job_session_timelines t WHERE id = $1")
        .bind(id)
        .fetch_one(connection)
        .await
        .unwrap();
    row.get("timeline")
}

fn roster(fixture: &TeamFixture) -> SessionSpec {
    SessionSpec::new("sync_roster")
        .context(fixture.ada.context.clone())
        .input(&json!({"team": "HT2MJM"}))
        .sentence("Started syncing the roster of HT2MJM")
}

#[tokio::test]
async fn a_session_records_its_input_actions_and_outcome() {
    let fixture = TeamFixture::new().await;
    let id = with_job_session(&fixture.database, roster(&fixture), |session| async move {
        assert_eq!(session.add_action(&RosterAction::Fetched { players: 40 }).await?, 1);
        let skipped = RosterAction::Skipped {
            player: "Ada".to_owned(),
            reason: "injured",
        };
        assert_eq!(session.add_actions(&[skipped.clone(), skipped]).await?, 3);
        assert_eq!(session.add_actions::<RosterAction>(&[]).await?, 3);
        Ok(session.id())
    })
    .await
    .unwrap();
    let row = timeline(&mut fixture.team.connection().await, id).await;
    assert_eq!((&row["status"], &row["attempt"]), (&json!("succeeded"), &json!(1)));
    assert_eq!(row["sentence"], "Started syncing the roster of HT2MJM");
    assert_eq!(
        (&row["input"], &row["error"]),
        (&json!({"team": "HT2MJM"}), &Value::Null)
    );
    assert_eq!(row["correlation_id"], fixture.ada.context.correlation_id.to_string());
    let actions: Vec<_> = row["actions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|action| {
            (
                action["seq"].as_i64().unwrap(),
                action["type"].as_str().unwrap(),
                action["sentence"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        actions,
        [
            (1, "Fetched", "Fetched 40 players"),
            (2, "Skipped", "Skipped Ada: injured"),
            (3, "Skipped", "Skipped Ada: injured"),
        ]
    );
    assert_eq!(row["actions"][0]["payload"], json!({"players": 40}));
}

#[tokio::test]
async fn a_failure_is_recorded_with_its_causes_and_so_is_a_panic() {
    let fixture = TeamFixture::new().await;
    let mut connection = fixture.team.connection().await;
    let newest = "SELECT id FROM job_sessions ORDER BY id DESC LIMIT 1";
    let error = with_job_session(&fixture.database, roster(&fixture), async |_| -> JobResult {
        Err(Error::internal(std::io::Error::other("the roster's host is unavailable")).into())
    })
    .await
    .unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Error::Internal(_))));
    let id = sqlx::query_scalar(newest).fetch_one(&mut connection).await.unwrap();
    let row = timeline(&mut connection, id).await;
    assert_eq!(row["status"], "failed");
    assert_eq!(
        row["error"],
        json!({"type": "Internal", "message": "internal error", "causes": ["the roster's host is unavailable"]})
    );

    let panicking = with_job_session(&fixture.database, roster(&fixture), async |_| -> JobResult {
        panic!("this test's own panic")
    });
    assert!(panicking.await.is_err());
    let id = sqlx::query_scalar(newest).fetch_one(&mut connection).await.unwrap();
    let row = timeline(&mut connection, id).await;
    assert_eq!(
        (&row["status"], &row["error"]["type"]),
        (&json!("failed"), &json!("Panic"))
    );
    assert_eq!(row["error"]["message"], "this test's own panic");
}

#[tokio::test]
async fn a_session_whose_work_is_dropped_is_cancelled() {
    let fixture = TeamFixture::new().await;
    let running = with_job_session(&fixture.database, roster(&fixture), async |session| -> JobResult {
        session.add_action(&RosterAction::Fetched { players: 1 }).await?;
        std::future::pending().await
    });
    let mut connection = fixture.team.connection().await;
    let status = async |connection: &mut PgConnection| -> Option<String> {
        let query =
            sqlx::query_scalar("SELECT status FROM job_session_timelines WHERE jsonb_array_length(actions) = 1");
        query.fetch_optional(connection).await.unwrap()
    };
    tokio::select! {
        _ = running => panic!("the work never ends"),
        () = daybook_tests::eventually("an action of the session", async || status(&mut connection).await.is_some()) => {}
    }
    daybook_tests::eventually("the session is cancelled", async || {
        status(&mut fixture.team.connection().await).await.as_deref() == Some("cancelled")
    })
    .await;
}

#[tokio::test]
async fn concurrent_actions_are_numbered_without_gaps() {
    let fixture = TeamFixture::new().await;
    let id = with_job_session(&fixture.database, roster(&fixture), |session| async move {
        let adding = (0..40).map(|players| {
            let session = session.clone();
            tokio::spawn(async move { session.add_action(&RosterAction::Fetched { players }).await.unwrap() })
        });
        let mut seqs = Vec::new();
        for added in adding.collect::<Vec<_>>() {
            seqs.push(added.await?);
        }
        seqs.sort_unstable();
        assert_eq!(seqs, (1..=40).collect::<Vec<_>>());
        Ok(session.id())
    })
    .await
    .unwrap();
    let row = timeline(&mut fixture.team.connection().await, id).await;
    let seqs: Vec<_> = row["actions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|action| action["seq"].as_i64().unwrap())
        .collect();
    assert_eq!(seqs, (1..=40).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_refused_action_leaves_no_gap() {
    let fixture = TeamFixture::new().await;
    with_job_session(&fixture.database, roster(&fixture), |session| async move {
        let large = RosterAction::Skipped {
            player: "x".repeat(70_000),
            reason: "",
        };
        let refused = session.add_action(&large).await.unwrap_err();
        assert!(refused.to_string().contains("a run's log"), "{refused}");
        // It can't be stored.
        let nul = RosterAction::Skipped {
            player: "a\0b".to_owned(),
            reason: "",
        };
        assert!(session.add_action(&nul).await.is_err());
        assert!(
            session
                .add_actions(&[RosterAction::Fetched { players: 1 }, nul])
                .await
                .is_err()
        );
        assert_eq!(session.add_action(&RosterAction::Fetched { players: 2 }).await?, 1);
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn its_events_contain_the_job_the_person_and_the_correlation_id() {
    let fixture = TeamFixture::new().await;
    let id = with_job_session(&fixture.database, roster(&fixture), |session| async move {
        let tx = session.begin().await?;
        let campaign = campaign::ActiveModel {
            name: Set("From a job".to_owned()),
            ..Default::default()
        };
        create_model_with_event(&tx, campaign, Track::All).await?;
        tx.commit().await?;
        Ok(session.id())
    })
    .await
    .unwrap();
    let event = fixture.team.events().await.pop().unwrap();
    assert_eq!(
        event.actor,
        Actor::Job {
            id,
            name: "sync_roster".to_owned()
        }
    );
    assert_eq!(event.on_behalf_of.unwrap().id, fixture.ada.user_id);
    assert_eq!(event.correlation_id, fixture.ada.context.correlation_id);
}

#[tokio::test]
async fn the_services_own_sessions_belong_to_the_system_team() {
    let fixture = TeamFixture::new().await;
    let id = with_job_session(&fixture.database, SessionSpec::new("purge"), async |session| {
        Ok(session.id())
    })
    .await
    .unwrap();
    let seen = "SELECT count(*) FROM job_sessions WHERE id = $1";
    let count = async |team: Uuid| -> i64 {
        let tx = fixture.database.read(&Context::system(team, "test")).await.unwrap();
        tx.fetch_all(sqlx::query(seen).bind(id)).await.unwrap()[0].get(0)
    };
    assert_eq!((count(SYSTEM_TEAM).await, count(fixture.team.id).await), (1, 0));
}

#[tokio::test]
async fn an_invalid_name_or_input_is_refused_before_the_work() {
    let fixture = TeamFixture::new().await;
    let never = async |_: JobSession| -> JobResult { panic!("the work must not begin") };
    let error = with_job_session(&fixture.database, SessionSpec::new("Sync Roster"), never)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("job_name"), "{error}");
    let pairs = std::collections::BTreeMap::from([((1, 2), 3)]);
    let error = with_job_session(&fixture.database, SessionSpec::new("a").input(&pairs), never)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("input"), "{error}");
}

#[tokio::test]
async fn each_action_takes_one_round_trip() {
    let fixture = TeamFixture::new().await;
    let database = fixture.database.clone();
    with_job_session(&fixture.database, roster(&fixture), |session| async move {
        let fetched = RosterAction::Fetched { players: 1 };
        session.add_actions(&vec![fetched.clone(); 999]).await?;
        let before = database.stats().round_trips();
        session.add_action(&fetched).await?;
        assert_eq!(database.stats().round_trips() - before, 1);
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn sessions_work_without_prepared_statements() {
    let fixture = TeamFixture::new().await;
    let options = fixture.db.options().statement_cache(false);
    let database = fixture.db.connect(options, Consumers::none()).await;
    let id = with_job_session(&database, roster(&fixture), |session| async move {
        session.add_action(&RosterAction::Fetched { players: 1 }).await?;
        Ok(session.id())
    })
    .await
    .unwrap();
    let row = timeline(&mut fixture.team.connection().await, id).await;
    assert_eq!(
        (&row["status"], row["actions"].as_array().unwrap().len()),
        (&json!("succeeded"), 1)
    );
}
