//! The settings of a transaction end with it, so that the next user of the connection doesn't see them.

use std::time::Duration;

use daybook::events::{Consumers, Track, create_model_with_event};
use daybook::teams::{KeyRole, NewKey, make_key};
use daybook::tenancy::{Credential, Database, Entry, Request, Role};
use daybook::testing::{TestMember, TestTeam};
use daybook_tests::{test_db, widget};
use sea_orm::{ConnectionTrait, DbBackend, Statement};

/// Returns the settings in the session of the pool's only connection, and the number of rows that it sees.
async fn settings_and_rows_left(database: &Database, next: &TestMember) -> (String, i64) {
    let tx = database.begin(&next.context).await.unwrap();
    // Outside a transaction, so that only settings of the session are seen.
    tx.execute_unprepared("ROLLBACK").await.unwrap();
    // Custom settings are not in pg_settings.
    let sql =
        "SELECT concat_ws(' ', current_setting('daybook.team_id', true), current_setting('daybook.user_id', true),
            current_setting('daybook.actor', true), current_setting('daybook.issuer', true),
            current_setting('daybook.subject', true), current_setting('statement_timeout')) AS left,
        (SELECT count(*) FROM widgets) AS rows";
    let row = tx.query_one_raw(Statement::from_string(DbBackend::Postgres, sql));
    let row = row.await.unwrap().unwrap();
    let settings_and_rows_left: String = row.try_get("", "left").unwrap();
    (
        settings_and_rows_left.trim().to_owned(),
        row.try_get("", "rows").unwrap(),
    )
}

/// Returns an entry with an API key of the team.
async fn key(database: &Database, team: &TestTeam, maker: &TestMember) -> Entry {
    let tx = database.begin(&maker.context).await.unwrap();
    let new = NewKey {
        name: "robot".to_owned(),
        role: KeyRole::Member,
        expires_at: None,
    };
    let (_, key) = make_key(&tx, &new).await.unwrap();
    tx.commit().await.unwrap();
    let credential = Credential::ApiKey {
        prefix: key.prefix().to_owned(),
        secret_sha256: key.secret_sha256(),
    };
    Entry::new(team.id, credential, Request::of(&maker.context))
}

#[tokio::test]
async fn a_connection_keeps_no_setting_of_the_transaction_before() {
    let db = test_db().await;
    let team = db.team("Acme").await;
    let ada = team.member("ada", Role::Owner).await;
    let globex = db.team("Globex").await;
    let bob = globex.member("bob", Role::Owner).await;
    let options = db
        .options()
        .max_connections(1)
        .statement_timeout(Some(Duration::from_secs(20)));
    let database = db.connect(options, Consumers::none()).await;
    let clean = ("0".to_owned(), 0);
    let robot = key(&database, &team, &ada).await;
    for (n, entry) in [ada.entry(), robot].iter().enumerate() {
        for commits in [true, false] {
            let tx = database.enter(entry).await.unwrap();
            let widget = widget::named(&format!("{n} {commits}"));
            create_model_with_event(&tx, widget, Track::All).await.unwrap();
            if commits {
                tx.commit().await.unwrap();
            } else {
                tx.rollback().await.unwrap();
            }
            assert_eq!(settings_and_rows_left(&database, &bob).await, clean, "{entry:?}");
        }
    }
    // A transaction without a team sets one person.
    database.own_teams("issuer", "ada").await.unwrap();
    assert_eq!(settings_and_rows_left(&database, &bob).await, clean);
}
