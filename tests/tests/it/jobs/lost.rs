//! When a session whose worker is silent counts as lost.

use std::time::Duration;

use daybook::events::Consumers;
use daybook::jobs::WorkerOptions;
use daybook::prelude::*;
use daybook_tests::eventually;
use daybook_tests::jobs::{Shop, program, quick};
use sqlx::AssertSqlSafe;

/// A session that runs for ever; its worker was last heard of so many seconds ago.
async fn silent_for(shop: &Shop, name: &'static str, seconds: f64) {
    let database = shop.stage.database.clone();
    let spec = SessionSpec::new(name).context(shop.stage.ada.context.clone());
    let (begun, begins) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        with_job_session(&database, spec, |session| async move {
            let _ = begun.send(session.id());
            std::future::pending::<JobResult>().await
        })
        .await
    });
    let update = format!(
        "UPDATE job_sessions SET heartbeat_at = clock_timestamp() - {seconds} * interval '1 second' WHERE id = '{}'",
        begins.await.unwrap()
    );
    let mut connection = shop.stage.team.connection().await;
    let updated = sqlx::query(AssertSqlSafe(update)).execute(&mut connection);
    assert_eq!(updated.await.unwrap().rows_affected(), 1);
}

#[tokio::test]
async fn a_session_is_lost_at_the_limit_and_not_before() {
    let shop = Shop::closed(program(Consumers::none())).await;
    silent_for(&shop, "beyond", 60.5).await;
    // Five seconds for a slow machine.
    silent_for(&shop, "within", 55.0).await;
    let workers = shop
        .hire(&WorkerOptions {
            lost_after: Duration::from_secs(60),
            ..quick()
        })
        .await;
    let mut connection = shop.stage.team.connection().await;
    let mut statuses = async || -> Vec<(String, String)> {
        sqlx::query_as("SELECT job_name, status FROM job_sessions WHERE job_name IN ('beyond', 'within') ORDER BY 1")
            .fetch_all(&mut connection)
            .await
            .unwrap()
    };
    let wanted = [("beyond", "lost"), ("within", "running")].map(|(name, status)| (name.to_owned(), status.to_owned()));
    eventually("the lost session", async || statuses().await == wanted).await;
    workers.stop().await;
}
