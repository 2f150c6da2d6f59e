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

const POST_EVENT: &str = include_str!("post_event.sql");
const POST_EVENTS: &str = include_str!("post_events.sql");
const POST_COMMENT: &str = include_str!("post_comment.sql");

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
    let query = sqlx::query(POST_EVENT)
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
    let query = sqlx::query(POST_EVENTS)
        // Planned for this number of threads: a kept plan is one for ten.
        .persistent(false)
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
    let query = sqlx::query(POST_COMMENT)
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
