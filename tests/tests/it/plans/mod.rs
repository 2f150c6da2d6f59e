//! Counts the rows that statements over many rows read: it grows linearly with the number of rows, not with its square,
//! whatever the planner's statistics are.

mod statements;

use daybook::events::{Consumers, Track, create_models_with_events, update_models_with_events};
use daybook::notifications::send_notifications;
use daybook::tenancy::{Database, Role, TeamTx};
use daybook::testing::{TestDb, TestMember};
use daybook::threads::post_to_thread;
use daybook_tests::{test_db, widget};
use sea_orm::ActiveValue::Set;
use sea_orm::EntityTrait;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};

/// The number of people of a team that are notified of each object.
const FOLLOWERS: usize = 4;

/// The planner's statistics about the tables.
#[derive(Debug, Clone, Copy)]
enum Statistics {
    /// Nothing: they were never analysed.
    None,
    /// They were analysed while they were empty.
    Empty,
    /// They were analysed while another team had one row in each: for any other team the planner expects none.
    OtherTeam,
}

const ALL: [Statistics; 3] = [Statistics::None, Statistics::Empty, Statistics::OtherTeam];

/// Returns a database with such statistics, and the service's handle.
async fn database(statistics: Statistics) -> (TestDb, Database) {
    let db = test_db().await;
    let consumers = Consumers::of([post_to_thread::CONSUMER, send_notifications::CONSUMER]).unwrap();
    let database = db.database_with(consumers).await;
    if let Statistics::OtherTeam = statistics {
        let first = person(&db, "Other", 2).await;
        let tx = database.begin(&first.context).await.unwrap();
        create(&tx, 1).await;
        tx.commit().await.unwrap();
    }
    if !matches!(statistics, Statistics::None) {
        db.owner().await.execute("ANALYZE").await.unwrap();
    }
    (db, database)
}

/// Creates a team of `number` people. All but the first watch widgets. Returns the first.
async fn person(db: &TestDb, name: &str, number: usize) -> TestMember {
    let team = db.team(name).await;
    let first = team.member(&name.to_lowercase(), Role::Member).await;
    let mut connection = team.connection().await;
    // In one statement: a connection for each of hundreds of people would take most of the test's time.
    let others = format!(
        "DO $$
         DECLARE person uuid;
         BEGIN
             PERFORM set_config('daybook.issuer', '{issuer}', false);
             FOR n IN 2..{number} LOOP
                 person := gen_random_uuid();
                 PERFORM set_config('daybook.subject', '{name} ' || n, false);
                 INSERT INTO users (id, issuer, subject, display_name) VALUES (person, '{issuer}', '{name} ' || n, 'P');
                 INSERT INTO memberships (team_id, user_id, role, handle, display_name)
                     VALUES ('{team}', person, 'member', 'p' || n, 'P');
                 INSERT INTO watches (team_id, user_id, object_type) VALUES ('{team}', person, 'widget');
             END LOOP;
         END $$",
        issuer = first.issuer,
        team = team.id,
    );
    connection.execute(AssertSqlSafe(others)).await.unwrap();
    connection.close().await.unwrap();
    first
}

async fn create(tx: &TeamTx, n: usize) {
    let models = (0..n).map(|i| widget::named(&format!("w{i}"))).collect();
    let made = create_models_with_events(tx, models, Track::All).await.unwrap();
    assert_eq!(made.len(), n);
}

async fn change(tx: &TeamTx, state: &str) -> usize {
    let changes = widget::ActiveModel {
        state: Set(state.to_owned()),
        ..Default::default()
    };
    let changed = update_models_with_events(tx, widget::Entity::find(), changes, Track::All);
    changed.await.unwrap().len()
}

/// Returns the number of table rows that the session has read, by scans and by indexes, also for foreign keys, and that
/// it hasn't reported yet. It reports at most once a second and never in a transaction. So only the difference between
/// two counts in one transaction is the number that this transaction read.
async fn unreported(tx: &TeamTx) -> i64 {
    let query = sqlx::query(
        "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint AS touched FROM pg_stat_xact_user_tables",
    );
    tx.fetch_optional(query)
        .await
        .unwrap()
        .unwrap()
        .try_get("touched")
        .unwrap()
}

/// Returns the rows read by creating `n` objects in one call, and by changing all of them when each has followers.
async fn cost(statistics: Statistics, n: usize) -> (i64, i64) {
    let (db, database) = database(statistics).await;
    let first = person(&db, "Acme", FOLLOWERS + 1).await;
    let tx = database.begin(&first.context).await.unwrap();
    let before = unreported(&tx).await;
    create(&tx, n).await;
    let created = unreported(&tx).await - before;
    tx.commit().await.unwrap();
    follow_everything(&mut connection_of(&db, &first).await).await;
    let tx = database.begin(&first.context).await.unwrap();
    let before = unreported(&tx).await;
    assert_eq!(change(&tx, "done").await, n);
    let changed = unreported(&tx).await - before;
    tx.commit().await.unwrap();
    (created, changed)
}

async fn connection_of(db: &TestDb, person: &TestMember) -> PgConnection {
    let mut connection = db.app_connection().await;
    sqlx::query("SELECT set_config('daybook.team_id', $1, false)")
        .bind(person.context.team_id.to_string())
        .execute(&mut connection)
        .await
        .unwrap();
    connection
}

/// Makes every member a follower of every thread.
async fn follow_everything(connection: &mut PgConnection) {
    connection
        .execute(
            "INSERT INTO thread_followers (team_id, thread_id, user_id, following, reason)
             SELECT t.team_id, t.id, m.user_id, true, 'manual' FROM threads t CROSS JOIN memberships m
             ON CONFLICT DO NOTHING",
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn a_call_over_many_objects_touches_rows_in_proportion() {
    for statistics in ALL {
        let (few, many) = (cost(statistics, 300).await, cost(statistics, 600).await);
        for (what, few, many) in [("created", few.0, many.0), ("changed", few.1, many.1)] {
            assert!(few > 0);
            assert!(
                many <= few * 5 / 2,
                "{statistics:?}: {what} 300 objects by {few} rows, twice as many by {many}"
            );
            // About ten rows for each object, and about ten for each of its followers.
            let most = 600 * 20 * i64::try_from(FOLLOWERS + 1).unwrap();
            assert!(many <= most, "{statistics:?}: {what} 600 objects by {many} rows");
        }
    }
}

/// A plan that was made when the tables were almost empty is not used when they have grown: statements over many rows
/// are planned at each call. (Plans of statements over one row are kept.)
#[tokio::test]
async fn statements_over_many_rows_keep_no_plan() {
    let (db, database) = database(Statistics::None).await;
    drop(database);
    let first = person(&db, "Acme", FOLLOWERS + 1).await;
    let options = db.options().max_connections(1);
    let consumers = Consumers::of([post_to_thread::CONSUMER, send_notifications::CONSUMER]).unwrap();
    let one = db.connect(options, consumers).await;
    let tx = one.begin(&first.context).await.unwrap();
    create(&tx, 3).await;
    assert_eq!(change(&tx, "done").await, 3);
    create_models_with_events(&tx, vec![widget::named("one")], Track::All)
        .await
        .unwrap();
    let kept = tx
        .fetch_all(sqlx::query(
            "SELECT statement FROM pg_prepared_statements WHERE statement ~ 'INTO (notifications|thread_messages)'",
        ))
        .await
        .unwrap();
    let kept: Vec<String> = kept.iter().map(|row| row.try_get("statement").unwrap()).collect();
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(kept.iter().all(|statement| !statement.contains("unnest(")), "{kept:?}");
}
