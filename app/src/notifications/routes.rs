//! The routes of a person's inbox.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::store::{self, InboxRow, ReadRow};
use super::why::{Reason, Why};
use crate::error::{Error, Result};
use crate::events::{EventsParts, Part, Sentence, Sentences};
use crate::http::{ByteBudget, Json, Page, PageParams, Path, Query, ServiceState, Team};
use crate::tenancy::{Role, Snapshot, TeamTx};

/// Returns the inbox's routes, below `/v1/teams/{team_id}`.
pub fn routes<S: ServiceState>() -> OpenApiRouter<S> {
    OpenApiRouter::new()
        .routes(routes!(list_notifications))
        .routes(routes!(read_all_notifications))
        .routes(routes!(read_notification, unread_notification))
        .merge(super::preferences::routes())
}

/// The filter of a list of notifications.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct InboxParams {
    /// Only unread notifications.
    #[serde(default)]
    #[param(default = false)]
    unread: bool,
    #[serde(flatten)]
    #[param(ignore)]
    page: PageParams,
}

/// A page of a person's inbox.
#[derive(Debug, Serialize, ToSchema)]
pub struct Inbox {
    /// The notifications, ordered by `updated_at`, newest first.
    pub items: Vec<Notification>,
    /// The `cursor` of the next page; null at the end.
    pub next: Option<String>,
    /// The number of the person's unread notifications, on all pages.
    pub unread: i64,
    /// An id of the inbox's state in this response, for `PUT /notifications/read`. Messages that arrive after it stay
    /// unread.
    #[schema(example = "100:104:101")]
    pub up_to: String,
}

/// A notification: a thread with messages that a person should look at.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Notification {
    /// Its id.
    pub id: Uuid,
    /// The thread.
    pub thread: NotifiedThread,
    /// Why this person is notified.
    pub reason: Reason,
    /// The reason in detail, as it was at that time; null for a notification that is older than this field.
    pub why: Option<Why>,
    /// The newest message's position in the thread.
    pub seq: i64,
    /// The number of messages since it was last read.
    pub unread_count: i32,
    /// The number of its changes. Of two states, the one with the higher version is newer.
    pub version: i64,
    /// When it was read; null while it is unread.
    pub read_at: Option<DateTime<Utc>>,
    /// The time of the thread's first notification.
    pub created_at: DateTime<Utc>,
    /// The time of the thread's latest notification.
    pub updated_at: DateTime<Utc>,
    /// The sentence of the newest message.
    pub sentence: Sentence,
    /// The sentence as plain text.
    pub text: String,
}

/// The thread of a notification.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct NotifiedThread {
    /// Its id.
    pub id: Uuid,
    /// The object's type.
    pub object_type: String,
    /// The object's id.
    pub object_id: String,
    /// The object's latest label.
    pub object_label: String,
}

/// Whether a notification is read.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReadState {
    /// The notification's id.
    pub id: Uuid,
    /// When it was read; null if it is unread.
    pub read_at: Option<DateTime<Utc>>,
    /// The number of unread messages.
    pub unread_count: i32,
    /// The number of the notification's changes.
    pub version: i64,
}

/// The version of a notification that the person has seen.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SeenNotification)]
struct SeenVersion {
    /// The `version` that the person has seen.
    #[schema(minimum = 1)]
    version: i64,
}

/// The state of the inbox that the person has seen.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SeenInbox)]
struct SeenInbox {
    /// The `up_to` of a page of the inbox, or of a `notifications:updated` frame.
    #[schema(example = "100:104:101")]
    up_to: String,
}

/// The result of marking notifications as read.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReadAll {
    /// The number of notifications that were unread.
    pub marked: i64,
}

/// Lists your notifications, newest first.
///
/// A page ends early, with `next`, if it would have more than 1 MiB. Long values of events are cut;
/// `GET /threads/{id}/messages/{seq}` returns the whole message.
#[utoipa::path(
    get, path = "/notifications", tag = "notifications",
    params(InboxParams, PageParams),
    responses(
        (status = 200, body = Inbox),
        (status = 403, description = "An API key has no notifications"),
        (status = 404, description = "No such team"),
        (status = 422, description = "A parameter is invalid"),
    )
)]
async fn list_notifications(team: Team, Query(params): Query<InboxParams>) -> Result<Json<Inbox>> {
    let (limit, after) = (params.page.limit()?, params.page.after()?);
    let tx = team.read().await?;
    let person = reader(&tx)?;
    let inbox = store::inbox(&tx, person, params.unread, after, limit).await?;
    let sentences = EventsParts::of_tx(&tx)?.sentences.clone();
    tx.commit().await?;
    let key = |row: &InboxRow| (row.place, row.id);
    let page = Page::within_bytes(inbox.rows, limit, key, |row| notification(&sentences, row))?;
    Ok(Json(Inbox {
        items: page.items,
        next: page.next,
        unread: inbox.unread,
        up_to: inbox.seen.to_string(),
    }))
}

/// Marks one of your notifications as read.
///
/// If you send the `version` that you have seen, a notification that has changed since then stays unread, and the
/// response has its current state. Without a body it is marked as read in any case.
#[utoipa::path(
    put, path = "/notifications/{id}/read", tag = "notifications",
    params(("id" = Uuid, Path, description = "The notification")),
    request_body = Option<SeenVersion>,
    responses(
        (status = 200, body = ReadState),
        (status = 403, description = "An API key has no notifications"),
        (status = 404, description = "No such notification of yours"),
        (status = 422, description = "The body is invalid"),
    )
)]
async fn read_notification(
    team: Team,
    Path(id): Path<Uuid>,
    body: Option<Json<SeenVersion>>,
) -> Result<Json<ReadState>> {
    let seen = body.map(|Json(seen)| seen.version);
    if seen.is_some_and(|version| version < 1) {
        return Err(Error::invalid("version", "must be 1 or more: versions count from 1"));
    }
    // A comment that notifies this person writes the same two rows in the other order. So a deadlock is possible, and
    // the transaction may be repeated.
    let marked = team
        .write_as(Role::Viewer, async |tx| {
            store::mark_read(tx, reader(tx)?, id, seen).await
        })
        .await?;
    Ok(Json(read_state(id, marked)?))
}

/// Marks one of your notifications as unread.
#[utoipa::path(
    delete, path = "/notifications/{id}/read", tag = "notifications",
    params(("id" = Uuid, Path, description = "The notification")),
    responses(
        (status = 200, body = ReadState),
        (status = 403, description = "An API key has no notifications"),
        (status = 404, description = "No such notification of yours"),
    )
)]
async fn unread_notification(team: Team, Path(id): Path<Uuid>) -> Result<Json<ReadState>> {
    let tx = team.begin_as(Role::Viewer).await?;
    let marked = store::mark_unread(&tx, reader(&tx)?, id).await?;
    tx.commit().await?;
    Ok(Json(read_state(id, marked)?))
}

/// Marks your notifications as read.
///
/// With `up_to`, only the notifications that have not changed since that state of the inbox are marked. What has
/// arrived later stays unread. Without a body, all notifications are marked.
#[utoipa::path(
    put, path = "/notifications/read", tag = "notifications",
    request_body = Option<SeenInbox>,
    responses(
        (status = 200, body = ReadAll),
        (status = 403, description = "An API key has no notifications"),
        (status = 404, description = "No such team"),
        (status = 422, description = "The body is invalid"),
    )
)]
async fn read_all_notifications(team: Team, body: Option<Json<SeenInbox>>) -> Result<Json<ReadAll>> {
    let seen = match body {
        Some(Json(seen)) => seen.up_to.parse::<Snapshot>().map_err(|_| {
            Error::invalid(
                "up_to",
                "must be the `up_to` of a page of the inbox or of a frame; to mark everything as read, send no body",
            )
        })?,
        None => Snapshot::EVERYTHING,
    };
    // A change that notifies this person of several threads may lock the rows in another order. So a deadlock is
    // possible, and the transaction may be repeated.
    let marked = team
        .write_as(Role::Viewer, async |tx| {
            store::mark_all_read(tx, reader(tx)?, &seen).await
        })
        .await?;
    Ok(Json(ReadAll { marked }))
}

/// Renders the first notifications, as many as fit into `max_bytes`.
pub(super) fn render_within(tx: &TeamTx, rows: Vec<InboxRow>, max_bytes: usize) -> Result<Vec<Notification>> {
    let sentences = &EventsParts::of_tx(tx)?.sentences;
    let mut budget = ByteBudget::new(max_bytes);
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        let item = notification(sentences, row)?;
        if !budget.takes(&item)? {
            break;
        }
        items.push(item);
    }
    Ok(items)
}

/// Returns the id of the current person, whose inbox it is.
pub(super) fn reader(tx: &TeamTx) -> Result<Uuid> {
    tx.context().person_id().ok_or_else(|| Error::Forbidden {
        detail: "an API key has no notifications; use a person's token".to_owned(),
    })
}

fn read_state(id: Uuid, marked: Option<ReadRow>) -> Result<ReadState> {
    let ReadRow {
        read_at,
        unread_count,
        version,
    } = marked.ok_or_else(|| Error::not_found("notification"))?;
    Ok(ReadState {
        id,
        read_at,
        unread_count,
        version,
    })
}

fn notification(sentences: &Sentences, row: InboxRow) -> Result<Notification> {
    let sentence = match (&row.event, &row.author) {
        (Some(event), _) => sentences.render(event),
        (None, author) => comment_sentence(&row, author.as_ref()),
    };
    let reason = match row.reason.as_str() {
        "follower" => Reason::Follower,
        "watcher" => Reason::Watcher,
        "mentioned" => Reason::Mentioned,
        other => {
            return Err(Error::internal(format!(
                "a notification has the unknown reason {other:?}"
            )));
        }
    };
    let why = Why::new(reason, &row.object_type, row.why)?;
    Ok(Notification {
        id: row.id,
        thread: NotifiedThread {
            id: row.thread_id,
            object_type: row.object_type,
            object_id: row.object_id,
            object_label: row.object_label,
        },
        reason,
        why,
        seq: row.seq,
        unread_count: row.unread_count,
        version: row.version,
        read_at: row.read_at,
        created_at: row.created_at,
        updated_at: row.updated_at,
        text: sentence.to_string(),
        sentence,
    })
}

/// Returns the sentence of a message without an event: `Ada commented on campaign “Spring”`, or
/// `Ada deleted a comment on …`. A message without an author is about an event that no longer exists, and gets a
/// general sentence.
fn comment_sentence(row: &InboxRow, author: Option<&(String, Option<Uuid>, String)>) -> Sentence {
    let mut sentence = Sentence::default();
    match author {
        Some((kind, id, name)) => {
            sentence.parts.push(Part::Actor {
                actor_kind: kind.clone(),
                id: *id,
                text: name.clone(),
            });
            sentence = sentence.and(match row.deleted {
                true => " deleted a comment on ",
                false => " commented on ",
            });
        }
        None => sentence = sentence.and("Something happened to "),
    }
    sentence.parts.push(Part::Object {
        object_type: row.object_type.clone(),
        id: row.object_id.clone(),
        text: format!("{} “{}”", row.object_type.replace('_', " "), row.object_label),
    });
    sentence
}
