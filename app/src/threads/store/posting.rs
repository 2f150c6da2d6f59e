//! Posts messages to threads. A writer increments `last_seq` and holds the lock of the thread's row until the commit.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::Row;
use uuid::Uuid;

use crate::error::Result;
use crate::events::Event;
use crate::tenancy::TeamTx;
use crate::threads::signals::{THREADS, thread_signal};

/// The events of one call for one thread.
struct ThreadPost<'a> {
    newest: &'a Event,
    messages: i64,
}

const POST_EVENT: &str = include_str!("post_event.sql");
const POST_EVENTS: &str = include_str!("post_events.sql");
const POST_COMMENT: &str = include_str!("post_comment.sql");

/// Posts events to their objects' threads, in order, and creates missing threads.
///
/// Threads are locked in the order of their objects, so that two transactions with the same objects don't deadlock. A
/// message's number is computed backwards from the thread's new `last_seq`, which another part of the statement
/// returns.
///
/// # Errors
/// Those of any database statement.
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
        tx.signal(thread_signal(row.try_get("thread_id")?));
    }
    Ok(())
}

async fn post_many(tx: &TeamTx, events: &[&Event]) -> Result<()> {
    let mut posts: BTreeMap<(&str, &str), ThreadPost<'_>> = BTreeMap::new();
    let mut from_end = Vec::with_capacity(events.len());
    for event in events.iter().rev() {
        let post = posts
            .entry((&event.object_type, &event.object_id))
            .or_insert(ThreadPost {
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
        // The statement is planned at each call, for its number of threads. A cached plan would assume ten.
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
    tx.signal(THREADS);
    Ok(())
}

/// A new comment.
#[derive(Debug)]
pub(in crate::threads) struct NewComment<'a> {
    /// The text.
    pub(in crate::threads) body: &'a str,
    /// The handles that it may mention. Handles that no member has are ignored.
    pub(in crate::threads) handles: &'a [String],
}

/// A posted comment.
#[derive(Debug)]
pub(in crate::threads) struct PostedComment {
    /// Its position in the thread.
    pub(in crate::threads) seq: i64,
    /// When it was posted.
    pub(in crate::threads) created_at: DateTime<Utc>,
    /// The members that it mentions.
    pub(in crate::threads) mentioned: Vec<Uuid>,
}

/// Posts a comment of the current actor. Makes the author and the mentioned members followers, unless they have
/// unfollowed the thread. Returns `None` if there is no such thread.
///
/// # Errors
/// Those of any database statement.
pub(in crate::threads) async fn post_comment(
    tx: &TeamTx,
    thread_id: Uuid,
    comment: &NewComment<'_>,
) -> Result<Option<PostedComment>> {
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
    tx.signal(thread_signal(thread_id));
    Ok(Some(PostedComment {
        seq: row.try_get("seq")?,
        created_at: row.try_get("created_at")?,
        mentioned: row.try_get("mentioned")?,
    }))
}
