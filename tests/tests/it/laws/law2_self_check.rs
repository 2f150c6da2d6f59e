//! Law 2: the service asks, through its own pool, whether it could see past the policies, and refuses to start.

use std::error::Error as _;

use daybook::error::Error;
use daybook::tenancy::{Database, DatabaseOptions};
use daybook_tests::test_db;
use sqlx::{ConnectOptions, Executor};

/// What the operator is told when `options` are refused.
async fn said(options: DatabaseOptions) -> String {
    match Database::connect(options).await {
        Err(error @ Error::Internal(_)) => error.source().unwrap().to_string(),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn as_login(options: DatabaseOptions) -> DatabaseOptions {
    DatabaseOptions {
        assume_app_role: false,
        ..options
    }
}

#[tokio::test]
async fn the_run_time_role_is_accepted() {
    let db = test_db().await;
    Database::connect(DatabaseOptions {
        strict_roles: true,
        ..db.options()
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn the_owner_of_tables_is_refused() {
    let db = test_db().await;
    let said = said(as_login(db.options())).await;
    assert!(said.contains("role daybook_owner owns"), "{said}");
    assert!(
        said.contains("campaigns") && said.contains("migrate as another role"),
        "{said}"
    );
}

#[tokio::test]
async fn a_superuser_is_refused() {
    let db = test_db().await;
    // On a server of somebody else's there is no superuser to try.
    let Some(superuser) = db.superuser_options() else {
        return;
    };
    let said = said(as_login(DatabaseOptions::new(superuser))).await;
    assert!(said.contains("role postgres is a superuser"), "{said}");
}

#[tokio::test]
async fn a_superuser_behind_the_role_is_refused_when_strict() {
    let db = test_db().await;
    let Some(superuser) = db.superuser_options() else {
        return;
    };
    let options = DatabaseOptions::new(superuser);
    Database::connect(options.clone()).await.expect("a warning, no more");
    let said = said(DatabaseOptions {
        strict_roles: true,
        ..options
    })
    .await;
    assert!(
        said.contains("login postgres is a superuser") && said.contains("DAYBOOK_STRICT_ROLES"),
        "{said}"
    );
}

#[tokio::test]
async fn a_role_with_bypassrls_is_refused() {
    let db = test_db().await;
    let Some(superuser) = db.superuser_options() else {
        return;
    };
    let role = format!("bypasser_{}", std::process::id());
    let mut connection = superuser.connect().await.unwrap();
    connection
        .execute(sqlx::AssertSqlSafe(format!("CREATE ROLE {role} LOGIN BYPASSRLS")))
        .await
        .unwrap();
    let said = said(as_login(DatabaseOptions::new(superuser.username(&role)))).await;
    connection
        .execute(sqlx::AssertSqlSafe(format!("DROP ROLE {role}")))
        .await
        .unwrap();
    assert!(said.contains(&format!("role {role} has BYPASSRLS")), "{said}");
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
    let first = said(db.options()).await;
    assert!(
        first.contains("table loose has team rows") && first.contains("enable_team_rls"),
        "{first}"
    );
    assert!(!first.contains("no_teams_table"), "{first}");

    // Enabled is not enough: its owner would see everything.
    owner
        .execute("ALTER TABLE loose ENABLE ROW LEVEL SECURITY")
        .await
        .unwrap();
    assert!(said(db.options()).await.contains("table loose"));
    owner
        .execute("ALTER TABLE loose FORCE ROW LEVEL SECURITY")
        .await
        .unwrap();
    Database::connect(db.options()).await.unwrap();

    owner
        .execute("ALTER TABLE users NO FORCE ROW LEVEL SECURITY")
        .await
        .unwrap();
    assert!(said(db.options()).await.contains("table users"));
}
