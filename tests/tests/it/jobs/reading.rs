//! Tests of reading sessions over HTTP.

use axum::http::StatusCode;
use daybook::prelude::*;
use daybook_tests::http::TestApp;
use serde_json::{Value, json};

use super::RosterAction;

#[tokio::test]
async fn sessions_are_listed_newest_first_and_filtered() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Viewer).await;
    let context = Context::system(app.team.id, "test");
    let spec = |name: &str| SessionSpec::new(name).context(context.clone()).input(&json!({"n": 1}));
    for name in ["sync_roster", "send_mail", "sync_roster"] {
        with_job_session(&app.database, spec(name), async |_| Ok(()))
            .await
            .unwrap();
    }
    let failing = async |session: JobSession| -> JobResult {
        session
            .add_actions(&vec![RosterAction::Fetched { players: 3 }; 5])
            .await?;
        Err("the host is unavailable".into())
    };
    let other_story = Context::system(app.team.id, "test");
    let story = other_story.correlation_id;
    let retry = SessionSpec::new("sync_roster")
        .context(other_story)
        .attempt(Uuid::now_v7(), 2, 3);
    assert!(with_job_session(&app.database, retry, failing).await.is_err());

    let names = async |query: &str| -> Vec<String> {
        let page = ada.get(&format!("/job-sessions{query}")).await.ok();
        let items = page["items"].as_array().unwrap().clone();
        items
            .iter()
            .map(|item| {
                format!(
                    "{} {}",
                    item["job_name"].as_str().unwrap(),
                    item["status"].as_str().unwrap()
                )
            })
            .collect()
    };
    let all = [
        "sync_roster failed",
        "sync_roster succeeded",
        "send_mail succeeded",
        "sync_roster succeeded",
    ];
    assert_eq!(names("").await, all);
    assert_eq!(names("?status=failed").await, all[..1]);
    assert_eq!(names("?job=send_mail").await, all[2..3]);
    assert_eq!(names(&format!("?correlation_id={story}")).await, all[..1]);
    assert_eq!(names("?since=2099-01-01T00:00:00Z").await, [""; 0]);
    let first = ada.get("/job-sessions?limit=3").await.ok();
    let rest = ada
        .get(&format!(
            "/job-sessions?limit=3&cursor={}",
            first["next"].as_str().unwrap()
        ))
        .await
        .ok();
    assert_eq!(
        (
            first["items"].as_array().unwrap().len(),
            rest["items"].as_array().unwrap().len()
        ),
        (3, 1)
    );

    let failed = &first["items"][0];
    assert_eq!(
        (&failed["attempt"], &failed["error"]["message"]),
        (&json!(2), &json!("the host is unavailable"))
    );
    assert!(failed["run_time_ms"].as_i64().unwrap() >= 0 && failed["job_id"].is_string());
    let path = format!("/job-sessions/{}", failed["id"].as_str().unwrap());
    assert_eq!(&ada.get(&path).await.ok(), failed);
    let page = ada.get(&format!("{path}/actions?limit=3")).await.ok();
    let rest = ada
        .get(&format!("{path}/actions?cursor={}", page["next"].as_str().unwrap()))
        .await
        .ok();
    let seqs = |page: &Value| -> Vec<i64> {
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["seq"].as_i64().unwrap())
            .collect()
    };
    assert_eq!((seqs(&page), seqs(&rest)), (vec![1, 2, 3], vec![4, 5]));
    let seen = ada.get(&format!("{path}/actions?after_seq=2&limit=2")).await.ok();
    assert_eq!(seqs(&seen), [3, 4]);
    let wrong = ada.get(&format!("{path}/actions?after_seq=-1")).await;
    let problem = wrong.problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid");
    assert_eq!(problem["errors"][0]["field"], "after_seq");
    assert_eq!(
        (&page["items"][0]["type"], &page["items"][0]["sentence"]),
        (&json!("Fetched"), &json!("Fetched 3 players"))
    );
}

#[tokio::test]
async fn invalid_parameters_are_named_and_another_teams_session_is_not_found() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    for (query, field) in [
        ("?status=done", "status"),
        ("?since=yesterday", "since"),
        ("?correlation_id=7", "correlation_id"),
        ("?limit=0", "limit"),
    ] {
        let answer = ada.get(&format!("/job-sessions{query}")).await;
        let problem = answer.problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid");
        assert_eq!(problem["errors"][0]["field"], field);
    }
    let id = with_job_session(&app.database, SessionSpec::new("purge"), async |session| {
        Ok(session.id())
    })
    .await
    .unwrap();
    for path in [format!("/job-sessions/{id}"), format!("/job-sessions/{id}/actions")] {
        ada.get(&path).await.problem(StatusCode::NOT_FOUND, "not-found");
    }
    assert_eq!(ada.get("/job-sessions").await.ok()["items"], json!([]));
}

#[tokio::test]
async fn an_attempt_writes_a_wide_event() {
    let app = TestApp::start().await;
    let context = Context::system(app.team.id, "test");
    let spec = |name: &str| SessionSpec::new(name).context(context.clone());
    let id = with_job_session(&app.database, spec("sync_roster"), async |session| {
        session.add_action(&RosterAction::Fetched { players: 3 }).await?;
        WideEvent::current().set("players", 3);
        Ok(session.id())
    })
    .await
    .unwrap();
    let event = app.wide_event().await;
    assert_eq!((&event["kind"], &event["outcome"]), (&json!("job"), &json!("success")));
    assert_eq!(
        event["job"],
        json!({"name": "sync_roster", "session_id": id, "attempt": 1, "actions": 1})
    );
    assert_eq!((&event["players"], &event["team_id"]), (&json!(3), &json!(app.team.id)));
    assert_eq!(event["correlation_id"], context.correlation_id.to_string());
    assert_eq!(event["schema_errors"], Value::Null);

    let failing = async |_: JobSession| -> JobResult { Err(Error::internal("the host is unavailable").into()) };
    assert!(
        with_job_session(&app.database, spec("sync_roster"), failing)
            .await
            .is_err()
    );
    let event = app.wide_event().await;
    assert_eq!(
        (&event["outcome"], &event["error"]["causes"]),
        (&json!("error"), &json!(["the host is unavailable"]))
    );
    let panicking = async |_: JobSession| -> JobResult { panic!("this test's own panic") };
    assert!(
        with_job_session(&app.database, spec("sync_roster"), panicking)
            .await
            .is_err()
    );
    assert_eq!(app.wide_event().await["outcome"], "panic");
}
