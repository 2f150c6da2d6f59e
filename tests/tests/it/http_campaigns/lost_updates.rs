//! Two people change the same version of a campaign at the same time: one of them gets a conflict.

use axum::http::StatusCode;
use daybook::assert_events;
use daybook::tenancy::Role;
use daybook_tests::http::{Campaign, TestApp, TestRequest, TestResponse};
use serde_json::json;
use sqlx::{AssertSqlSafe, Executor};

/// Sends both requests while another transaction holds a row (`campaigns WHERE …`), so that both begin before either
/// can change it.
pub async fn send_concurrently(app: &TestApp, row: &str, first: TestRequest, second: TestRequest) -> [TestResponse; 2] {
    let mut holder = app.team.connection().await;
    holder.execute("BEGIN").await.unwrap();
    let lock = format!("SELECT FROM {row} FOR UPDATE");
    holder.execute(AssertSqlSafe(lock)).await.unwrap();
    let both = [tokio::spawn(first.into_future()), tokio::spawn(second.into_future())];
    daybook_tests::wait_for_blocked_sessions(&app.db, 2).await;
    holder.execute("COMMIT").await.unwrap();
    let [first, second] = both;
    [first.await.unwrap(), second.await.unwrap()]
}

pub fn assert_one_succeeded(answers: [TestResponse; 2]) {
    let mut statuses = answers.map(|answer| answer.status);
    statuses.sort();
    assert_eq!(statuses, [StatusCode::OK, StatusCode::PRECONDITION_FAILED]);
}

fn row(campaign: &Campaign) -> String {
    format!("campaigns WHERE id = '{}'", campaign.id)
}

#[tokio::test]
async fn of_two_concurrent_changes_of_one_version_one_is_refused() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let spring = ada.create_campaign("Spring", "100").await;
    let change = |budget: &str| {
        ada.patch(&spring.path, json!({"budget": budget}))
            .if_match(&spring.etag)
    };
    assert_one_succeeded(send_concurrently(&app, &row(&spring), change("200"), change("300")).await);
    let updated = app
        .team
        .events()
        .await
        .into_iter()
        .filter(|event| event.event_type.as_str() == "UPDATED");
    assert_eq!(updated.count(), 1);
}

#[tokio::test]
async fn of_two_concurrent_transitions_of_one_version_one_is_refused() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let spring = ada.create_campaign("Spring", "100").await;
    let to_active = || {
        let path = format!("{}/transition", spring.path);
        ada.post(&path, json!({"state": "active"})).if_match(&spring.etag)
    };
    assert_one_succeeded(send_concurrently(&app, &row(&spring), to_active(), to_active()).await);
    assert_events!(
        app.team,
        [
            "CREATED campaign “Spring”",
            "STATE_CHANGED campaign “Spring”: draft → active"
        ]
    );
}

#[tokio::test]
async fn a_deletion_is_refused_after_a_concurrent_change() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let spring = ada.create_campaign("Spring", "100").await;
    let mut changing = app.team.connection().await;
    changing.execute("BEGIN").await.unwrap();
    let change = format!("UPDATE {} ", row(&spring)).replace(" WHERE", " SET updated_at = now() WHERE");
    changing.execute(AssertSqlSafe(change)).await.unwrap();
    let deletion = tokio::spawn(ada.delete(&spring.path).if_match(&spring.etag).into_future());
    daybook_tests::wait_for_blocked_session(&app.db).await;
    changing.execute("COMMIT").await.unwrap();
    let refused = deletion.await.unwrap();
    refused.problem(StatusCode::PRECONDITION_FAILED, "precondition-failed");
}

#[tokio::test]
async fn of_two_concurrent_deletions_of_one_version_one_is_refused() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let spring = ada.create_campaign("Spring", "100").await;
    let delete = || ada.delete(&spring.path).if_match(&spring.etag);
    let mut statuses = send_concurrently(&app, &row(&spring), delete(), delete())
        .await
        .map(|answer| answer.status);
    statuses.sort();
    assert_eq!(statuses, [StatusCode::NO_CONTENT, StatusCode::NOT_FOUND]);
    assert_events!(app.team, ["CREATED campaign “Spring”", "DELETED campaign “Spring”"]);
}
