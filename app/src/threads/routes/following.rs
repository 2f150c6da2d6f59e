//! What a person wants to hear of: follows, mutes and watches. Each is one's own, so a viewer may set them.

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::person;
use crate::error::{Error, Result};
use crate::http::{Json, Page, PageParams, Path, Problem, Query, Team};
use crate::notifications::{read_up_to, require_object_type};
use crate::tenancy::{Role, TeamTx};
use crate::threads::store::{self, FollowRow, WatchRow};

/// How you stand to a thread.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Following {
    /// The thread.
    thread_id: Uuid,
    /// Whether you follow it: you are told of every message.
    following: bool,
    /// Whether you have muted it: you are told of nothing.
    muted: bool,
    /// Up to where you have read.
    read_seq: i64,
}

/// "Tell me of every new one."
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Watch {
    /// The type of objects.
    #[schema(example = "campaign")]
    object_type: String,
    /// Since when.
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
        (status = 403, description = "Only a person can follow", body = Problem),
        (status = 404, description = "No such thread", body = Problem),
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
        (status = 403, description = "Only a person can follow", body = Problem),
        (status = 404, description = "No such thread", body = Problem),
    )
)]
pub(super) async fn unfollow(team: Team, Path(thread_id): Path<Uuid>) -> Result<Json<Following>> {
    let tx = team.begin_as(Role::Viewer).await?;
    let row = store::set_following(&tx, thread_id, person(&tx)?, false).await?;
    following(tx, thread_id, row).await
}

/// Mutes a thread: you are told of nothing in it, not even of a mention.
#[utoipa::path(
    put, path = "/threads/{id}/mute", tag = "threads",
    params(("id" = Uuid, Path, description = "The thread")),
    responses(
        (status = 200, body = Following),
        (status = 403, description = "Only a person can mute", body = Problem),
        (status = 404, description = "No such thread", body = Problem),
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
        (status = 403, description = "Only a person can mute", body = Problem),
        (status = 404, description = "No such thread", body = Problem),
    )
)]
pub(super) async fn unmute(team: Team, Path(thread_id): Path<Uuid>) -> Result<Json<Following>> {
    let tx = team.begin_as(Role::Viewer).await?;
    let row = store::set_muted(&tx, thread_id, person(&tx)?, false).await?;
    following(tx, thread_id, row).await
}

/// Up to where you have read.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Read {
    /// The place of the last message that you have read; 0 for none. At most the thread's `last_seq`.
    #[schema(minimum = 0)]
    seq: i64,
}

/// How much of a thread you have read.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReadMark {
    /// The thread.
    thread_id: Uuid,
    /// Up to where you have read.
    read_seq: i64,
    /// The newest message's place.
    last_seq: i64,
    /// How many messages are behind what you have read.
    new_count: i64,
}

/// Says up to where you have read a thread.
///
/// The mark moves forward only: a place before it leaves it where it is. Your notification of the thread is read,
/// too, if it tells of nothing behind the mark, and else counts what is behind it. It doesn't make you a follower.
#[utoipa::path(
    put, path = "/threads/{id}/read", tag = "threads",
    params(("id" = Uuid, Path, description = "The thread")),
    request_body = Read,
    responses(
        (status = 200, body = ReadMark),
        (status = 403, description = "Only a person can read in this sense", body = Problem),
        (status = 404, description = "No such thread", body = Problem),
        (status = 422, description = "There is no such place in it", body = Problem),
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
                    format!("must be at most {}, the place of the newest message", mark.last_seq),
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

/// Your watches, by object type.
#[utoipa::path(
    get, path = "/watches", tag = "threads",
    params(PageParams),
    responses(
        (status = 200, body = Page<Watch>),
        (status = 403, description = "Only a person can watch", body = Problem),
        (status = 404, description = "No such team", body = Problem),
        (status = 422, description = "A parameter is wrong", body = Problem),
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

/// Watches a type of objects: you are told of every new one.
#[utoipa::path(
    put, path = "/watches/{object_type}", tag = "threads",
    params(("object_type" = String, Path, description = "The type of objects: `campaign`")),
    responses(
        (status = 200, body = Watch),
        (status = 403, description = "Only a person can watch", body = Problem),
        (status = 404, description = "No such team", body = Problem),
        (status = 422, description = "No such type of objects", body = Problem),
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
    params(("object_type" = String, Path, description = "The type of objects")),
    responses(
        (status = 204, description = "Not watched any more"),
        (status = 403, description = "Only a person can watch", body = Problem),
        (status = 404, description = "No such team", body = Problem),
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
