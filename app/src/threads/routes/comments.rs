//! Routes that post, edit and delete comments.

use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::http::{IfMatch, Json, Path, Team};
use crate::notifications::{notify_of_comment, notify_of_mention, retract_comment};
use crate::tenancy::TeamTx;
use crate::threads::mentions::handles;
use crate::threads::message::{Author, Content, Message, comment_version};
use crate::threads::store::{self, CommentRow, NewComment};

const MAX_BODY_CHARS: usize = 20_000;

/// A comment's text.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CommentBody {
    /// 1 to 20,000 characters. `@handle` mentions a member.
    #[schema(min_length = 1, max_length = 20_000)]
    body: String,
}

impl CommentBody {
    fn checked(self) -> Result<String> {
        if self.body.trim().is_empty() {
            return Err(Error::invalid("body", "must not be empty"));
        }
        let length = self.body.chars().count();
        if length > MAX_BODY_CHARS {
            return Err(Error::invalid(
                "body",
                format!("must be at most {MAX_BODY_CHARS} characters, not {length}"),
            ));
        }
        Ok(self.body)
    }
}

/// Posts a comment to a thread.
///
/// You and the members that the text mentions by `@handle` become followers of the thread, unless they have unfollowed
/// it.
#[utoipa::path(
    post, path = "/threads/{id}/messages", tag = "threads",
    params(("id" = Uuid, Path, description = "The thread")),
    request_body = CommentBody,
    responses(
        (status = 201, body = Message, headers(("ETag" = String, description = "For If-Match"))),
        (status = 403, description = "A viewer can't comment"),
        (status = 404, description = "No such thread"),
        (status = 422, description = "The body is invalid"),
    )
)]
pub(super) async fn post_comment(
    team: Team,
    Path(thread_id): Path<Uuid>,
    Json(body): Json<CommentBody>,
) -> Result<impl IntoResponse> {
    let body = body.checked()?;
    let handles = handles(&body);
    let comment = NewComment {
        body: &body,
        handles: &handles,
    };
    let (posted, author, on_behalf_of) = team
        .write(async |tx| {
            let posted = store::post_comment(tx, thread_id, &comment)
                .await?
                .ok_or_else(|| Error::not_found("thread"))?;
            notify_of_comment(tx, thread_id, posted.seq, &posted.mentioned).await?;
            let context = tx.context();
            Ok((
                posted,
                Author::from(&context.actor),
                context.on_behalf_of.as_ref().map(Author::from),
            ))
        })
        .await?;
    let version = comment_version(posted.seq, None, None);
    let content = Content::Comment {
        author,
        on_behalf_of,
        body: Some(body.clone()),
        edited_at: None,
        deleted_at: None,
        etag: version.to_string(),
    };
    let message = Message {
        seq: posted.seq,
        created_at: posted.created_at,
        content,
    };
    Ok((StatusCode::CREATED, version, Json(message)))
}

/// Edits your own comment.
///
/// Members whom the comment did not mention before are notified. Nobody is notified of the edit itself.
#[utoipa::path(
    patch, path = "/threads/{id}/messages/{seq}", tag = "threads",
    params(
        ("id" = Uuid, Path, description = "The thread"),
        ("seq" = i64, Path, description = "The message's position"),
        ("If-Match" = String, Header, description = "The comment's `etag`, weak (W/) or not, or *"),
    ),
    request_body = CommentBody,
    responses(
        (status = 200, body = Message, headers(("ETag" = String, description = "For If-Match"))),
        (status = 403, description = "Not your own comment"),
        (status = 404, description = "No such message"),
        (status = 409, description = "Not a comment, or deleted"),
        (status = 412, description = "The comment has changed since"),
        (status = 422, description = "The body is invalid"),
        (status = 428, description = "If-Match is missing"),
    )
)]
pub(super) async fn edit_comment(
    team: Team,
    Path((thread_id, seq)): Path<(Uuid, i64)>,
    if_match: IfMatch,
    Json(body): Json<CommentBody>,
) -> Result<impl IntoResponse> {
    let body = body.checked()?;
    let tx = team.begin().await?;
    let comment = own_comment(&tx, thread_id, seq).await?;
    if_match.check(&comment_version(seq, comment.edited_at, comment.deleted_at))?;
    if comment.deleted_at.is_some() {
        return Err(Error::conflict(
            "comment-deleted",
            "this comment was deleted and can't be edited",
        ));
    }
    let edited_at = store::edit_comment(&tx, thread_id, seq, &body).await?;
    let (mentions, before) = (handles(&body), handles(comment.body.as_deref().unwrap_or_default()));
    if mentions.iter().any(|handle| !before.contains(handle)) {
        let mentioned = store::mention(&tx, thread_id, seq, &mentions, &before).await?;
        notify_of_mention(&tx, thread_id, seq, &mentioned).await?;
    }
    let author = Author::from(&tx.context().actor);
    tx.commit().await?;
    let version = comment_version(seq, edited_at, None);
    let author = Author {
        name: comment.author_name.unwrap_or(author.name),
        ..author
    };
    let content = Content::Comment {
        author,
        on_behalf_of: comment.on_behalf_of.as_ref().map(Author::from),
        body: Some(body),
        edited_at,
        deleted_at: None,
        etag: version.to_string(),
    };
    Ok((
        version,
        Json(Message {
            seq,
            created_at: comment.created_at,
            content,
        }),
    ))
}

/// Deletes your own comment. Its text can't be restored; its position in the thread stays.
///
/// Unread notifications no longer count it. A notification that counts nothing else is marked as read.
#[utoipa::path(
    delete, path = "/threads/{id}/messages/{seq}", tag = "threads",
    params(
        ("id" = Uuid, Path, description = "The thread"),
        ("seq" = i64, Path, description = "The message's position"),
        ("If-Match" = String, Header, description = "The comment's `etag`, weak (W/) or not, or *"),
    ),
    responses(
        (status = 204, description = "Deleted"),
        (status = 403, description = "Not your own comment"),
        (status = 404, description = "No such message"),
        (status = 409, description = "Not a comment"),
        (status = 412, description = "The comment has changed since"),
        (status = 428, description = "If-Match is missing"),
    )
)]
pub(super) async fn delete_comment(
    team: Team,
    Path((thread_id, seq)): Path<(Uuid, i64)>,
    if_match: IfMatch,
) -> Result<StatusCode> {
    let tx = team.begin().await?;
    let comment = own_comment(&tx, thread_id, seq).await?;
    // A deleted comment needs no check of If-Match: no unseen change can be lost.
    if comment.deleted_at.is_none() {
        if_match.check(&comment_version(seq, comment.edited_at, None))?;
        store::delete_comment(&tx, thread_id, seq).await?;
        retract_comment(&tx, thread_id, seq).await?;
        tx.commit().await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Returns the locked comment, if the current actor is its author.
async fn own_comment(tx: &TeamTx, thread_id: Uuid, seq: i64) -> Result<CommentRow> {
    let comment = store::lock_comment(tx, thread_id, seq)
        .await?
        .ok_or_else(|| Error::not_found("message"))?;
    if !comment.is_comment {
        return Err(Error::conflict(
            "not-a-comment",
            "this message is an event; only comments can be changed",
        ));
    }
    let actor = &tx.context().actor;
    if comment.author_kind.as_deref() != Some(actor.kind()) || comment.author_id != actor.id() {
        return Err(Error::Forbidden {
            detail: "only its author can change this comment".to_owned(),
        });
    }
    Ok(comment)
}
