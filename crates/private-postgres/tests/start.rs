//! Starts a server, as a program does that is not Daybook. The tests of Daybook cover deaths, refusals and root.

use std::io::Write as _;

use daybook_private_postgres::{PrivatePostgres, SearchPath, Settings, StartError};
use sqlx::{ConnectOptions as _, Connection as _};

#[tokio::test]
async fn a_program_gets_its_database_and_finds_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::new("private_postgres_test")
        .search(SearchPath::from_env("PRIVATE_POSTGRES_TEST_PG_BIN").without_download())
        .set_up("CREATE TABLE IF NOT EXISTS starts (at timestamptz); INSERT INTO starts VALUES (now())")
        .set_up("GRANT SELECT ON starts TO private_postgres_test_owner");
    for starts in 1..=2 {
        let postgres = match PrivatePostgres::start(folder.path(), &settings).await {
            Err(error @ StartError::NoPrograms { .. }) if std::env::var_os("CI").is_none() => {
                // Not with the print macros, because the test harness captures their output.
                let _ = writeln!(std::io::stderr(), "SKIPPED: {error}");
                return;
            }
            started => started.unwrap(),
        };
        let mut connection = postgres.owner_options().connect().await.unwrap();
        let counted: i64 = sqlx::query_scalar("SELECT count(*) FROM starts")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(counted, starts);
        let (user, database): (String, String) = sqlx::query_as("SELECT current_user::text, current_database()::text")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(
            (user.as_str(), database.as_str()),
            ("private_postgres_test_owner", "private_postgres_test")
        );
        connection.close().await.unwrap();
        let home = postgres.home().to_owned();
        postgres.stop().await.unwrap();
        if starts == 2 {
            // For root, the home is outside the data folder.
            std::fs::remove_dir_all(&home).unwrap();
            let _ = home.parent().map(std::fs::remove_dir);
        }
    }
}

#[tokio::test]
async fn a_name_that_postgres_would_refuse_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::new("Not a name");
    let error = PrivatePostgres::start(folder.path(), &settings).await.unwrap_err();
    assert!(matches!(error, StartError::Name { .. }), "{error}");
}
