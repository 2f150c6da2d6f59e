//! Leases of processes: one that others may take for dead begins again, with the next epoch of each of its runs.

use daybook::tenancy::Role;
use daybook_tests::eventually;
use daybook_tests::http::TestApp;

use super::{append, console, log, run, told};

/// The epochs of the team's only run, in order, each with the process that had it.
async fn leases(app: &TestApp) -> Vec<(i64, uuid::Uuid)> {
    sqlx::query_as("SELECT epoch, home FROM run_leases ORDER BY epoch")
        .fetch_all(&mut app.team.connection().await)
        .await
        .unwrap()
}

/// Makes the process's row as `statement` says, and waits until the process has begun again.
async fn begins_again_after(statement: &'static str) {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let run = run(&ada).await;
    append(&ada, &run, &[console("before")]).await.ok();
    let first = leases(&app).await;
    assert_eq!(first.len(), 1);
    let mut owner = app.team.connection().await;
    sqlx::query(statement).execute(&mut owner).await.unwrap();
    // Whoever reads a log opens it, and a process whose lease is over begins again for it.
    eventually("the next epoch", async || {
        log(&ada, &run).await;
        leases(&app).await.len() > 1
    })
    .await;
    let both = leases(&app).await;
    assert_eq!((both[0], both[1].0), (first[0], first[0].0 + 1));
    assert_ne!(both[1].1, first[0].1, "it is another process for the others");
    append(&ada, &run, &[console("after")]).await.ok();
    let lines = log(&ada, &run).await;
    assert_eq!(told(&lines), ["run.queued", "run.started", "before", "after"]);
    assert_eq!(lines[3]["sequence"], 4);
    assert_eq!(leases(&app).await.len(), 2);
}

#[tokio::test]
async fn a_renewal_after_the_lease_is_over_fails_and_the_process_begins_with_a_new_epoch() {
    begins_again_after("UPDATE run_homes SET renewed_at = clock_timestamp() - interval '1 minute'").await;
}

#[tokio::test]
async fn a_process_that_another_has_found_dead_begins_with_a_new_epoch() {
    begins_again_after("UPDATE run_homes SET left_at = clock_timestamp()").await;
}
