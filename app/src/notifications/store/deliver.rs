//! Writes notification rows. The statements are files of SQL; what two statements share is a file of its own.
//!
//! Recipients' memberships are locked (KEY SHARE, as the foreign key would) before their rows are written: a
//! member who is removed at this moment is left out, instead of failing somebody else's change.
//!
//! A recipient whose preference excludes the message is left out in the same statement, by the one rule that is the
//! most specific: an object type beats an event type, and both beat either. The columns `why_…` keep what was true then.

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

/// What one call's events of one type come to for one object.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::notifications) struct Told {
    /// How many there are.
    pub(in crate::notifications) messages: i32,
    /// The newest one.
    pub(in crate::notifications) newest: Uuid,
    /// How many messages of the same call, of other types, came after it.
    pub(in crate::notifications) from_end: i32,
}

/// Notifies followers of events of one type, and watchers of what was created, all but `doers`. `person` is whose they
/// are: what they created they follow from then on.
///
/// How many rows there will be is known in the database alone, so their ids are made there, from one UUIDv7 of
/// the app's: its time and version, and a random rest for each row.
///
/// # Errors
/// As any statement.
pub(in crate::notifications) async fn deliver_events(
    tx: &TeamTx,
    event_type: EventType,
    objects: &BTreeMap<(&str, &str), Told>,
    person: Option<Uuid>,
    doers: &[Uuid],
) -> Result<()> {
    let query = match (objects.first_key_value(), objects.len()) {
        (Some((&(object_type, id), told)), 1) => sqlx::query(DELIVER_EVENT)
            .bind(tx.team_id())
            .bind(object_type)
            .bind(id)
            .bind(told.messages)
            .bind(told.newest)
            .bind(told.from_end),
        _ => {
            let (types, ids): (Vec<&str>, Vec<&str>) = objects.keys().copied().unzip();
            // Planned for this number of objects: a kept plan is one for ten.
            sqlx::query(DELIVER_EVENTS)
                .persistent(false)
                .bind(tx.team_id())
                .bind(types)
                .bind(ids)
                .bind(objects.values().map(|told| told.messages).collect::<Vec<_>>())
                .bind(objects.values().map(|told| told.newest).collect::<Vec<_>>())
                .bind(objects.values().map(|told| told.from_end).collect::<Vec<_>>())
        }
    };
    let query = query
        .bind(event_type.as_str())
        .bind(person)
        .bind(doers)
        .bind(Uuid::now_v7());
    notified(tx, query).await.map(drop)
}

/// Notifies of a comment: whom it mentions, then who follows, all but `doers`. Somebody who has switched mentions off
/// may still be notified as a follower. Ids as in [`deliver_events`].
///
/// # Errors
/// As any statement.
pub(in crate::notifications) async fn deliver_comment(
    tx: &TeamTx,
    thread_id: Uuid,
    seq: i64,
    mentioned: &[Uuid],
    doers: &[Uuid],
) -> Result<()> {
    let mut know = deliver_mention(tx, thread_id, seq, mentioned, doers).await?;
    know.extend(doers);
    let query = sqlx::query(DELIVER_COMMENT)
        .bind(tx.team_id())
        .bind(thread_id)
        .bind(seq)
        .bind(know)
        .bind(Uuid::now_v7());
    notified(tx, query).await.map(drop)
}

/// Notifies people of a mention, all but `doers`, and returns who was. No statement if nobody is mentioned.
///
/// # Errors
/// As any statement.
pub(in crate::notifications) async fn deliver_mention(
    tx: &TeamTx,
    thread_id: Uuid,
    seq: i64,
    mentioned: &[Uuid],
    doers: &[Uuid],
) -> Result<Vec<Uuid>> {
    if mentioned.is_empty() {
        return Ok(Vec::new());
    }
    let query = sqlx::query(DELIVER_MENTION)
        .bind(tx.team_id())
        .bind(thread_id)
        .bind(seq)
        .bind(mentioned)
        .bind(doers)
        .bind(Uuid::now_v7());
    notified(tx, query).await
}

/// Takes a deleted comment out of the notifications that count it.
///
/// # Errors
/// As any statement.
pub(in crate::notifications) async fn retract_comment(tx: &TeamTx, thread_id: Uuid, seq: i64) -> Result<()> {
    let query = sqlx::query(RETRACT_COMMENT)
        .bind(tx.team_id())
        .bind(thread_id)
        .bind(seq);
    notified(tx, query).await.map(drop)
}

/// Runs what returns the people whose notifications it has written, and signals that theirs have changed.
async fn notified(tx: &TeamTx, query: Query<'_, Postgres, PgArguments>) -> Result<Vec<Uuid>> {
    let mut people = Vec::new();
    for row in tx.fetch_all(query).await? {
        let person = row.try_get("user_id")?;
        tx.signal(notifications_signal(person));
        people.push(person);
    }
    Ok(people)
}
