//! What a transaction sets ends with it, whoever gets its connection next.

use daybook::events::{Consumers, Track, create_model_with_event};
use daybook::tenancy::{DatabaseOptions, Role};
use daybook_tests::{test_db, widget};
use sea_orm::ConnectionTrait;

#[tokio::test]
async fn a_connection_keeps_no_setting_of_the_transaction_before() {
    let db = test_db().await;
    let team = db.team("Acme").await;
    let ada = team.member("ada", Role::Owner).await;
    let globex = db.team("Globex").await;
    let bob = globex.member("bob", Role::Owner).await;
    let options = DatabaseOptions {
        max_connections: 1,
        ..db.options()
    };
    let database = db.connect(options, Consumers::none()).await;
    for (name, commits) in [("a", true), ("b", false)] {
        let tx = database.begin(&ada.context).await.unwrap();
        create_model_with_event(&tx, widget::named(name), Track::All)
            .await
            .unwrap();
        if commits {
            tx.commit().await.unwrap();
        } else {
            tx.rollback().await.unwrap();
        }
        // The same connection, out of any transaction: what is left there is of the session.
        let next = database.begin(&bob.context).await.unwrap();
        next.execute_unprepared("ROLLBACK").await.unwrap();
        let left = "SELECT string_agg(name || '=' || setting, ', ') AS left FROM pg_settings \
                    WHERE name LIKE 'daybook.%' AND setting <> ''";
        let row = next.query_one_raw(sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, left));
        let left: Option<String> = row.await.unwrap().unwrap().try_get("", "left").unwrap();
        assert_eq!(left, None);
        let visible = next.query_one_raw(sea_orm::Statement::from_string(
            sea_orm::DbBackend::Postgres,
            "SELECT coalesce(current_setting('daybook.team_id', true), '') AS team, (SELECT count(*) FROM widgets) AS rows",
        ));
        let visible = visible.await.unwrap().unwrap();
        assert_eq!(visible.try_get::<String>("", "team").unwrap(), "");
        assert_eq!(visible.try_get::<i64>("", "rows").unwrap(), 0);
    }
}
