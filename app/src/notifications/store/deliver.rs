//! Writes notification rows. The statements are in SQL files. A part that two statements share has its own file. To try
//! a statement in psql, concatenate its files in the order of the constants below, and put `PREPARE name AS` before
//! them.
//!
//! Recipients' memberships are locked (KEY SHARE, as by the foreign key) before their rows are written. So a member who
//! is being removed is left out, and another person's change doesn't fail because of them.
//!
//! A recipient whose preference excludes the message is left out in the same statement, by the most specific rule. The
//! columns `why_…` store the reason at that time.

use std::collections::BTreeMap;

use sqlx::Row;
use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::Query;
use uuid::Uuid;

use crate::error::Result;
use crate::events::EventType;
use crate::notifications::notifications_signal;
use crate::tenancy::TeamTx;

const DELIVER_EVENT: &str = concat!(
    include_str!("event_object.sql"),
    include_str!("deliver_events.sql"),
    include_str!("count_unread.sql")
);
const DELIVER_EVENTS: &str = concat!(
    include_str!("event_objects.sql"),
    include_str!("deliver_events.sql"),
    include_str!("count_unread.sql")
);
const DELIVER_COMMENT: &str = concat!(include_str!("deliver_comment.sql"), include_str!("count_unread.sql"));
const DELIVER_MENTION: &str = include_str!("deliver_mention.sql");
const RETRACT_COMMENT: &str = include_str!("retract_comment.sql");

/// The events of one call, of one type, for one object.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::notifications) struct ObjectEvents {
    /// The number of events.
    pub(in crate::notifications) messages: i32,
    /// The id of the newest event.
    pub(in crate::notifications) newest: Uuid,
    /// The number of later messages from the same call, for events of other types.
    pub(in crate::notifications) from_end: i32,
}

/// Notifies followers of events of one type, and watchers of new objects, except `initiators`. `person` is the person
/// who caused the events, and becomes a follower of created objects.
///
/// Only the database knows the number of rows, so it makes their ids. The time and the version come from one UUIDv7 of
/// the caller; the rest is random for each row.
///
/// # Errors
/// Those of any database statement.
pub(in crate::notifications) async fn deliver_events(
    tx: &TeamTx,
    event_type: EventType,
    objects: &BTreeMap<(&str, &str), ObjectEvents>,
    person: Option<Uuid>,
    initiators: &[Uuid],
) -> Result<()> {
    let query = match (objects.first_key_value(), objects.len()) {
        (Some((&(object_type, id), object_events)), 1) => sqlx::query(DELIVER_EVENT)
            .bind(tx.team_id())
            .bind(object_type)
            .bind(id)
            .bind(object_events.messages)
            .bind(object_events.newest)
            .bind(object_events.from_end),
        _ => {
            let (types, ids): (Vec<&str>, Vec<&str>) = objects.keys().copied().unzip();
            // The statement is planned at each call, for its number of objects. A cached plan would assume ten.
            sqlx::query(DELIVER_EVENTS)
                .persistent(false)
                .bind(tx.team_id())
                .bind(types)
                .bind(ids)
                .bind(
                    objects
                        .values()
                        .map(|object_events| object_events.messages)
                        .collect::<Vec<_>>(),
                )
                .bind(
                    objects
                        .values()
                        .map(|object_events| object_events.newest)
                        .collect::<Vec<_>>(),
                )
                .bind(
                    objects
                        .values()
                        .map(|object_events| object_events.from_end)
                        .collect::<Vec<_>>(),
                )
        }
    };
    let query = query
        .bind(event_type.as_str())
        .bind(person)
        .bind(initiators)
        .bind(Uuid::now_v7());
    write_and_signal(tx, query).await.map(drop)
}

/// Notifies people of a comment: first those whom it mentions, then followers, except `initiators`. A person who has
/// switched mentions off may still be notified as a follower. Ids are made as in [`deliver_events`].
///
/// # Errors
/// Those of any database statement.
pub(in crate::notifications) async fn deliver_comment(
    tx: &TeamTx,
    thread_id: Uuid,
    seq: i64,
    mentioned: &[Uuid],
    initiators: &[Uuid],
) -> Result<()> {
    let mut excluded = deliver_mention(tx, thread_id, seq, mentioned, initiators).await?;
    excluded.extend(initiators);
    let query = sqlx::query(DELIVER_COMMENT)
        .bind(tx.team_id())
        .bind(thread_id)
        .bind(seq)
        .bind(excluded)
        .bind(Uuid::now_v7());
    write_and_signal(tx, query).await.map(drop)
}

/// Notifies people of a mention, except `initiators`. Returns the notified people. Sends no statement if `mentioned` is
/// empty.
///
/// # Errors
/// Those of any database statement.
pub(in crate::notifications) async fn deliver_mention(
    tx: &TeamTx,
    thread_id: Uuid,
    seq: i64,
    mentioned: &[Uuid],
    initiators: &[Uuid],
) -> Result<Vec<Uuid>> {
    if mentioned.is_empty() {
        return Ok(Vec::new());
    }
    let query = sqlx::query(DELIVER_MENTION)
        .bind(tx.team_id())
        .bind(thread_id)
        .bind(seq)
        .bind(mentioned)
        .bind(initiators)
        .bind(Uuid::now_v7());
    write_and_signal(tx, query).await
}

/// Removes a deleted comment from the notifications that count it.
///
/// # Errors
/// Those of any database statement.
pub(in crate::notifications) async fn retract_comment(tx: &TeamTx, thread_id: Uuid, seq: i64) -> Result<()> {
    let query = sqlx::query(RETRACT_COMMENT)
        .bind(tx.team_id())
        .bind(thread_id)
        .bind(seq);
    write_and_signal(tx, query).await.map(drop)
}

/// Runs a statement that returns the people whose notifications it has changed, and sends a signal for each of them.
async fn write_and_signal(tx: &TeamTx, query: Query<'_, Postgres, PgArguments>) -> Result<Vec<Uuid>> {
    let mut people = Vec::new();
    for row in tx.fetch_all(query).await? {
        let person = row.try_get("user_id")?;
        tx.signal(notifications_signal(person));
        people.push(person);
    }
    Ok(people)
}
