//! Posting to threads. Whoever posts counts `last_seq` up and holds the thread's row until the commit.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::Row;
use uuid::Uuid;

use crate::error::Result;
use crate::events::Event;
use crate::tenancy::{Moved, TeamTx};

/// What one call's events come to for one thread.
struct Post<'a> {
    newest: &'a Event,
    messages: i64,
}

/// The statement, over sources of threads (`o`) and of messages (`m`).
///
/// Written once for rows and once for arrays: from an array PostgreSQL expects ten rows, so that a plan made
/// for the array of one at hand always looks cheaper than the kept one, and it would plan anew at every call.
macro_rules! post {
    ($threads:literal, $messages:literal) => {
        concat!(
            "WITH posted AS (
                INSERT INTO threads AS t (team_id, id, object_type, object_id, object_label, scope_type, scope_id, last_seq)
                SELECT $1, o.id, o.object_type, o.object_id, o.object_label, o.scope_type, o.scope_id, o.messages FROM ",
            $threads,
            " AS o (id, object_type, object_id, object_label, scope_type, scope_id, messages)
                ON CONFLICT (team_id, object_type, object_id) DO UPDATE SET
                    object_label = excluded.object_label,
                    scope_type = excluded.scope_type,
                    scope_id = excluded.scope_id,
                    last_seq = t.last_seq + excluded.last_seq,
                    updated_at = greatest(t.updated_at, excluded.updated_at)
                RETURNING t.id, t.object_type, t.object_id, t.last_seq
            )
            INSERT INTO thread_messages (team_id, thread_id, seq, kind, event_id)
            SELECT $1, p.id, p.last_seq - m.from_end, 'system', m.event_id
            FROM ",
            $messages,
            " AS m (event_id, object_type, object_id, from_end)
            JOIN posted p ON p.object_type = m.object_type AND p.object_id = m.object_id
            RETURNING thread_id"
        )
    };
}

/// Posts events to their objects' threads, in their order, and makes the threads that are missing.
///
/// Threads are locked in the order of their objects, so that two transactions with the same objects wait for
/// each other and don't block each other for good. A message's number is counted back from the thread's new
/// `last_seq`, which the statement's other part has just given.
///
/// # Errors
/// As any statement.
pub(in crate::threads) async fn post_events(tx: &TeamTx, events: &[&Event]) -> Result<()> {
    match events {
        [] => Ok(()),
        [event] => post_one(tx, event).await,
        many => post_many(tx, many).await,
    }
}

async fn post_one(tx: &TeamTx, event: &Event) -> Result<()> {
    let query = sqlx::query(post!(
        "(VALUES ($2::uuid, $3::text, $4::text, $5::text, $6::text, $7::text, 1::bigint))",
        "(VALUES ($8::uuid, $3::text, $4::text, 0::bigint))"
    ))
    .bind(tx.team_id())
    .bind(Uuid::now_v7())
    .bind(&event.object_type)
    .bind(&event.object_id)
    .bind(&event.object_label)
    .bind(event.scope.as_ref().map(|scope| &scope.object_type))
    .bind(event.scope.as_ref().map(|scope| &scope.id))
    .bind(event.id);
    if let Some(row) = tx.fetch_optional(query).await? {
        tx.hint(Moved::Thread(row.try_get("thread_id")?));
    }
    Ok(())
}

async fn post_many(tx: &TeamTx, events: &[&Event]) -> Result<()> {
    let mut posts: BTreeMap<(&str, &str), Post<'_>> = BTreeMap::new();
    let mut from_end = Vec::with_capacity(events.len());
    for event in events.iter().rev() {
        let post = posts.entry((&event.object_type, &event.object_id)).or_insert(Post {
            newest: event,
            messages: 0,
        });
        from_end.push(post.messages);
        post.messages += 1;
    }
    from_end.reverse();

    let (types, ids): (Vec<&str>, Vec<&str>) = posts.keys().copied().unzip();
    let scopes = || posts.values().map(|post| post.newest.scope.as_ref());
    let query = sqlx::query(post!(
        "unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[])",
        "unnest($9::uuid[], $10::text[], $11::text[], $12::bigint[])"
    ))
    .bind(tx.team_id())
    .bind(posts.keys().map(|_| Uuid::now_v7()).collect::<Vec<_>>())
    .bind(types)
    .bind(ids)
    .bind(
        posts
            .values()
            .map(|post| post.newest.object_label.as_str())
            .collect::<Vec<_>>(),
    )
    .bind(
        scopes()
            .map(|scope| scope.map(|scope| scope.object_type.as_str()))
            .collect::<Vec<_>>(),
    )
    .bind(
        scopes()
            .map(|scope| scope.map(|scope| scope.id.as_str()))
            .collect::<Vec<_>>(),
    )
    .bind(posts.values().map(|post| post.messages).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.id).collect::<Vec<_>>())
    .bind(
        events
            .iter()
            .map(|event| event.object_type.as_str())
            .collect::<Vec<_>>(),
    )
    .bind(events.iter().map(|event| event.object_id.as_str()).collect::<Vec<_>>())
    .bind(from_end);
    tx.execute_sql(query).await?;
    tx.hint(Moved::Threads);
    Ok(())
}

/// A comment to be posted.
#[derive(Debug)]
pub(in crate::threads) struct NewComment<'a> {
    /// The text.
    pub(in crate::threads) body: &'a str,
    /// Whom it may mention; those that are nobody's are left out.
    pub(in crate::threads) handles: &'a [String],
}

/// A comment that was posted.
#[derive(Debug)]
pub(in crate::threads) struct Posted {
    /// The place it took.
    pub(in crate::threads) seq: i64,
    /// When.
    pub(in crate::threads) created_at: DateTime<Utc>,
    /// The members it mentions.
    pub(in crate::threads) mentioned: Vec<Uuid>,
}

/// Posts a comment of whoever acts, and makes its author and whom it mentions followers, where they haven't said otherwise.
/// `None`: no such thread.
///
/// # Errors
/// As any statement.
pub(in crate::threads) async fn post_comment(
    tx: &TeamTx,
    thread_id: Uuid,
    comment: &NewComment<'_>,
) -> Result<Option<Posted>> {
    let context = tx.context();
    let query = sqlx::query(
        "WITH thread AS (
            UPDATE threads SET last_seq = last_seq + 1, updated_at = greatest(updated_at, now())
            WHERE team_id = $1 AND id = $2
            RETURNING id, object_type, last_seq
        ), posted AS (
            INSERT INTO thread_messages (team_id, thread_id, seq, kind, author_kind, author_id, author_name, on_behalf_of,
                on_behalf_of_name, body)
            SELECT $1, id, last_seq, 'comment', $3, $4, $5, $9, $10, $6 FROM thread
            RETURNING seq, created_at
        ), mentioned AS (
            -- Locked as the foreign keys would: a member who is removed at this moment is left out.
            SELECT user_id FROM memberships
            WHERE team_id = $1 AND handle = ANY ($7) AND user_id IS DISTINCT FROM $8
            ORDER BY user_id
            FOR KEY SHARE
        ), followed AS (
            INSERT INTO thread_followers AS f (team_id, thread_id, user_id, following, reason)
            SELECT $1, thread.id, f.user_id, true, f.reason
            FROM thread CROSS JOIN LATERAL (
                -- Rows of those who said what they want are not even locked: their notifications are written next, and
                -- whoever reads one writes the two the other way round. Who doesn't want to hear when they are
                -- mentioned isn't made to hear of everything by it.
                SELECT user_id, 'mentioned' AS reason FROM mentioned WHERE NOT EXISTS (
                    SELECT FROM thread_followers f WHERE f.team_id = $1 AND f.thread_id = thread.id
                        AND f.user_id = mentioned.user_id AND f.reason <> 'reader'
                ) AND (
                    SELECT p.in_app FROM notification_preferences p
                    WHERE p.team_id = $1 AND p.user_id = mentioned.user_id AND p.event_type = 'MENTION'
                        AND p.object_type IN (thread.object_type, '*')
                    ORDER BY p.object_type DESC LIMIT 1) IS NOT FALSE
                UNION ALL
                SELECT $8, 'commenter' WHERE $8 IS NOT NULL
            ) f
            ORDER BY f.user_id
            -- Who has only read so far has not said no. What one writes oneself is not new, if nothing before it is.
            ON CONFLICT (team_id, thread_id, user_id) DO UPDATE SET
                following = f.following OR f.reason = 'reader',
                reason = CASE WHEN f.reason = 'reader' THEN excluded.reason ELSE f.reason END,
                read_seq = CASE WHEN f.user_id = $8 AND f.read_seq = (SELECT last_seq FROM thread) - 1
                    THEN f.read_seq + 1 ELSE f.read_seq END
                WHERE f.reason = 'reader' OR f.user_id = $8 AND f.read_seq = (SELECT last_seq FROM thread) - 1
        )
        SELECT seq, created_at, ARRAY (SELECT user_id FROM mentioned) AS mentioned FROM posted",
    )
    .bind(tx.team_id())
    .bind(thread_id)
    .bind(context.actor.kind())
    .bind(context.actor.id())
    .bind(context.actor.name())
    .bind(comment.body)
    .bind(comment.handles)
    .bind(context.person_id())
    .bind(context.on_behalf_of.as_ref().map(|person| person.id))
    .bind(context.on_behalf_of.as_ref().map(|person| person.name.as_str()));
    let Some(row) = tx.fetch_optional(query).await? else {
        return Ok(None);
    };
    tx.hint(Moved::Thread(thread_id));
    Ok(Some(Posted {
        seq: row.try_get("seq")?,
        created_at: row.try_get("created_at")?,
        mentioned: row.try_get("mentioned")?,
    }))
}
