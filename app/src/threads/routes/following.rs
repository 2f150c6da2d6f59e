//! Routes for a person's follows, mutes, read marks and watches. A viewer may set them, too, because they concern only
//! the person.

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::person::person;
use crate::error::{Error, Result};
use crate::http::{Json, Page, PageParams, Path, Query, Team};
use crate::notifications::{read_up_to, require_object_type};
use crate::tenancy::{Role, TeamTx};
use crate::threads::store::{self, FollowRow, WatchRow};

/// Your settings for a thread.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Following {
    /// The thread.
    thread_id: Uuid,
    /// Whether you follow it. If you do, you are notified of every message.
    following: bool,
    /// Whether you have muted it. If you have, you are not notified of any message.
    muted: bool,
    /// The position up to which you have read.
    read_seq: i64,
}

/// A watch. You are notified of every new object of the type.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Watch {
    /// The object type.
    #[schema(example = "campaign")]
    object_type: String,
    /// When you began to watch it.
    created_at: DateTime<Utc>,
}

impl From<WatchRow> for Watch {
    fn from(row: WatchRow) -> Self {
        Self {
            object_type: row.object_type,
            created_at: row.created_at,
        }
    }
}

/// Follows a thread.
#[utoipa::path(
    put, path = "/threads/{id}/follow", tag = "threads",
    params(("id" = Uuid, Path, description = "The thread")),
    responses(
        (status = 200, body = Following),
        (status = 403, description = "Only a person can follow"),
        (status = 404, description = "No such thread"),
    )
)]
pub(super) async fn follow(team: Team, Path(thread_id): Path<Uuid>) -> Result<Json<Following>> {
    let tx = team.begin_as(Role::Viewer).await?;
    let row = store::set_following(&tx, thread_id, person(&tx)?, true).await?;
    following(tx, thread_id, row).await
}

/// Unfollows a thread. Commenting on it or being mentioned in it doesn't make you a follower again.
#[utoipa::path(
    delete, path = "/threads/{id}/follow", tag = "threads",
    params(("id" = Uuid, Path, description = "The thread")),
    responses(
        (status = 200, body = Following),
        (status = 403, description = "Only a person can follow"),
        (status = 404, description = "No such thread"),
    )
)]
pub(super) async fn unfollow(team: Team, Path(thread_id): Path<Uuid>) -> Result<Json<Following>> {
    let tx = team.begin_as(Role::Viewer).await?;
    let row = store::set_following(&tx, thread_id, person(&tx)?, false).await?;
    following(tx, thread_id, row).await
}

/// Mutes a thread: you are not notified of any message in it, not even of a mention.
#[utoipa::path(
    put, path = "/threads/{id}/mute", tag = "threads",
    params(("id" = Uuid, Path, description = "The thread")),
    responses(
        (status = 200, body = Following),
        (status = 403, description = "Only a person can mute"),
        (status = 404, description = "No such thread"),
    )
)]
pub(super) async fn mute(team: Team, Path(thread_id): Path<Uuid>) -> Result<Json<Following>> {
    let tx = team.begin_as(Role::Viewer).await?;
    let row = store::set_muted(&tx, thread_id, person(&tx)?, true).await?;
    following(tx, thread_id, row).await
}

/// Unmutes a thread.
#[utoipa::path(
    delete, path = "/threads/{id}/mute", tag = "threads",
    params(("id" = Uuid, Path, description = "The thread")),
    responses(
        (status = 200, body = Following),
        (status = 403, description = "Only a person can mute"),
        (status = 404, description = "No such thread"),
    )
)]
pub(super) async fn unmute(team: Team, Path(thread_id): Path<Uuid>) -> Result<Json<Following>> {
    let tx = team.begin_as(Role::Viewer).await?;
    let row = store::set_muted(&tx, thread_id, person(&tx)?, false).await?;
    following(tx, thread_id, row).await
}

/// A new read mark.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Read {
    /// The position of the last message that you have read, or 0. At most the thread's `last_seq`.
    #[schema(minimum = 0)]
    seq: i64,
}

/// Your read mark in a thread.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReadMark {
    /// The thread.
    thread_id: Uuid,
    /// The position up to which you have read.
    read_seq: i64,
    /// The position of the newest message.
    last_seq: i64,
    /// The number of messages after `read_seq`.
    new_count: i64,
}

/// Sets your read mark in a thread.
///
/// The mark only moves forward: an earlier position changes nothing. If your notification of the thread counts no
/// message after the mark, it is marked as read, too; otherwise it counts only the messages after the mark. This does
/// not make you a follower.
#[utoipa::path(
    put, path = "/threads/{id}/read", tag = "threads",
    params(("id" = Uuid, Path, description = "The thread")),
    request_body = Read,
    responses(
        (status = 200, body = ReadMark),
        (status = 403, description = "Only a person has a read mark"),
        (status = 404, description = "No such thread"),
        (status = 422, description = "The thread has no such position"),
    )
)]
pub(super) async fn read(team: Team, Path(thread_id): Path<Uuid>, Json(body): Json<Read>) -> Result<Json<ReadMark>> {
    if body.seq < 0 {
        return Err(Error::invalid("seq", "must be 0 or more: messages count from 1"));
    }
    let mark = team
        .write_as(Role::Viewer, async |tx| {
            let person = person(tx)?;
            let mark = store::set_read(tx, thread_id, person, body.seq)
                .await?
                .ok_or_else(|| Error::not_found("thread"))?;
            let Some(read_seq) = mark.read_seq else {
                return Err(Error::invalid(
                    "seq",
                    format!("must be at most {}, the position of the newest message", mark.last_seq),
                ));
            };
            read_up_to(tx, person, thread_id, read_seq).await?;
            Ok(ReadMark {
                thread_id,
                read_seq,
                last_seq: mark.last_seq,
                new_count: mark.last_seq - read_seq,
            })
        })
        .await?;
    Ok(Json(mark))
}

/// Lists your watches, in the order of their object types.
#[utoipa::path(
    get, path = "/watches", tag = "threads",
    params(PageParams),
    responses(
        (status = 200, body = Page<Watch>),
        (status = 403, description = "Only a person can watch"),
        (status = 404, description = "No such team"),
        (status = 422, description = "A parameter is invalid"),
    )
)]
pub(super) async fn list_watches(team: Team, Query(page): Query<PageParams>) -> Result<Json<Page<Watch>>> {
    let (limit, after) = (page.limit()?, page.after::<String>()?);
    let tx = team.read().await?;
    let rows = store::watches(&tx, person(&tx)?, after.as_deref(), limit).await?;
    tx.commit().await?;
    Ok(Json(
        Page::of(rows, limit, |row| row.object_type.clone())?.map(Watch::from),
    ))
}

/// Watches an object type: you are notified of every new object.
#[utoipa::path(
    put, path = "/watches/{object_type}", tag = "threads",
    params(("object_type" = String, Path, description = "The object type, such as `campaign`")),
    responses(
        (status = 200, body = Watch),
        (status = 403, description = "Only a person can watch"),
        (status = 404, description = "No such team"),
        (status = 422, description = "No such object type"),
    )
)]
pub(super) async fn watch(team: Team, Path(object_type): Path<String>) -> Result<Json<Watch>> {
    let tx = team.begin_as(Role::Viewer).await?;
    let person = person(&tx)?;
    require_object_type(&tx, &object_type).await?;
    let row = store::watch(&tx, person, &object_type).await?;
    tx.commit().await?;
    Ok(Json(row.into()))
}

/// Ends a watch.
#[utoipa::path(
    delete, path = "/watches/{object_type}", tag = "threads",
    params(("object_type" = String, Path, description = "The object type")),
    responses(
        (status = 204, description = "The watch has ended"),
        (status = 403, description = "Only a person can watch"),
        (status = 404, description = "No such team"),
    )
)]
pub(super) async fn unwatch(team: Team, Path(object_type): Path<String>) -> Result<StatusCode> {
    let tx = team.begin_as(Role::Viewer).await?;
    store::unwatch(&tx, person(&tx)?, &object_type).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn following(tx: TeamTx, thread_id: Uuid, row: Option<FollowRow>) -> Result<Json<Following>> {
    let FollowRow {
        following,
        muted,
        read_seq,
    } = row.ok_or_else(|| Error::not_found("thread"))?;
    tx.commit().await?;
    Ok(Json(Following {
        thread_id,
        following,
        muted,
        read_seq,
    }))
}
