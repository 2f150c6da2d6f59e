//! Tests that names of queues and deduplication keys are separate for each team.

use daybook::events::Consumers;
use daybook::prelude::*;
use daybook::tenancy::Role;
use daybook_tests::eventually;
use daybook_tests::jobs::{Note, Shop, program};
use serde_json::{Value, json};

#[tokio::test]
async fn two_teams_with_one_unique_key_and_one_queue_each_have_their_own_job() {
    let mut shop = Shop::closed(program(Consumers::none())).await;
    let globex = shop.stage.db.team("Globex").await;
    let bob = globex.member("bob", Role::Owner).await;
    for (context, text) in [(&shop.stage.ada.context, "of Acme"), (&bob.context, "of Globex")] {
        let tx = shop.stage.database.begin(context).await.unwrap();
        let options = JobOptions::new().unique("u").queue("q");
        tx.enqueue_with(Note { text: text.to_owned() }, options).await.unwrap();
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
