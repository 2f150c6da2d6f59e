//! A person's inbox.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::store::{self, InboxRow, ReadRow};
use super::why::Why;
use crate::error::{Error, Result};
use crate::events::{Part, Sentence, Sentences};
use crate::http::{ByteBudget, Json, Page, PageParams, Path, Problem, Query, ServiceState, Team};
use crate::tenancy::{Role, Snapshot, TeamTx};

/// The inbox's routes, under `/v1/teams/{team_id}`.
pub fn routes<S: ServiceState>() -> OpenApiRouter<S> {
    OpenApiRouter::new()
        .routes(routes!(list_notifications))
        .routes(routes!(read_all_notifications))
        .routes(routes!(read_notification, unread_notification))
        .merge(super::preferences::routes())
}

/// Which notifications.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct InboxParams {
    /// Only those that are unread.
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
    /// Newest first, by when the thread last called.
    pub items: Vec<Notification>,
    /// The `cursor` of the page after this one; null at the end.
    pub next: Option<String>,
    /// How many of all the person's notifications are unread, on whatever page.
    pub unread: i64,
    /// The inbox as it is in this answer, for `PUT /notifications/read`: what arrives after it stays unread.
    #[schema(example = "100:104:101")]
    pub up_to: String,
}

/// What a person should look at.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Notification {
    /// Its id.
    pub id: Uuid,
    /// Where it happened.
    pub thread: NotifiedThread,
    /// Why this person is told.
    pub reason: Reason,
    /// Why in full, as it was then; null for one from before that was kept.
    pub why: Option<Why>,
    /// The newest message's place in the thread.
    pub seq: i64,
    /// How many messages since it was last read.
    pub unread_count: i32,
    /// Counts every change: of two states, the higher one is the newer.
    pub version: i64,
    /// When it was read; null while unread.
    pub read_at: Option<DateTime<Utc>>,
    /// When the thread first called for attention.
    pub created_at: DateTime<Utc>,
    /// When the thread last called for attention.
    pub updated_at: DateTime<Utc>,
    /// The newest message in words.
    pub sentence: Sentence,
    /// The sentence as plain text.
    pub text: String,
}

/// The thread that a notification is of.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct NotifiedThread {
    /// Its id.
    pub id: Uuid,
    /// The object's type.
    pub object_type: String,
    /// The object's id.
    pub object_id: String,
    /// What the object was last called.
    pub object_label: String,
}

/// Why a person is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = NotificationReason)]
#[non_exhaustive]
pub enum Reason {
    /// They follow the thread.
    Follower,
    /// They watch for new objects of this type.
    Watcher,
    /// A comment names them.
    Mentioned,
}

/// A notification's state of being read.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReadState {
    /// The notification.
    pub id: Uuid,
    /// When it was read; null if it is unread.
    pub read_at: Option<DateTime<Utc>>,
    /// How many messages are unread.
    pub unread_count: i32,
    /// Counts every change of the notification.
    pub version: i64,
}

/// Which state of a notification was seen.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SeenNotification)]
struct SeenVersion {
    /// The notification's `version` that was seen.
    #[schema(minimum = 1)]
    version: i64,
}

/// Which state of the inbox was seen.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SeenInbox)]
struct SeenInbox {
    /// The `up_to` of a page of the inbox, or of a `notifications:updated` frame.
    #[schema(example = "100:104:101")]
    up_to: String,
}

/// What marking all as read came to.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReadAll {
    /// How many were unread.
    pub marked: i64,
}

/// Your notifications, newest first.
///
/// A page ends early, with `next`, where it would have more than 1 MiB. Values of events that are long are cut:
/// `GET /threads/{id}/messages/{seq}` has the message whole.
#[utoipa::path(
    get, path = "/notifications", tag = "notifications",
    params(InboxParams, PageParams),
    responses(
        (status = 200, body = Inbox),
        (status = 403, description = "An API key has no notifications", body = Problem),
        (status = 404, description = "No such team", body = Problem),
        (status = 422, description = "A parameter is wrong", body = Problem),
    )
)]
async fn list_notifications(team: Team, Query(params): Query<InboxParams>) -> Result<Json<Inbox>> {
    let (limit, after) = (params.page.limit()?, params.page.after()?);
    let tx = team.read().await?;
    let person = reader(&tx)?;
    let inbox = store::inbox(&tx, person, params.unread, after, limit).await?;
    let sentences = tx.extension::<Sentences>().cloned().unwrap_or_default();
    tx.commit().await?;
    let key = |row: &InboxRow| (row.updated_at, row.id);
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
/// With the `version` that was seen, one that has changed since stays as it is: the answer says how it stands. Without a
/// body it is read whatever has arrived since.
#[utoipa::path(
    put, path = "/notifications/{id}/read", tag = "notifications",
    params(("id" = Uuid, Path, description = "The notification")),
    request_body = Option<SeenVersion>,
    responses(
        (status = 200, body = ReadState),
        (status = 403, description = "An API key has no notifications", body = Problem),
        (status = 404, description = "No such notification of yours", body = Problem),
        (status = 422, description = "The body is wrong", body = Problem),
    )
)]
async fn read_notification(
    team: Team,
    Path(id): Path<Uuid>,
    body: Option<Json<SeenVersion>>,
) -> Result<Json<ReadState>> {
    let seen = body.map(|Json(seen)| seen.version);
    // A comment that tells this person writes their two rows in the other order.
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
        (status = 403, description = "An API key has no notifications", body = Problem),
        (status = 404, description = "No such notification of yours", body = Problem),
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
/// With `up_to`, those that have not changed since that state of the inbox was read: what has arrived meanwhile stays
/// unread. Without a body all of them, seen or not.
#[utoipa::path(
    put, path = "/notifications/read", tag = "notifications",
    request_body = Option<SeenInbox>,
    responses(
        (status = 200, body = ReadAll),
        (status = 403, description = "An API key has no notifications", body = Problem),
        (status = 404, description = "No such team", body = Problem),
        (status = 422, description = "The body is wrong", body = Problem),
    )
)]
async fn read_all_notifications(team: Team, body: Option<Json<SeenInbox>>) -> Result<Json<ReadAll>> {
    let seen = match body {
        Some(Json(seen)) => seen.up_to.parse::<Snapshot>().map_err(|_| {
            Error::invalid(
                "up_to",
                "isn't the `up_to` of a page of the inbox or of a frame; leave the body out to mark everything as read",
            )
        })?,
        None => Snapshot::EVERYTHING,
    };
    // Many rows at once can meet a change that tells this person of several threads in another order.
    let marked = team
        .write_as(Role::Viewer, async |tx| {
            store::mark_all_read(tx, reader(tx)?, &seen).await
        })
        .await?;
    Ok(Json(ReadAll { marked }))
}

/// Notifications in words, the first of them, as long as they are at most so many bytes.
pub(super) fn shown(tx: &TeamTx, rows: Vec<InboxRow>, most_bytes: usize) -> Result<Vec<Notification>> {
    let words = Sentences::default();
    let sentences = tx.extension::<Sentences>().unwrap_or(&words);
    let mut room = ByteBudget::new(most_bytes);
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        let item = notification(sentences, row)?;
        if !room.takes(&item)? {
            break;
        }
        items.push(item);
    }
    Ok(items)
}

/// The person whose inbox it is.
pub(super) fn reader(tx: &TeamTx) -> Result<Uuid> {
    tx.context().person_id().ok_or_else(|| Error::Forbidden {
        detail: "an API key has no notifications: they are for people; use a person's token".to_owned(),
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
        (None, author) => of_comment(&row, author.as_ref()),
    };
    let reason = match row.reason.as_str() {
        "follower" => Reason::Follower,
        "watcher" => Reason::Watcher,
        "mentioned" => Reason::Mentioned,
        other => return Err(Error::internal(format!("a notification's reason is {other:?}"))),
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

/// `Ada commented on campaign “Spring”`, or `Ada deleted a comment on …`; without an author, of an event that is no longer at hand.
fn of_comment(row: &InboxRow, author: Option<&(String, Option<Uuid>, String)>) -> Sentence {
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
