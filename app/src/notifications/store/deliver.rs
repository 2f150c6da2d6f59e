//! Telling people.
//!
//! Recipients' memberships are locked (KEY SHARE, as the foreign key would) before their rows are written: a
//! member who is removed at this moment is left out, instead of failing somebody else's change.
//!
//! Whom a preference spares is left out in the same statement, by the one rule that is the most specific: an object
//! type beats an event type, and both beat either. What is kept of it in the row (`why_…`) is what was true now.

use std::collections::BTreeMap;

use sqlx::Row;
use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::Query;
use uuid::Uuid;

use crate::error::Result;
use crate::events::EventType;
use crate::tenancy::{Moved, TeamTx};

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

/// A column that tells why. A row keeps it while it is unread and tells of a mention, unless there is a newer one;
/// and if it tells of something newer: a consumer between the two of ours may have caused events and told of them.
macro_rules! why {
    ($column:literal) => {
        concat!(
            $column,
            " = CASE WHEN n.read_at IS NULL AND n.reason = 'mentioned' AND excluded.reason <> 'mentioned'
                OR excluded.seq < n.seq THEN n.",
            $column,
            " ELSE excluded.",
            $column,
            " END,"
        )
    };
}

/// What becomes of a row that is there.
macro_rules! or_count {
    () => {
        concat!(
            "ON CONFLICT (team_id, user_id, thread_id) DO UPDATE SET
            event_id = CASE WHEN excluded.seq > n.seq THEN excluded.event_id ELSE n.event_id END,
            seq = greatest(n.seq, excluded.seq),
            unread_count = n.unread_count + excluded.unread_count,",
            why!("reason"),
            why!("why_seq"),
            why!("why_event_id"),
            why!("why_event_type"),
            why!("why_followed"),
            why!("why_rule_event_type"),
            why!("why_rule_object_type"),
            "version = n.version + 1,
            read_at = NULL,
            transaction_id = excluded.transaction_id,
            updated_at = greatest(n.updated_at, excluded.updated_at)
        RETURNING n.user_id"
        )
    };
}

/// The one rule that counts for a recipient, or none. `*` comes before every name, in the order of the table's key,
/// so the strongest of the rules that match is the last, and the key read backward finds it without sorting.
macro_rules! rule {
    ($recipient:literal, $matches:literal) => {
        concat!(
            "LEFT JOIN LATERAL (
            SELECT p.event_type, p.object_type, p.in_app FROM notification_preferences p
            WHERE p.team_id = $1 AND p.user_id = ",
            $recipient,
            ".user_id AND ",
            $matches,
            "
            ORDER BY p.object_type DESC, p.event_type DESC LIMIT 1
        ) p ON true "
        )
    };
}

/// The statement, over a source of objects (`o`): rows or arrays, for the reason that `threads` gives where it
/// posts; with what is written beside, and who is told beside followers.
macro_rules! deliver {
    ($objects:literal, $beside:literal, $or_told:literal) => {
        concat!(
            "WITH told AS (
            SELECT t.id AS thread_id, t.last_seq - o.from_end AS seq, o.object_type, o.messages, o.newest
            FROM ",
            $objects,
            " AS o (object_type, object_id, messages, newest, from_end)
            JOIN threads t ON t.team_id = $1 AND t.object_type = o.object_type AND t.object_id = o.object_id
        ), ",
            $beside,
            "
        INSERT INTO notifications AS n (team_id, id, user_id, thread_id, reason, event_id, seq, unread_count, why_seq,
            why_event_id, why_event_type, why_followed, why_rule_event_type, why_rule_object_type)
        SELECT $1, (left($10::text, 19) || right(gen_random_uuid()::text, 17))::uuid, m.user_id, r.thread_id, r.reason,
            r.newest, r.seq, r.messages, r.seq, r.newest, $7, r.followed, p.event_type, p.object_type
        FROM (
            SELECT f.user_id, 'follower' AS reason, f.reason AS followed, told.thread_id, told.seq, told.object_type,
                told.messages, told.newest
            FROM told JOIN thread_followers f ON f.team_id = $1 AND f.thread_id = told.thread_id
            WHERE f.following AND NOT f.muted
            ",
            $or_told,
            "
        ) r JOIN memberships m ON m.team_id = $1 AND m.user_id = r.user_id
        ",
            rule!("r", "p.object_type IN (r.object_type, '*') AND p.event_type IN ($7, '*')"),
            "WHERE m.user_id <> ALL ($9) AND p.in_app IS NOT FALSE
        ORDER BY m.user_id, r.thread_id
        FOR KEY SHARE OF m
        ",
            or_count!()
        )
    };
}

/// Of what was created, its creator becomes a follower, and who watches for it is told. Who has only read so far has
/// not said no. What one did oneself is not new to one.
macro_rules! deliver_created {
    ($objects:literal) => {
        deliver!(
            $objects,
            "creator AS (
            INSERT INTO thread_followers AS f (team_id, thread_id, user_id, following, reason, read_seq)
            SELECT $1, told.thread_id, m.user_id, true, 'creator',
                CASE WHEN told.seq = told.messages THEN told.seq ELSE 0 END
            FROM told JOIN memberships m ON m.team_id = $1 AND m.user_id = $8
            ORDER BY told.thread_id
            FOR KEY SHARE OF m
            ON CONFLICT (team_id, thread_id, user_id) DO UPDATE SET following = true, reason = excluded.reason
                WHERE f.reason = 'reader'
        )",
            "UNION ALL
            SELECT w.user_id, 'watcher', NULL, told.thread_id, told.seq, told.object_type, told.messages, told.newest
            FROM told JOIN watches w ON w.team_id = $1 AND w.object_type = told.object_type
            WHERE NOT EXISTS (
                SELECT FROM thread_followers f WHERE f.team_id = $1 AND f.thread_id = told.thread_id
                    AND f.user_id = w.user_id AND (f.following OR f.muted))"
        )
    };
}

/// Of any other event followers are told, and the mark of whoever did it moves along, if nothing before it was new.
macro_rules! deliver_other {
    ($objects:literal) => {
        deliver!(
            $objects,
            "seen AS (
            UPDATE thread_followers f SET read_seq = told.seq FROM told
            WHERE f.team_id = $1 AND f.thread_id = told.thread_id AND f.user_id = $8
                AND f.read_seq = told.seq - told.messages
        )",
            ""
        )
    };
}

/// A statement over one object, and over many.
macro_rules! row {
    ($deliver:ident) => {
        $deliver!("(VALUES ($2::text, $3::text, $4::int, $5::uuid, $6::int))")
    };
}
macro_rules! rows {
    ($deliver:ident) => {
        $deliver!("unnest($2::text[], $3::text[], $4::int[], $5::uuid[], $6::int[])")
    };
}

/// Tells followers of events of one type, and watchers of what was created, all but `doers`. `person` is whose they
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
    let (types, ids): (Vec<&str>, Vec<&str>) = objects.keys().copied().unzip();
    let created = event_type == EventType::Created;
    let query = match (objects.first_key_value(), objects.len()) {
        (Some((&(object_type, id), told)), 1) => sqlx::query(if created {
            row!(deliver_created)
        } else {
            row!(deliver_other)
        })
        .bind(tx.team_id())
        .bind(object_type)
        .bind(id)
        .bind(told.messages)
        .bind(told.newest)
        .bind(told.from_end),
        _ => sqlx::query(if created {
            rows!(deliver_created)
        } else {
            rows!(deliver_other)
        })
        .bind(tx.team_id())
        .bind(types)
        .bind(ids)
        .bind(objects.values().map(|told| told.messages).collect::<Vec<_>>())
        .bind(objects.values().map(|told| told.newest).collect::<Vec<_>>())
        .bind(objects.values().map(|told| told.from_end).collect::<Vec<_>>()),
    };
    let query = query
        .bind(event_type.as_str())
        .bind(person)
        .bind(doers)
        .bind(Uuid::now_v7());
    told(tx, query).await
}

/// The statement that tells of a comment, over a source of whom it mentions: an array, or nobody. From an array
/// PostgreSQL expects ten, and would plan anew at every call; most comments mention nobody.
macro_rules! deliver_comment {
    ($mentioned:literal) => {
        concat!(
            "INSERT INTO notifications AS n (team_id, id, user_id, thread_id, reason, seq, unread_count, why_seq,
            why_event_type, why_followed, why_rule_event_type, why_rule_object_type)
        SELECT $1, (left($6::text, 19) || right(gen_random_uuid()::text, 17))::uuid, m.user_id, $2, r.reason, $3, 1, $3,
            r.event_type, r.followed, r.rule_event_type, r.rule_object_type
        FROM (
            SELECT DISTINCT ON (c.user_id) c.user_id, c.reason, c.event_type, c.followed, p.event_type AS rule_event_type, p.object_type AS rule_object_type
            FROM (
                SELECT u.user_id, 'mentioned' AS reason, 'MENTION' AS event_type, NULL::text AS followed
                FROM ",
            $mentioned,
            " AS u (user_id)
                WHERE NOT EXISTS (SELECT FROM thread_followers f
                    WHERE f.team_id = $1 AND f.thread_id = $2 AND f.user_id = u.user_id AND f.muted)
                UNION ALL
                SELECT f.user_id, 'follower', 'COMMENT', f.reason FROM thread_followers f
                WHERE f.team_id = $1 AND f.thread_id = $2 AND f.following AND NOT f.muted
            ) c JOIN threads t ON t.team_id = $1 AND t.id = $2
            ",
            rule!(
                "c",
                "p.object_type IN (t.object_type, '*')
                AND (p.event_type = c.event_type OR p.event_type = '*' AND c.event_type <> 'MENTION')"
            ),
            "WHERE p.in_app IS NOT FALSE
            ORDER BY c.user_id, c.reason = 'follower'
        ) r JOIN memberships m ON m.team_id = $1 AND m.user_id = r.user_id
        WHERE m.user_id <> ALL ($5)
        ORDER BY m.user_id
        FOR KEY SHARE OF m
        ",
            or_count!()
        )
    };
}

/// Tells of a comment whom it mentions and who follows, all but `doers`. Who doesn't want to hear of mentions may
/// still hear of comments, as a follower. Ids as in [`deliver_events`].
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
    let query = sqlx::query(if mentioned.is_empty() {
        deliver_comment!("(SELECT NULL::uuid WHERE $4::uuid[] IS NULL)")
    } else {
        deliver_comment!("unnest($4::uuid[])")
    })
    .bind(tx.team_id())
    .bind(thread_id)
    .bind(seq)
    .bind(mentioned)
    .bind(doers)
    .bind(Uuid::now_v7());
    told(tx, query).await
}

/// Runs what returns the recipients of notifications, and says that theirs have moved.
async fn told(tx: &TeamTx, query: Query<'_, Postgres, PgArguments>) -> Result<()> {
    for row in tx.fetch_all(query).await? {
        tx.hint(Moved::Notifications(row.try_get("user_id")?));
    }
    Ok(())
}
