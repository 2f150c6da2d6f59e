//! Tests lines of a job whose call did not end: the log contains them once or not at all, and no later line is lost.

use daybook::jobs::{JobSession, SessionSpec, with_job_session};
use daybook::runs::{NewRun, RunOutcome, start};
use daybook::tenancy::{Context, Role};
use daybook_tests::http::TestApp;
use futures_util::FutureExt as _;
use serde_json::Value;

#[tokio::test]
async fn a_job_that_drops_the_call_of_a_line_loses_none_of_the_next_ones() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let work = async |session: JobSession| {
        let run = start(&session, NewRun::new("nightly import")).await?;
        run.console("info", "first").await?;
        // The line is in the log's queue after the first poll. The call is dropped before the line is durable.
        let dropped = run.console("info", "dropped").now_or_never();
        assert!(dropped.is_none(), "the line was durable at once: {dropped:?}");
        run.console("info", "second").await?;
        run.console("info", "third").await?;
        let ended = run.end(RunOutcome::succeeded()).await?;
        Ok(ended.id)
    };
    let spec = SessionSpec::new("import").context(Context::system(app.team.id, "test"));
    let id = with_job_session(&app.database, spec, work).await.unwrap();
    let log = ada
        .get(&format!("/runs/{id}/events"))
        .header("accept", "application/x-ndjson")
        .await
        .text();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let messages: Vec<_> = lines
        .filter(|line| line["type"] == "console.line")
        .map(|line| line["payload"]["message"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(messages, ["first", "dropped", "second", "third"]);
}
