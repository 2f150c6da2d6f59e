//! Tests that names of queues and deduplication keys are separate for each team.

use daybook::events::Consumers;
use daybook::prelude::*;
use daybook::tenancy::Role;
use daybook_tests::eventually;
use daybook_tests::jobs::{Endless, JobRunner, Note, program};
use serde_json::{Value, json};

fn note(text: &str) -> Note {
    Note { text: text.to_owned() }
}

#[tokio::test]
async fn two_teams_with_one_unique_key_and_one_queue_each_have_their_own_job() {
    let mut runner = JobRunner::without_workers(program(Consumers::none())).await;
    let globex = runner.fixture.db.team("Globex").await;
    let bob = globex.member("bob", Role::Owner).await;
    for (context, text) in [(&runner.fixture.ada.context, "of Acme"), (&bob.context, "of Globex")] {
        let tx = runner.fixture.database.begin(context).await.unwrap();
        let options = JobOptions::new().unique("u").queue("q");
        tx.enqueue_with(note(text), options).await.unwrap();
        tx.commit().await.unwrap();
    }
    runner.start_workers().await;
    for (team, text) in [(&runner.fixture.team, "of Acme"), (&globex, "of Globex")] {
        let mut connection = team.connection().await;
        let mut inputs = async || -> Vec<Value> {
            sqlx::query_scalar("SELECT input FROM job_sessions WHERE status = 'succeeded'")
                .fetch_all(&mut connection)
                .await
                .unwrap()
        };
        eventually(text, async || !inputs().await.is_empty()).await;
        assert_eq!(inputs().await, [json!({"text": text})]);
        assert_eq!(team.events().await.len(), 1, "{text}");
    }
}

#[tokio::test]
async fn a_job_in_a_team_s_queue_runs_while_another_team_s_job_holds_the_queue_of_that_name() {
    let runner = JobRunner::start().await;
    let globex = runner.fixture.db.team("Globex").await;
    let bob = globex.member("bob", Role::Owner).await;
    let queue = || JobOptions::new().queue("q");
    let endless = runner.enqueue_with(Endless, queue()).await;
    runner.wait_for_attempts(endless, &["1 running"]).await;
    // Their own queue is held.
    let waiting = runner.enqueue_with(note("of Acme"), queue()).await;
    let tx = runner.fixture.database.begin(&bob.context).await.unwrap();
    tx.enqueue_with(note("of Globex"), queue()).await.unwrap();
    tx.commit().await.unwrap();
    let mut theirs = globex.connection().await;
    eventually("Globex's note", async || {
        daybook_tests::count(&mut theirs, "widgets").await == 1
    })
    .await;
    assert_eq!(runner.attempts(endless).await, ["1 running"]);
    assert_eq!(runner.attempts(waiting).await, [""; 0]);
}
