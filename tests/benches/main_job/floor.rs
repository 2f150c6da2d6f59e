//! The floor: the same transactions with plain sqlx. It is the minimum that a program with the same rows and the same
//! policies would do by hand. The client computes the data, such as an event's payload, and sends it.

use std::sync::atomic::Ordering;

use chrono::{DateTime, Utc};
use daybook::prelude::{Decimal, Uuid};
use serde_json::{Value, json};
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Executor, Postgres, Row};

use crate::ours::next_budget;
use crate::setup::{Bench, WorkFuture};

type Connection = PoolConnection<Postgres>;

const INSERT_EVENT: &str = "INSERT INTO events (team_id, id, event_type, object_type, object_id, object_label, \
    threadable, actor_kind, actor_id, actor_name, via, event_data, schema_version, correlation_id, request_id) \
    VALUES ($1, $2, $3, 'campaign', $4, $5, true, 'user', $6, 'ada', 'http', $7, 1, $8, 'bench') \
    RETURNING transaction_id, created_at";

pub(crate) fn created_data() -> Value {
    json!({"initial_values": {"name": "Spring launch", "state": "draft", "budget": "100", "client_email": {"redacted": true}}})
}

pub(crate) fn create(bench: Bench, _: usize) -> WorkFuture {
    Box::pin(async move {
        let mut connection = enter(&bench).await;
        let id = insert_campaign(&bench, &mut connection).await;
        insert_event(&bench, &mut connection, "CREATED", id, created_data()).await;
        commit(&bench, connection).await;
    })
}

pub(crate) fn create_story(bench: Bench, _: usize) -> WorkFuture {
    Box::pin(async move {
        let mut connection = enter(&bench).await;
        let id = insert_campaign(&bench, &mut connection).await;
        let event_id = insert_event(&bench, &mut connection, "CREATED", id, created_data()).await;
        trip(&bench);
        sqlx::query(
            "WITH thread AS (
                INSERT INTO threads (team_id, id, object_type, object_id, object_label, last_seq)
                VALUES ($1, $2, 'campaign', $3, $4, 1)
                ON CONFLICT (team_id, object_type, object_id) DO UPDATE SET last_seq = threads.last_seq + 1,
                    object_label = excluded.object_label, updated_at = now()
                RETURNING id, last_seq)
             INSERT INTO thread_messages (team_id, thread_id, seq, kind, event_id)
             SELECT $1, id, last_seq, 'system', $5 FROM thread",
        )
        .bind(bench.team_id)
        .bind(Uuid::now_v7())
        .bind(id.to_string())
        .bind("Spring launch")
        .bind(event_id)
        .execute(&mut *connection)
        .await
        .unwrap();
        trip(&bench);
        let notified = sqlx::query(
            "WITH thread AS (SELECT id, last_seq FROM threads
                WHERE team_id = $1 AND object_type = 'campaign' AND object_id = $2),
             creator AS (INSERT INTO thread_followers (team_id, thread_id, user_id, following, reason)
                SELECT $1, id, $3, true, 'creator' FROM thread ON CONFLICT DO NOTHING)
             INSERT INTO notifications AS n (team_id, id, user_id, thread_id, reason, event_id, seq, unread_count)
             SELECT $1, gen_random_uuid(), r.user_id, thread.id, r.reason, $4, thread.last_seq, 1 FROM thread CROSS JOIN LATERAL (
                SELECT f.user_id, 'follower' AS reason FROM thread_followers f
                WHERE f.team_id = $1 AND f.thread_id = thread.id AND f.following AND NOT f.muted
                UNION
                SELECT w.user_id, 'watcher' FROM watches w WHERE w.team_id = $1 AND w.object_type = 'campaign') r
             WHERE r.user_id <> $3 ORDER BY r.user_id
             ON CONFLICT (team_id, user_id, thread_id) DO UPDATE SET event_id = excluded.event_id, seq = excluded.seq,
                unread_count = n.unread_count + 1, version = n.version + 1, read_at = NULL, updated_at = now()",
        )
        .bind(bench.team_id)
        .bind(id.to_string())
        .bind(bench.user_id)
        .bind(event_id)
        .execute(&mut *connection)
        .await
        .unwrap();
        assert_eq!(notified.rows_affected(), 3);
        commit(&bench, connection).await;
    })
}

pub(crate) fn update(bench: Bench, n: usize) -> WorkFuture {
    Box::pin(async move {
        let mut connection = enter(&bench).await;
        let id = bench.campaigns[n].id;
        trip(&bench);
        let old = sqlx::query("SELECT * FROM campaigns WHERE team_id = $1 AND id = $2 FOR UPDATE")
            .bind(bench.team_id)
            .bind(id)
            .fetch_one(&mut *connection)
            .await
            .unwrap();
        let old_budget: Decimal = old.get("budget");
        trip(&bench);
        let new =
            sqlx::query("UPDATE campaigns SET budget = $3, updated_at = $4 WHERE team_id = $1 AND id = $2 RETURNING *")
                .bind(bench.team_id)
                .bind(id)
                .bind(next_budget())
                .bind(Utc::now())
                .fetch_one(&mut *connection)
                .await
                .unwrap();
        let new_budget: Decimal = new.get("budget");
        insert_event(
            &bench,
            &mut connection,
            "UPDATED",
            id,
            updated_data(old_budget, new_budget),
        )
        .await;
        commit(&bench, connection).await;
    })
}

pub(crate) fn create_1000(bench: Bench, _: usize) -> WorkFuture {
    Box::pin(async move {
        let mut connection = enter(&bench).await;
        let ids: Vec<Uuid> = (0..1_000).map(|_| Uuid::now_v7()).collect();
        trip(&bench);
        let rows = sqlx::query(
            "INSERT INTO campaigns (team_id, id, name, budget, client_email)
             SELECT $1, r.* FROM unnest($2::uuid[], $3::text[], $4::numeric[], $5::text[]) r RETURNING *",
        )
        .bind(bench.team_id)
        .bind(&ids)
        .bind(vec!["Spring launch"; 1_000])
        .bind(vec![Decimal::from(100); 1_000])
        .bind(vec!["client@example.com"; 1_000])
        .fetch_all(&mut *connection)
        .await
        .unwrap();
        let data = rows.iter().map(|row| {
            json!({"initial_values": {"name": row.get::<String, _>("name"), "state": row.get::<String, _>("state"),
                "budget": row.get::<Decimal, _>("budget").to_string(), "client_email": {"redacted": true}}})
        });
        let data = data.collect();
        insert_events(&bench, &mut connection, "CREATED", &ids, data).await;
        commit(&bench, connection).await;
    })
}

pub(crate) fn update_1000(bench: Bench, n: usize) -> WorkFuture {
    Box::pin(async move {
        let mut connection = enter(&bench).await;
        let ids = &bench.thousands[n];
        trip(&bench);
        let old = sqlx::query("SELECT * FROM campaigns WHERE team_id = $1 AND id = ANY($2) ORDER BY id FOR UPDATE")
            .bind(bench.team_id)
            .bind(ids)
            .fetch_all(&mut *connection)
            .await
            .unwrap();
        trip(&bench);
        let new = sqlx::query(
            "UPDATE campaigns SET budget = $3, updated_at = $4 WHERE team_id = $1 AND id = ANY($2) RETURNING *",
        )
        .bind(bench.team_id)
        .bind(ids)
        .bind(next_budget())
        .bind(Utc::now())
        .fetch_all(&mut *connection)
        .await
        .unwrap();
        let data = old
            .iter()
            .zip(&new)
            .map(|(old, new)| updated_data(old.get("budget"), new.get("budget")))
            .collect();
        insert_events(&bench, &mut connection, "UPDATED", ids, data).await;
        commit(&bench, connection).await;
    })
}

fn updated_data(old: Decimal, new: Decimal) -> Value {
    json!({"changes": {"budget": {"old": old.to_string(), "new": new.to_string()}}})
}

/// Enters the team in one message, as the service does: BEGIN, the team, the actor and their role.
async fn enter(bench: &Bench) -> Connection {
    let mut connection = bench.pool.acquire().await.unwrap();
    let team_id = bench.team_id;
    trip(bench);
    let sql = format!(
        "BEGIN; SET LOCAL daybook.team_id = '{team_id}'; \
         SELECT id, name, role FROM daybook_enter_person('{team_id}', 'daybook', '{}')",
        bench.subject
    );
    let rows = sqlx::raw_sql(AssertSqlSafe(sql))
        .fetch_all(&mut *connection)
        .await
        .unwrap();
    assert_eq!(rows[0].get::<&str, _>("role"), "owner");
    connection
}

async fn commit(bench: &Bench, mut connection: Connection) {
    trip(bench);
    (&mut *connection).execute("COMMIT").await.unwrap();
}

async fn insert_campaign(bench: &Bench, connection: &mut Connection) -> Uuid {
    trip(bench);
    let row = sqlx::query(
        "INSERT INTO campaigns (team_id, id, name, budget, client_email) VALUES ($1, $2, $3, $4, $5) RETURNING *",
    )
    .bind(bench.team_id)
    .bind(Uuid::now_v7())
    .bind("Spring launch")
    .bind(Decimal::from(100))
    .bind("client@example.com")
    .fetch_one(&mut **connection)
    .await
    .unwrap();
    row.get("id")
}

async fn insert_event(bench: &Bench, connection: &mut Connection, kind: &str, object: Uuid, data: Value) -> Uuid {
    let id = Uuid::now_v7();
    trip(bench);
    let row = sqlx::query(INSERT_EVENT)
        .bind(bench.team_id)
        .bind(id)
        .bind(kind)
        .bind(object.to_string())
        .bind("Spring launch")
        .bind(bench.user_id)
        .bind(data)
        .bind(Uuid::from_u128(1))
        .fetch_one(&mut **connection)
        .await
        .unwrap();
    let _: (i64, DateTime<Utc>) = (row.get("transaction_id"), row.get("created_at"));
    id
}

async fn insert_events(bench: &Bench, connection: &mut Connection, kind: &str, objects: &[Uuid], data: Vec<Value>) {
    let ids: Vec<Uuid> = objects.iter().map(|_| Uuid::now_v7()).collect();
    let object_ids: Vec<String> = objects.iter().map(Uuid::to_string).collect();
    trip(bench);
    sqlx::query(
        "INSERT INTO events (team_id, id, event_type, object_type, object_id, object_label, threadable, actor_kind,
            actor_id, actor_name, via, event_data, schema_version, correlation_id, request_id)
         SELECT $1, r.id, $2, 'campaign', r.object_id, r.label, true, 'user', $3, 'ada', 'http', r.data, 1, $4, 'bench'
         FROM unnest($5::uuid[], $6::text[], $7::text[], $8::jsonb[]) AS r (id, object_id, label, data)",
    )
    .bind(bench.team_id)
    .bind(kind)
    .bind(bench.user_id)
    .bind(Uuid::from_u128(1))
    .bind(ids)
    .bind(object_ids)
    .bind(vec!["Spring launch"; objects.len()])
    .bind(data)
    .execute(&mut **connection)
    .await
    .unwrap();
}

fn trip(bench: &Bench) {
    bench.floor_trips.fetch_add(1, Ordering::Relaxed);
}
