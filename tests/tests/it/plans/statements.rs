//! Checks the plans of the statements, which run here unchanged from their files.

use serde_json::Value;
use sqlx::PgConnection;
use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::Query;
use uuid::Uuid;

use super::{ALL, FOLLOWERS, Statistics, connection_of, create, database, follow_everything, person};

const DELIVER_EVENTS: &str = concat!(
    include_str!("../../../../app/src/notifications/store/event_objects.sql"),
    include_str!("../../../../app/src/notifications/store/deliver_events.sql"),
    include_str!("../../../../app/src/notifications/store/count_unread.sql")
);
const DELIVER_COMMENT: &str = concat!(
    include_str!("../../../../app/src/notifications/store/deliver_comment.sql"),
    include_str!("../../../../app/src/notifications/store/count_unread.sql")
);
const RETRACT_COMMENT: &str = include_str!("../../../../app/src/notifications/store/retract_comment.sql");
const POST_EVENTS: &str = include_str!("../../../../app/src/threads/store/post_events.sql");

/// The rows that the nodes of a plan have processed: those that they returned and those that they filtered out, in all
/// loops.
#[derive(Debug, Default, Clone, Copy)]
struct Work {
    largest_node: f64,
    total: f64,
}

impl Work {
    fn of(node: &Value) -> Self {
        let number = |name: &str| node[name].as_f64().unwrap_or_default();
        let rows: f64 = ["Actual Rows", "Rows Removed by Filter", "Rows Removed by Join Filter"]
            .into_iter()
            .map(number)
            .sum();
        let own = rows * number("Actual Loops");
        let inside = node["Plans"].as_array().into_iter().flatten().map(Self::of);
        inside.fold(
            Self {
                largest_node: own,
                total: own,
            },
            |sum, node| Self {
                largest_node: sum.largest_node.max(node.largest_node),
                total: sum.total + node.total,
            },
        )
    }
}

/// Runs a statement and returns what its plan did. The planner knows the bind values, as in the service.
async fn explain(
    connection: &mut PgConnection,
    sql: &str,
    bind: impl for<'q> FnOnce(Query<'q, Postgres, PgArguments>) -> Query<'q, Postgres, PgArguments>,
) -> Work {
    let sql = format!("EXPLAIN (ANALYZE, TIMING off, FORMAT JSON) {sql}");
    let query = bind(sqlx::query(sqlx::AssertSqlSafe(sql)).persistent(false));
    let row = query.fetch_one(connection).await.unwrap();
    let plan: Value = sqlx::Row::try_get(&row, 0).unwrap();
    Work::of(&plan[0]["Plan"])
}

fn assert_linear(statistics: Statistics, what: &str, (few, many): (Work, Work), n: usize) {
    assert!(few.total > 0.0);
    assert!(
        many.total <= few.total * 2.5,
        "{statistics:?}: {what}: twice the input took {} rows instead of {}",
        many.total,
        few.total
    );
    // A small table may be scanned for each row, so there is also a limit for one node.
    let most = (n * (FOLLOWERS + 1) * 20) as f64;
    assert!(
        many.largest_node <= most,
        "{statistics:?}: {what}: {} rows in one node, more than {most}",
        many.largest_node
    );
}

/// Returns the work of notifying about creations and changes, and of posting, for `n` objects.
async fn of_events(statistics: Statistics, n: usize) -> [Work; 3] {
    let (db, database) = database(statistics).await;
    let first = person(&db, "Acme", FOLLOWERS + 1).await;
    let tx = database.begin(&first.context).await.unwrap();
    create(&tx, n).await;
    tx.commit().await.unwrap();
    let team_id = first.context.team_id;
    let mut connection = connection_of(&db, &first).await;
    let ids: Vec<String> = sqlx::query_scalar("SELECT object_id FROM threads ORDER BY object_id")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    let (types, events) = (vec!["widget"; n], vec![Uuid::now_v7(); n]);
    let mut work = Vec::new();
    for event_type in ["CREATED", "UPDATED"] {
        if event_type == "UPDATED" {
            follow_everything(&mut connection).await;
        }
        work.push(
            explain(&mut connection, DELIVER_EVENTS, |query| {
                query
                    .bind(team_id)
                    .bind(types.clone())
                    .bind(ids.clone())
                    .bind(vec![1_i32; n])
                    .bind(events.clone())
                    .bind(vec![0_i32; n])
                    .bind(event_type)
                    .bind(first.user_id)
                    .bind(vec![first.user_id])
                    .bind(Uuid::now_v7())
            })
            .await,
        );
    }
    let posted = explain(&mut connection, POST_EVENTS, |query| {
        query
            .bind(team_id)
            .bind((0..n).map(|_| Uuid::now_v7()).collect::<Vec<_>>())
            .bind(types.clone())
            .bind(ids.clone())
            .bind(types.clone())
            .bind(vec![None::<String>; n])
            .bind(vec![None::<String>; n])
            .bind(vec![1_i64; n])
            .bind(events.clone())
            .bind(types.clone())
            .bind(ids.clone())
            .bind(vec![0_i64; n])
    })
    .await;
    [work[0], work[1], posted]
}

#[tokio::test]
async fn notifying_and_posting_of_many_events_is_linear() {
    for statistics in ALL {
        let (few, many) = (of_events(statistics, 500).await, of_events(statistics, 1_000).await);
        for (place, what) in ["CREATED", "UPDATED", "posting"].into_iter().enumerate() {
            assert_linear(statistics, what, (few[place], many[place]), 1_000);
        }
    }
}

/// Returns the work of notifying `n` followers about a comment, and of removing these notifications.
async fn of_a_comment(statistics: Statistics, n: usize) -> [Work; 2] {
    let (db, database) = database(statistics).await;
    let first = person(&db, "Acme", n + 1).await;
    let tx = database.begin(&first.context).await.unwrap();
    create(&tx, 1).await;
    tx.commit().await.unwrap();
    let team_id = first.context.team_id;
    let mut connection = connection_of(&db, &first).await;
    follow_everything(&mut connection).await;
    let thread_id: Uuid = sqlx::query_scalar("SELECT id FROM threads")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    let delivered = explain(&mut connection, DELIVER_COMMENT, |query| {
        query
            .bind(team_id)
            .bind(thread_id)
            .bind(2_i64)
            .bind(vec![first.user_id])
            .bind(Uuid::now_v7())
    })
    .await;
    let retracted = explain(&mut connection, RETRACT_COMMENT, |query| {
        query.bind(team_id).bind(thread_id).bind(2_i64)
    })
    .await;
    let counted: i64 = sqlx::query_scalar("SELECT count(*) FROM notifications WHERE 2 = ANY (unread_seqs)")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(counted, 0);
    [delivered, retracted]
}

#[tokio::test]
async fn notifying_many_followers_of_a_comment_is_linear() {
    for statistics in ALL {
        let (few, many) = (of_a_comment(statistics, 150).await, of_a_comment(statistics, 300).await);
        for (place, what) in ["delivering", "retracting"].into_iter().enumerate() {
            assert_linear(statistics, what, (few[place], many[place]), 300 * 20);
        }
    }
}
