//! Law 2: the service checks, through its own pool, whether it is subject to the policies; if not, it doesn't start.

use std::error::Error as _;

use daybook::error::Error;
use daybook::tenancy::{Database, DatabaseOptions};
use daybook_tests::test_db;
use sqlx::{ConnectOptions, Executor};

/// Returns the error that the operator sees when `options` are refused.
pub async fn refusal_message(options: DatabaseOptions) -> String {
    match Database::connect(options).await {
        Err(error @ Error::Internal(_)) => error.source().unwrap().to_string(),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn as_login(options: DatabaseOptions) -> DatabaseOptions {
    options.assume_app_role(false)
}

#[tokio::test]
async fn the_run_time_role_is_accepted() {
    let db = test_db().await;
    Database::connect(db.options().strict_roles(true)).await.unwrap();
}

#[tokio::test]
async fn the_owner_of_tables_is_refused() {
    let db = test_db().await;
    let message = refusal_message(as_login(db.options())).await;
    assert!(message.contains("role daybook_owner owns"), "{message}");
    assert!(
        message.contains("campaigns") && message.contains("migrate as another role"),
        "{message}"
    );
}

#[tokio::test]
async fn a_superuser_is_refused() {
    let db = test_db().await;
    // On an external server there may be no superuser to try this with.
    let Some(superuser) = db.superuser_options() else {
        daybook_tests::skip_without("a superuser of the server that DAYBOOK_TEST_DATABASE_URL names");
        return;
    };
    let message = refusal_message(as_login(DatabaseOptions::new(superuser))).await;
    assert!(message.contains("role postgres is a superuser"), "{message}");
}

#[tokio::test]
async fn a_superuser_login_is_refused_if_strict() {
    let db = test_db().await;
    let Some(superuser) = db.superuser_options() else {
        daybook_tests::skip_without("a superuser of the server that DAYBOOK_TEST_DATABASE_URL names");
        return;
    };
    let options = DatabaseOptions::new(superuser);
    Database::connect(options.clone()).await.expect("only a warning");
    let message = refusal_message(options.strict_roles(true)).await;
    assert!(
        message.contains("login postgres is a superuser") && message.contains("DAYBOOK_STRICT_ROLES"),
        "{message}"
    );
}

#[tokio::test]
async fn a_role_with_bypassrls_is_refused() {
    let db = test_db().await;
    let Some(superuser) = db.superuser_options() else {
        daybook_tests::skip_without("a superuser of the server that DAYBOOK_TEST_DATABASE_URL names");
        return;
    };
    let role = format!("bypasser_{}", std::process::id());
    let mut connection = superuser.connect().await.unwrap();
    connection
        .execute(sqlx::AssertSqlSafe(format!("CREATE ROLE {role} LOGIN BYPASSRLS")))
        .await
        .unwrap();
    let message = refusal_message(as_login(DatabaseOptions::new(superuser.username(&role)))).await;
    connection
        .execute(sqlx::AssertSqlSafe(format!("DROP ROLE {role}")))
        .await
        .unwrap();
    assert!(message.contains(&format!("role {role} has BYPASSRLS")), "{message}");
}

/// Creates a login that is a member of `roles`, connects with it, and returns the result; `None` without a superuser.
async fn connect_as_member_of(name: &str, roles: &[&str]) -> Option<Result<(), String>> {
    let db = test_db().await;
    let superuser = db.superuser_options()?;
    let login = format!("{name}_{}", std::process::id());
    let mut connection = superuser.connect().await.unwrap();
    let make = format!("CREATE ROLE {login} LOGIN IN ROLE {}", roles.join(", "));
    connection.execute(sqlx::AssertSqlSafe(make)).await.unwrap();
    let options = as_login(DatabaseOptions::new(superuser.username(&login))).strict_roles(true);
    let outcome = match Database::connect(options).await {
        Ok(database) => {
            database.close().await;
            Ok(())
        }
        Err(error) => Err(error.source().unwrap().to_string()),
    };
    let drop = format!("DROP ROLE {login}");
    connection.execute(sqlx::AssertSqlSafe(drop)).await.unwrap();
    Some(outcome.map_err(|message| message.replace(&login, "LOGIN")))
}

#[tokio::test]
async fn a_login_that_is_only_in_the_run_time_role_is_accepted() {
    let Some(outcome) = connect_as_member_of("plain", &["daybook_app"]).await else {
        daybook_tests::skip_without("a superuser of the server that DAYBOOK_TEST_DATABASE_URL names");
        return;
    };
    outcome.unwrap();
}

#[tokio::test]
async fn a_login_that_could_become_a_role_that_sees_more_is_refused_by_that_role() {
    for (name, role, why) in [
        ("relaying", "daybook_relay", "sees events across teams"),
        ("owning", "daybook_owner", "owns tables"),
        ("ruling", "postgres", "is a superuser"),
    ] {
        let Some(outcome) = connect_as_member_of(name, &["daybook_app", role]).await else {
            daybook_tests::skip_without("a superuser of the server that DAYBOOK_TEST_DATABASE_URL names");
            return;
        };
        let message = outcome.unwrap_err();
        for words in [
            format!("role LOGIN is a member of {role}, which {why}"),
            format!("REVOKE {role} FROM LOGIN"),
        ] {
            assert!(message.contains(&words), "{words:?} is not in: {message}");
        }
    }
}

#[tokio::test]
async fn a_login_that_could_become_a_superuser_is_refused_if_strict() {
    let db = test_db().await;
    let Some(superuser) = db.superuser_options() else {
        daybook_tests::skip_without("a superuser of the server that DAYBOOK_TEST_DATABASE_URL names");
        return;
    };
    let login = format!("behind_{}", std::process::id());
    let mut connection = superuser.connect().await.unwrap();
    let make = format!("CREATE ROLE {login} LOGIN IN ROLE daybook_app, postgres");
    connection.execute(sqlx::AssertSqlSafe(make)).await.unwrap();
    let options = DatabaseOptions::new(superuser.username(&login));
    Database::connect(options.clone())
        .await
        .expect("only a warning")
        .close()
        .await;
    let message = refusal_message(options.strict_roles(true)).await;
    let drop = format!("DROP ROLE {login}");
    connection.execute(sqlx::AssertSqlSafe(drop)).await.unwrap();
    assert!(
        message.contains("is a member of postgres, which is a superuser") && message.contains("DAYBOOK_STRICT_ROLES"),
        "{message}"
    );
}

#[tokio::test]
async fn a_team_table_without_forced_row_level_security_is_refused_by_name() {
    let db = test_db().await;
    let mut owner = db.owner().await;
    owner
        .execute("CREATE TABLE loose (team_id uuid NOT NULL)")
        .await
        .unwrap();
    owner.execute("CREATE TABLE no_teams_table (id uuid)").await.unwrap();
    let first = refusal_message(db.options()).await;
    assert!(
        first.contains("table loose has team rows") && first.contains("enable_team_rls"),
        "{first}"
    );
    assert!(!first.contains("no_teams_table"), "{first}");

    // Row-level security that is enabled but not forced is not enough: the table's owner would see all rows.
    owner
        .execute("ALTER TABLE loose ENABLE ROW LEVEL SECURITY")
        .await
        .unwrap();
    assert!(refusal_message(db.options()).await.contains("table loose"));
    owner
        .execute("ALTER TABLE loose FORCE ROW LEVEL SECURITY")
        .await
        .unwrap();
    Database::connect(db.options()).await.unwrap();

    owner
        .execute("ALTER TABLE users NO FORCE ROW LEVEL SECURITY")
        .await
        .unwrap();
    assert!(refusal_message(db.options()).await.contains("table users"));
}
