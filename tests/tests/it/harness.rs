//! Tests `daybook::testing`, which the other tests use.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use daybook::events::{Consumers, Track, create_model_with_event};
use daybook::tenancy::Role;
use daybook::testing::{RECORDER, Recording, TestDb, compare};
use daybook_tests::{TeamFixture, eventually, widget};
use sqlx::ConnectOptions;

/// The rights of the tests' database role decide whether the tests prove anything.
#[tokio::test]
async fn tests_run_as_the_service_does() {
    let db = TestDb::new().await;
    for (mut connection, role) in [
        (db.owner().await, None),
        (db.app_connection().await, Some("daybook_app")),
    ] {
        let (name, powers): (String, bool) =
            sqlx::query_as("SELECT rolname::text, rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")
                .fetch_one(&mut connection)
                .await
                .unwrap();
        assert!(!powers, "{name}");
        assert!(role.is_none_or(|role| role == name), "{name}");
    }
}

#[tokio::test]
async fn each_test_has_a_database_of_its_own() {
    let (one, two) = tokio::join!(TeamFixture::new(), TeamFixture::new());
    one.widget("w").await;
    assert_eq!((one.count("widgets").await, two.count("widgets").await), (1, 0));
}

#[tokio::test]
async fn one_handle_in_two_teams_is_one_person() {
    let db = TestDb::new().await;
    let (acme, rival) = (db.team("Acme").await, db.team("Rival").await);
    let (ada, again) = (
        acme.member("ada", Role::Owner).await,
        rival.member("ada", Role::Viewer).await,
    );
    assert_eq!(ada.user_id, again.user_id);
    let tx = db.database().await.enter(&ada.entry_to(rival.id)).await.unwrap();
    assert_eq!((tx.role(), tx.context().actor.name()), (Role::Viewer, "Ada"));
}

#[tokio::test]
async fn a_difference_is_shown_line_by_line() {
    let fixture = TeamFixture::with_consumers(Consumers::of([RECORDER]).unwrap()).await;
    for name in ["a", "b", "c"] {
        fixture.widget(name).await;
    }
    let expected = ["CREATED widget “a”", "CREATED widget “x”", "CREATED widget “c”"].map(str::to_owned);
    let message = compare(&fixture.team, &expected).await.unwrap_err();
    assert!(
        message.ends_with(
            "    CREATED widget “a”\n  - CREATED widget “x”\n  + CREATED widget “b”\n    CREATED widget “c”"
        ),
        "{message}"
    );
    // A shorter list is a difference, too: lists are compared whole.
    assert!(compare(&fixture.team, &expected[..1]).await.is_err());
    assert!(
        compare(&Recording::of(&fixture.database).events(), &expected)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_recording_keeps_what_was_rolled_back() {
    let fixture = TeamFixture::with_consumers(Consumers::of([RECORDER]).unwrap()).await;
    let tx = fixture.begin().await;
    create_model_with_event(&tx, widget::named("w"), Track::All)
        .await
        .unwrap();
    tx.rollback().await.unwrap();
    let recording = Recording::of(&fixture.database);
    assert_eq!((recording.events().len(), fixture.team.events().await.len()), (1, 0));
    recording.clear();
    assert!(recording.calls().is_empty());
}

#[tokio::test]
async fn a_database_is_dropped_with_its_last_handle() {
    let kept = TestDb::new().await;
    let gone = TestDb::new().await;
    let name = gone.owner_options().get_database().unwrap().to_owned();
    let team = gone.team("Acme").await;
    let mut owner = kept.owner().await;
    let mut is_there = async || -> bool {
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
            .bind(&name)
            .fetch_one(&mut owner)
            .await
            .unwrap()
    };
    drop(gone);
    assert!(is_there().await, "the team holds it");
    drop(team);
    eventually("the database to be dropped", async || !is_there().await).await;
}

/// Not an independent test: this is the process that the next test kills.
#[tokio::test]
#[ignore = "run by another test, as a process of its own"]
async fn holds_a_server_until_it_is_killed() {
    let db = TestDb::new().await;
    let Some(superuser) = db.superuser_options() else {
        daybook_tests::skip_without("a superuser of the server that DAYBOOK_TEST_DATABASE_URL names");
        return;
    };
    let mut connection = superuser.connect().await.unwrap();
    let cluster: String = sqlx::query_scalar("SHOW data_directory")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    eprintln!("cluster={cluster}");
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_killed_run_leaves_no_server_and_no_files_behind() {
    let mut run = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "harness::holds_a_server_until_it_is_killed",
            "--ignored",
            "--nocapture",
        ])
        .env_remove("DAYBOOK_TEST_DATABASE_URL")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut reported = Vec::new();
    let cluster = BufReader::new(run.stderr.take().unwrap()).lines().find_map(|line| {
        let line = line.unwrap();
        let cluster = line.strip_prefix("cluster=").map(PathBuf::from);
        reported.push(line);
        cluster
    });
    let cluster = cluster.unwrap_or_else(|| panic!("the run ended early: {reported:#?}"));
    let pid_file = std::fs::read_to_string(cluster.join("postmaster.pid")).unwrap();
    let pid: i32 = pid_file.lines().next().unwrap().parse().unwrap();
    run.kill().unwrap();
    run.wait().unwrap();
    eventually("the server's end", async || !is_server_running(pid, &cluster)).await;
    eventually("the removal of its files", async || !cluster.parent().unwrap().exists()).await;
}

/// Returns whether `pid` is still the server on `cluster`; a zombie, which has no arguments, is not.
fn is_server_running(pid: i32, cluster: &Path) -> bool {
    let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&arguments).contains(&*cluster.to_string_lossy())
}
