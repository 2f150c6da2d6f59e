//! What a person wants to hear of: follows, mutes and watches. Each is one's own, so a viewer may set them.

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::person;
use crate::error::{Error, Result};
use crate::http::{Json, Page, PageParams, Path, Problem, Query, Team};
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
        (status = 422, description = "Not the name of a type", body = Problem),
    )
)]
pub(super) async fn watch(team: Team, Path(object_type): Path<String>) -> Result<Json<Watch>> {
    if !is_object_type(&object_type) {
        return Err(Error::invalid(
            "object_type",
            "must be 1 to 63 of a-z, 0-9 or '_', beginning with a letter",
        ));
    }
    let tx = team.begin_as(Role::Viewer).await?;
    let row = store::watch(&tx, person(&tx)?, &object_type).await?;
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

/// As the check on the column.
fn is_object_type(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
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
