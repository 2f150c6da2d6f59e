//! Law 2: no team, no rows; and with a team, that team's rows and no others.

use daybook::testing::{TestDb, TestTeam};
use daybook_tests::{count, refusal, test_db};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

use super::seed::{seed, team_tables};

async fn two_teams() -> (TestDb, TestTeam, TestTeam) {
    let db = test_db().await;
    let (acme, rival) = (db.team("Acme").await, db.team("Rival").await);
    seed(&acme).await;
    seed(&rival).await;
    (db, acme, rival)
}

async fn enter(connection: &mut PgConnection, team: &TestTeam) {
    sqlx::query("SELECT set_config('daybook.team_id', $1, false)")
        .bind(team.id.to_string())
        .execute(connection)
        .await
        .unwrap();
}

/// The column that names the row's team.
fn team_column(table: &str) -> &'static str {
    if table == "teams" { "id" } else { "team_id" }
}

/// A new table needs a row in `seed`. Otherwise the tests below that check "every table" would pass on an empty table.
#[tokio::test]
async fn every_table_has_a_row_to_be_hidden() {
    let (_db, acme, _rival) = two_teams().await;
    let mut inside = acme.connection().await;
    for table in team_tables(&mut inside).await {
        assert!(count(&mut inside, &table).await > 0, "seed() writes no row in {table}");
    }
}

#[tokio::test]
async fn without_a_team_no_row_is_visible() {
    let (db, ..) = two_teams().await;
    let (mut app, mut owner) = (db.app_connection().await, db.owner().await);
    for table in team_tables(&mut app).await {
        assert_eq!(count(&mut app, &table).await, 0, "{table}, as daybook_app");
        if table != "teams" {
            assert_eq!(count(&mut owner, &table).await, 0, "{table}, as its owner");
        }
    }
    // A migration that iterates over the teams must find them: two, and the system team.
    assert_eq!(count(&mut owner, "teams").await, 3);
}

/// After a commit a custom setting is '', not null.
#[tokio::test]
async fn an_empty_team_is_no_team() {
    let (db, ..) = two_teams().await;
    let mut app = db.app_connection().await;
    sqlx::raw_sql("BEGIN; SET LOCAL daybook.team_id = '01900000-0000-7000-8000-000000000001'; COMMIT")
        .execute(&mut app)
        .await
        .unwrap();
    for table in team_tables(&mut app).await {
        assert_eq!(count(&mut app, &table).await, 0, "{table}");
    }
}

#[tokio::test]
async fn another_teams_rows_are_invisible() {
    let (db, acme, rival) = two_teams().await;
    let (mut app, mut owner) = (db.app_connection().await, db.owner().await);
    enter(&mut app, &acme).await;
    enter(&mut owner, &acme).await;
    for table in team_tables(&mut app).await.iter().filter(|table| *table != "users") {
        let foreign = format!("{table} WHERE {} = '{}'", team_column(table), rival.id);
        let not_own = format!("{table} WHERE {} <> '{}'", team_column(table), acme.id);
        assert_eq!(count(&mut app, &foreign).await, 0, "{table}, as daybook_app");
        assert_eq!(count(&mut app, &not_own).await, 0, "{table}, as daybook_app");
        if table != "teams" {
            assert_eq!(count(&mut owner, &foreign).await, 0, "{table}, as its owner");
        }
    }
}

#[tokio::test]
async fn another_teams_rows_can_not_be_changed_or_deleted() {
    let (db, acme, rival) = two_teams().await;
    let mut app = db.app_connection().await;
    enter(&mut app, &acme).await;
    let mut inside = rival.connection().await;
    for table in team_tables(&mut app)
        .await
        .iter()
        .filter(|table| *table != "users" && *table != "teams")
    {
        let before = count(&mut inside, table).await;
        for sql in [
            format!("DELETE FROM {table} WHERE team_id = '{}'", rival.id),
            format!(
                "UPDATE {table} SET team_id = '{}' WHERE team_id = '{}'",
                acme.id, rival.id
            ),
        ] {
            match sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut app).await {
                Ok(done) => assert_eq!(done.rows_affected(), 0, "{table}"),
                Err(error) => assert_eq!(error.into_database_error().unwrap().code().unwrap(), "42501", "{table}"),
            }
        }
        assert_eq!(count(&mut inside, table).await, before, "{table}");
    }
}

#[tokio::test]
async fn a_row_for_another_team_is_refused() {
    let (db, acme, rival) = two_teams().await;
    let mut app = db.app_connection().await;
    enter(&mut app, &acme).await;
    for table in team_tables(&mut app)
        .await
        .iter()
        .filter(|table| *table != "users" && *table != "teams")
    {
        // The columns that the role may set. A transaction id and a date are refused in every team.
        let columns: Vec<String> = sqlx::query_scalar(
            "SELECT attname::text FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped
               AND attname NOT IN ('transaction_id', 'created_at') AND has_column_privilege(attrelid, attnum, 'INSERT')",
        )
        .bind(table)
        .fetch_all(&mut app)
        .await
        .unwrap();
        let columns = columns.join(", ");
        let insert = format!(
            "INSERT INTO {table} ({columns}) SELECT {columns} FROM (SELECT (jsonb_populate_record(NULL::{table},
                 to_jsonb(t) || '{{\"team_id\": \"{}\"}}')).* FROM {table} t) theirs",
            rival.id
        );
        let (code, message) = refusal(&mut app, &insert)
            .await
            .unwrap_or_else(|| panic!("{table} accepts another team's row"));
        assert_eq!(code, "42501", "{table}: {message}");
        assert!(message.contains("row-level security"), "{table}: {message}");
        if table != "events" {
            let give = format!("UPDATE {table} SET team_id = '{}'", rival.id);
            let (code, message) = refusal(&mut app, &give)
                .await
                .unwrap_or_else(|| panic!("rows of {table} can be moved to another team"));
            assert_eq!(code, "42501", "{table}: {message}");
        }
    }
    let found = format!(
        "INSERT INTO teams (id, name) VALUES ('{}', 'Another')",
        uuid::Uuid::now_v7()
    );
    assert_eq!(refusal(&mut app, &found).await.unwrap().0, "42501");
}

#[tokio::test]
async fn a_partition_by_its_own_name_shows_nothing() {
    let (db, acme, _rival) = two_teams().await;
    let (mut app, mut owner) = (db.app_connection().await, db.owner().await);
    enter(&mut app, &acme).await;
    enter(&mut owner, &acme).await;
    assert_eq!(
        count(&mut owner, "events").await,
        1,
        "through the parent the owner sees the team's event"
    );
    let partitions: Vec<String> =
        sqlx::query_scalar("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'events'::regclass")
            .fetch_all(&mut owner)
            .await
            .unwrap();
    assert!(partitions.len() >= 5, "{partitions:?}");
    for partition in partitions {
        assert_eq!(count(&mut owner, &partition).await, 0, "{partition}");
        let select = format!("SELECT FROM {partition}");
        assert_eq!(
            refusal(&mut app, &select).await.unwrap().0,
            "42501",
            "{partition} as daybook_app"
        );
        for role in ["public", "daybook_app", "daybook_relay", "daybook_worker"] {
            let granted: bool = sqlx::query_scalar(
                "SELECT has_any_column_privilege($1, $2, 'SELECT, INSERT, UPDATE, REFERENCES')
                     OR has_table_privilege($1, $2, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')",
            )
            .bind(role)
            .bind(&partition)
            .fetch_one(&mut owner)
            .await
            .unwrap();
            assert!(!granted, "{role} has a right on {partition}");
        }
    }
}
