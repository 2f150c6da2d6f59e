//! Tests that names of queues and deduplication keys are separate for each team.

use daybook::events::Consumers;
use daybook::prelude::*;
use daybook::tenancy::Role;
use daybook_tests::eventually;
use daybook_tests::jobs::{Endless, Note, Shop, program};
use serde_json::{Value, json};

fn note(text: &str) -> Note {
    Note { text: text.to_owned() }
}

#[tokio::test]
async fn two_teams_with_one_unique_key_and_one_queue_each_have_their_own_job() {
    let mut shop = Shop::closed(program(Consumers::none())).await;
    let globex = shop.stage.db.team("Globex").await;
    let bob = globex.member("bob", Role::Owner).await;
    for (context, text) in [(&shop.stage.ada.context, "of Acme"), (&bob.context, "of Globex")] {
        let tx = shop.stage.database.begin(context).await.unwrap();
        let options = JobOptions::new().unique("u").queue("q");
        tx.enqueue_with(note(text), options).await.unwrap();
        tx.commit().await.unwrap();
    }
    shop.work().await;
    for (team, text) in [(&shop.stage.team, "of Acme"), (&globex, "of Globex")] {
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
    let shop = Shop::open().await;
    let globex = shop.stage.db.team("Globex").await;
    let bob = globex.member("bob", Role::Owner).await;
    let queue = || JobOptions::new().queue("q");
    let endless = shop.ask_with(Endless, queue()).await;
    shop.until(endless, &["1 running"]).await;
    // Their own queue is held.
    let waiting = shop.ask_with(note("of Acme"), queue()).await;
    let tx = shop.stage.database.begin(&bob.context).await.unwrap();
    tx.enqueue_with(note("of Globex"), queue()).await.unwrap();
    tx.commit().await.unwrap();
    let mut theirs = globex.connection().await;
    eventually("Globex's note", async || {
        daybook_tests::count(&mut theirs, "widgets").await == 1
    })
    .await;
    assert_eq!(shop.attempts(endless).await, ["1 running"]);
    assert_eq!(shop.attempts(waiting).await, [""; 0]);
}
