//! Records events: one statement for up to five thousand events.

use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::dispatch::dispatch;
use super::event::{Event, ObjectRef};
use super::payload::{EventPayload, unreadable_version};
use super::rows::refuse_other_team;
use super::tracked::{Tracked, column_named, object_id};
use super::values::json_has_nul;
use crate::event_columns;
use daybook_tenancy::error::{Error, Result};
use daybook_tenancy::json::{MAX_ENVELOPE_DEPTH, MAX_JSON_DEPTH, is_too_deep, read_column, too_deep};
use daybook_tenancy::{Actor, Person, TeamTx};

/// The number of rows in one statement; each further group of this size needs one more statement.
pub(super) const ROWS_PER_STATEMENT: usize = 5_000;

/// Records an event about an object and passes it to the consumers, all in the caller's transaction.
///
/// The actor, the correlation and the cause come from the transaction's context. The reason comes from the payload, if
/// it has one, else from the context.
///
/// # Errors
/// [`Error::Consumer`] with the error of a consumer of mode `abort`: roll the transaction back.
/// [`Error::ConsumerDepth`] if consumers cause each other too many levels deep. [`Error::Invalid`] for a payload with
/// U+0000, or with values deeper than [`MAX_JSON_DEPTH`].
pub async fn emit_event<M: Tracked>(tx: &TeamTx, object: &M, payload: impl EventPayload) -> Result<Event> {
    let event = new_event(tx, object, payload)?;
    let mut events = record(tx, vec![event]).await?;
    events
        .pop()
        .ok_or_else(|| Error::internal("an event was inserted, but not returned"))
}

/// Records an event for each of many objects: one statement per five thousand events, and one call of each consumer
/// that takes a slice.
///
/// # Errors
/// As [`emit_event`].
pub async fn emit_events<'a, M, P>(tx: &TeamTx, events: impl IntoIterator<Item = (&'a M, P)>) -> Result<Vec<Event>>
where
    M: Tracked + 'a,
    P: EventPayload,
{
    let events = events
        .into_iter()
        .map(|(object, payload)| new_event(tx, object, payload))
        .collect::<Result<_>>()?;
    record(tx, events).await
}

/// An object without a model that events are about: a member, an invitation, an API key.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The type of the object: `member`, for example.
    pub object_type: &'static str,
    /// The object's id.
    pub id: String,
    /// The name of the object in sentences.
    pub label: String,
}

/// Records events about objects without a model, which have no thread. `actor`, if given, replaces the transaction's
/// actor. It is for a person who can't be the transaction's actor because they are not a member yet.
///
/// # Errors
/// As [`emit_event`].
pub async fn emit_subject_events<P: EventPayload>(
    tx: &TeamTx,
    actor: Option<&Actor>,
    events: impl IntoIterator<Item = (Subject, P)>,
) -> Result<Vec<Event>> {
    let mut recorded = Vec::new();
    for (subject, payload) in events {
        let mut event = envelope(tx, subject.object_type, subject.id, subject.label, payload)?;
        if let Some(actor) = actor {
            event.actor = actor.clone();
        }
        // Each event has its own statement, because a statement for many events has the transaction's actor.
        recorded.extend(record(tx, vec![event]).await?);
    }
    Ok(recorded)
}

pub(super) fn new_event<M: Tracked>(tx: &TeamTx, object: &M, payload: impl EventPayload) -> Result<Event> {
    refuse_other_team(tx, &object.get(column_named::<M>("team_id")?))?;
    let event = envelope(tx, M::OBJECT_TYPE, object_id(object)?, object.label(), payload)?;
    Ok(Event {
        threadable: object.threadable(),
        scope: object.scope(),
        ..event
    })
}

/// Builds an event without thread and scope.
fn envelope(
    tx: &TeamTx,
    object_type: &str,
    object_id: String,
    object_label: String,
    payload: impl EventPayload,
) -> Result<Event> {
    let context = tx.context();
    let (event_type, event_name, schema_version) =
        (payload.event_type(), payload.event_name(), payload.schema_version());
    let reason = payload.reason().map(str::to_owned).or_else(|| context.reason.clone());
    let limit = MAX_JSON_DEPTH + payload.envelope_depth();
    let event_data = payload.into_json()?;
    if is_too_deep(&event_data, limit) {
        return Err(Error::invalid("event_data", too_deep()));
    }
    if json_has_nul(&event_data) {
        return Err(Error::invalid(
            "event_data",
            "contains U+0000, which can't be stored; leave it out",
        ));
    }
    Ok(Event {
        id: Uuid::now_v7(),
        team_id: context.team_id,
        event_type,
        event_name,
        object_type: object_type.to_owned(),
        object_id,
        object_label,
        threadable: false,
        scope: None,
        actor: context.actor.clone(),
        on_behalf_of: context.on_behalf_of.clone(),
        via: context.via.clone(),
        reason,
        event_data,
        schema_version,
        correlation_id: context.correlation_id,
        causation_id: tx.causation_id(),
        request_id: context.request_id.clone(),
        // The database sets these two; `record` fills them in.
        transaction_id: 0,
        created_at: chrono::DateTime::UNIX_EPOCH,
    })
}

/// Inserts the events and runs their consumers.
pub(super) async fn record(tx: &TeamTx, mut events: Vec<Event>) -> Result<Vec<Event>> {
    tx.all_or_nothing(async {
        for chunk in events.chunks_mut(ROWS_PER_STATEMENT) {
            insert(tx, chunk).await?;
        }
        if !events.is_empty() {
            dispatch(tx, &events).await?;
        }
        Ok(events)
    })
    .await
}

/// Inserts events with one statement. All rows of a transaction have the same transaction id and time, so one returned
/// row is enough.
async fn insert(tx: &TeamTx, events: &mut [Event]) -> Result<()> {
    let row = match &*events {
        [event] => insert_one(tx, event).await?,
        many => insert_many(tx, many).await?,
    };
    let row = row.ok_or_else(|| Error::internal("an INSERT returned no row"))?;
    let (transaction_id, created_at) = (row.try_get("transaction_id")?, row.try_get("created_at")?);
    tx.note_recorded(events.iter().map(|event| event.id));
    for event in events {
        event.transaction_id = transaction_id;
        event.created_at = created_at;
    }
    Ok(())
}

/// Inserts one event. This is the hot path: PostgreSQL plans and runs plain values faster than arrays with one element.
async fn insert_one(tx: &TeamTx, event: &Event) -> Result<Option<PgRow>> {
    tx.fetch_optional(
        sqlx::query(
            "INSERT INTO events (team_id, actor_kind, actor_id, actor_name, on_behalf_of, on_behalf_of_name, via,
                correlation_id, causation_id, request_id, id, event_type, event_name, object_type, object_id,
                object_label, threadable, scope_type, scope_id, reason, event_data, schema_version)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)
             RETURNING transaction_id, created_at",
        )
        .bind(event.team_id)
        .bind(event.actor.kind())
        .bind(event.actor.id())
        .bind(event.actor.name())
        .bind(event.on_behalf_of.as_ref().map(|person| person.id))
        .bind(event.on_behalf_of.as_ref().map(|person| person.name.as_str()))
        .bind(event.via.as_deref())
        .bind(event.correlation_id)
        .bind(event.causation_id)
        .bind(event.request_id.as_deref())
        .bind(event.id)
        .bind(event.event_type.as_str())
        .bind(event.event_name.as_deref())
        .bind(&event.object_type)
        .bind(&event.object_id)
        .bind(&event.object_label)
        .bind(event.threadable)
        .bind(event.scope.as_ref().map(|scope| scope.object_type.as_str()))
        .bind(event.scope.as_ref().map(|scope| scope.id.as_str()))
        .bind(event.reason.as_deref())
        .bind(&event.event_data)
        .bind(event.schema_version),
    )
    .await
}

async fn insert_many(tx: &TeamTx, events: &[Event]) -> Result<Option<PgRow>> {
    let context = tx.context();
    let mut rows = EventColumns::default();
    events.iter().for_each(|event| rows.push(event));
    let query = sqlx::query(
        "WITH recorded AS (
            INSERT INTO events (team_id, actor_kind, actor_id, actor_name, on_behalf_of, on_behalf_of_name, via,
                correlation_id, causation_id, request_id, id, event_type, event_name, object_type, object_id,
                object_label, threadable, scope_type, scope_id, reason, event_data, schema_version)
            SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, r.id, r.event_type, r.event_name, r.object_type, r.object_id,
                r.object_label, r.threadable, r.scope_type, r.scope_id, r.reason, r.event_data, r.schema_version
            FROM unnest($11::uuid[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::bool[],
                $18::text[], $19::text[], $20::text[], $21::jsonb[], $22::int2[])
                AS r (id, event_type, event_name, object_type, object_id, object_label, threadable, scope_type, scope_id,
                    reason, event_data, schema_version)
         ) SELECT pg_current_xact_id()::text::bigint AS transaction_id, now() AS created_at",
    )
    .bind(context.team_id)
    .bind(context.actor.kind())
    .bind(context.actor.id())
    .bind(context.actor.name())
    .bind(context.on_behalf_of.as_ref().map(|person| person.id))
    .bind(context.on_behalf_of.as_ref().map(|person| person.name.as_str()))
    .bind(context.via.as_deref())
    .bind(context.correlation_id)
    .bind(tx.causation_id())
    .bind(context.request_id.as_deref())
    .bind(rows.ids)
    .bind(rows.event_types)
    .bind(rows.event_names)
    .bind(rows.object_types)
    .bind(rows.object_ids)
    .bind(rows.object_labels)
    .bind(rows.threadable)
    .bind(rows.scope_types)
    .bind(rows.scope_ids)
    .bind(rows.reasons)
    .bind(rows.event_data)
    .bind(rows.schema_versions);
    tx.fetch_optional(query).await
}

/// The columns that differ between the rows.
#[derive(Default)]
struct EventColumns<'a> {
    ids: Vec<Uuid>,
    event_types: Vec<&'static str>,
    event_names: Vec<Option<&'a str>>,
    object_types: Vec<&'a str>,
    object_ids: Vec<&'a str>,
    object_labels: Vec<&'a str>,
    threadable: Vec<bool>,
    scope_types: Vec<Option<&'a str>>,
    scope_ids: Vec<Option<&'a str>>,
    reasons: Vec<Option<&'a str>>,
    event_data: Vec<&'a serde_json::Value>,
    schema_versions: Vec<i16>,
}

impl<'a> EventColumns<'a> {
    fn push(&mut self, event: &'a Event) {
        self.ids.push(event.id);
        self.event_types.push(event.event_type.as_str());
        self.event_names.push(event.event_name.as_deref());
        self.object_types.push(&event.object_type);
        self.object_ids.push(&event.object_id);
        self.object_labels.push(&event.object_label);
        self.threadable.push(event.threadable);
        self.scope_types
            .push(event.scope.as_ref().map(|scope| scope.object_type.as_str()));
        self.scope_ids.push(event.scope.as_ref().map(|scope| scope.id.as_str()));
        self.reasons.push(event.reason.as_deref());
        self.event_data.push(&event.event_data);
        self.schema_versions.push(event.schema_version);
    }
}

/// Reads an event from a row with all columns of `events`, by their names. A payload that can't be read becomes
/// [`EventData::Unreadable`](super::EventData::Unreadable), so that it doesn't fail a whole page or batch.
///
/// # Errors
/// [`Error::Internal`] if a column is missing or has a value that this program doesn't know.
pub fn event_from_row(row: &PgRow) -> Result<Event> {
    let (actor_id, actor_name): (Option<Uuid>, String) = (row.try_get("actor_id")?, row.try_get("actor_name")?);
    let kind: &str = row.try_get("actor_kind")?;
    let actor = match (kind, actor_id) {
        ("user", Some(id)) => Actor::User { id, name: actor_name },
        ("api_key", Some(id)) => Actor::ApiKey { id, name: actor_name },
        ("job", Some(id)) => Actor::Job { id, name: actor_name },
        ("system", _) => Actor::System { name: actor_name },
        // SQL wrote such rows before the table had a check for them. The event must stay readable and keep its actor's
        // kind; no actor has the nil id.
        ("user", None) => Actor::User {
            id: Uuid::nil(),
            name: actor_name,
        },
        ("api_key", None) => Actor::ApiKey {
            id: Uuid::nil(),
            name: actor_name,
        },
        ("job", None) => Actor::Job {
            id: Uuid::nil(),
            name: actor_name,
        },
        _ => {
            return Err(Error::internal(format!(
                "an event's actor has the unknown kind {kind} (id {actor_id:?})"
            )));
        }
    };
    let scope = match (row.try_get("scope_type")?, row.try_get("scope_id")?) {
        (Some(object_type), Some(id)) => Some(ObjectRef { object_type, id }),
        _ => None,
    };
    let on_behalf_of = match (row.try_get("on_behalf_of")?, row.try_get("on_behalf_of_name")?) {
        (Some(id), Some(name)) => Some(Person { id, name }),
        _ => None,
    };
    let data = read_column(row, "event_data", MAX_JSON_DEPTH + MAX_ENVELOPE_DEPTH)?;
    let (event_data, schema_version) = match data {
        Ok(data) => (data.unwrap_or_default(), row.try_get("schema_version")?),
        Err(unreadable) => (unreadable.placeholder(), unreadable_version(&unreadable)),
    };
    Ok(Event {
        id: row.try_get("id")?,
        team_id: row.try_get("team_id")?,
        event_type: row.try_get::<&str, _>("event_type")?.parse()?,
        event_name: row.try_get("event_name")?,
        object_type: row.try_get("object_type")?,
        object_id: row.try_get("object_id")?,
        object_label: row.try_get("object_label")?,
        threadable: row.try_get("threadable")?,
        scope,
        actor,
        on_behalf_of,
        via: row.try_get("via")?,
        reason: row.try_get("reason")?,
        event_data,
        schema_version,
        correlation_id: row.try_get("correlation_id")?,
        causation_id: row.try_get("causation_id")?,
        request_id: row.try_get("request_id")?,
        transaction_id: row.try_get("transaction_id")?,
        created_at: row.try_get("created_at")?,
    })
}

/// Reads events of the transaction's team by their ids, oldest first. Leaves out events that no longer exist.
///
/// # Errors
/// The errors of any statement, and those of [`event_from_row`].
pub async fn events_by_id(tx: &TeamTx, ids: &[Uuid]) -> Result<Vec<Event>> {
    // Each id selects its month's partition. With an array, the planner could not see that.
    let query = sqlx::query(concat!(
        "SELECT ",
        event_columns!("e."),
        " FROM unnest($2::uuid[]) AS wanted (id)
         CROSS JOIN LATERAL (SELECT ",
        event_columns!(""),
        " FROM events WHERE team_id = $1 AND id = wanted.id OFFSET 0) e ORDER BY e.id",
    ));
    let rows = tx.fetch_all(query.bind(tx.team_id()).bind(ids)).await?;
    rows.iter().map(event_from_row).collect()
}
