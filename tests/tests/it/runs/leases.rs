//! Tests of the leases of processes: a process that others may consider dead starts again, with the next epoch of each
//! of its runs.

use daybook::tenancy::Role;
use daybook_tests::eventually;
use daybook_tests::http::TestApp;

use super::{append, console, log, run, texts};

/// Returns the epochs of the team's only run in order, each with its process.
async fn leases(app: &TestApp) -> Vec<(i64, uuid::Uuid)> {
    sqlx::query_as("SELECT epoch, home FROM run_leases ORDER BY epoch")
        .fetch_all(&mut app.team.connection().await)
        .await
        .unwrap()
}

/// Changes the process's row with `statement`, and waits until the process has started again.
async fn starts_again_after(statement: &'static str) {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let run = run(&ada).await;
    append(&ada, &run, &[console("before")]).await.ok();
    let first = leases(&app).await;
    assert_eq!(first.len(), 1);
    let mut owner = app.team.connection().await;
    sqlx::query(statement).execute(&mut owner).await.unwrap();
    // A reader opens the log, and a process whose lease has ended starts again for it.
    eventually("the next epoch", async || {
        log(&ada, &run).await;
        leases(&app).await.len() > 1
    })
    .await;
    let both = leases(&app).await;
    assert_eq!((both[0], both[1].0), (first[0], first[0].0 + 1));
    assert_ne!(both[1].1, first[0].1, "it has a new identity for the other processes");
    append(&ada, &run, &[console("after")]).await.ok();
    let lines = log(&ada, &run).await;
    assert_eq!(texts(&lines), ["run.queued", "run.started", "before", "after"]);
    assert_eq!(lines[3]["sequence"], 4);
    assert_eq!(leases(&app).await.len(), 2);
}

#[tokio::test]
async fn a_process_whose_lease_has_ended_starts_again_with_a_new_epoch() {
    starts_again_after("UPDATE run_homes SET renewed_at = clock_timestamp() - interval '1 minute'").await;
}

#[tokio::test]
async fn a_process_that_another_has_declared_dead_starts_again_with_a_new_epoch() {
    starts_again_after("UPDATE run_homes SET left_at = clock_timestamp()").await;
}
