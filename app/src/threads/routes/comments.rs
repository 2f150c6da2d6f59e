//! People's comments.

use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::http::{IfMatch, Json, Path, Problem, Team};
use crate::notifications::{notify_of_comment, notify_of_mention, retract_comment};
use crate::tenancy::TeamTx;
use crate::threads::mentions::handles;
use crate::threads::message::{Author, Content, Message, comment_version};
use crate::threads::store::{self, CommentRow, NewComment};

const MAX_BODY: usize = 20_000;

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
            return Err(Error::invalid("body", "must say something"));
        }
        let length = self.body.chars().count();
        if length > MAX_BODY {
            return Err(Error::invalid(
                "body",
                format!("must be at most {MAX_BODY} characters, not {length}"),
            ));
        }
        Ok(self.body)
    }
}

/// Comments on a thread.
///
/// You follow the thread from then on, as do the members that the text mentions by `@handle`, unless they have
/// unfollowed it before.
#[utoipa::path(
    post, path = "/threads/{id}/messages", tag = "threads",
    params(("id" = Uuid, Path, description = "The thread")),
    request_body = CommentBody,
    responses(
        (status = 201, body = Message, headers(("ETag" = String, description = "For If-Match"))),
        (status = 403, description = "A viewer can't comment", body = Problem),
        (status = 404, description = "No such thread", body = Problem),
        (status = 422, description = "The body is wrong", body = Problem),
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

/// Changes a comment of your own.
///
/// Members whom the new text mentions and no text of the comment before it has mentioned are notified; nobody is
/// notified of the change itself.
#[utoipa::path(
    patch, path = "/threads/{id}/messages/{seq}", tag = "threads",
    params(
        ("id" = Uuid, Path, description = "The thread"),
        ("seq" = i64, Path, description = "The message's place"),
        ("If-Match" = String, Header, description = "The comment's `etag`, weak (W/) or not, or *"),
    ),
    request_body = CommentBody,
    responses(
        (status = 200, body = Message, headers(("ETag" = String, description = "For If-Match"))),
        (status = 403, description = "Somebody else's comment", body = Problem),
        (status = 404, description = "No such message", body = Problem),
        (status = 409, description = "Not a comment, or taken back", body = Problem),
        (status = 412, description = "It has changed since", body = Problem),
        (status = 422, description = "The body is wrong", body = Problem),
        (status = 428, description = "If-Match is missing", body = Problem),
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
            "this comment was taken back and can't be changed",
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

/// Takes a comment of your own back. Its text is gone for good; its place in the thread stays.
///
/// Unread notifications no longer count it; one that counted nothing else is read.
#[utoipa::path(
    delete, path = "/threads/{id}/messages/{seq}", tag = "threads",
    params(
        ("id" = Uuid, Path, description = "The thread"),
        ("seq" = i64, Path, description = "The message's place"),
        ("If-Match" = String, Header, description = "The comment's `etag`, weak (W/) or not, or *"),
    ),
    responses(
        (status = 204, description = "Taken back"),
        (status = 403, description = "Somebody else's comment", body = Problem),
        (status = 404, description = "No such message", body = Problem),
        (status = 409, description = "Not a comment", body = Problem),
        (status = 412, description = "It has changed since", body = Problem),
        (status = 428, description = "If-Match is missing", body = Problem),
    )
)]
pub(super) async fn delete_comment(
    team: Team,
    Path((thread_id, seq)): Path<(Uuid, i64)>,
    if_match: IfMatch,
) -> Result<StatusCode> {
    let tx = team.begin().await?;
    let comment = own_comment(&tx, thread_id, seq).await?;
    // Taken back already: there is nothing left that somebody could take back unseen.
    if comment.deleted_at.is_none() {
        if_match.check(&comment_version(seq, comment.edited_at, None))?;
        store::delete_comment(&tx, thread_id, seq).await?;
        retract_comment(&tx, thread_id, seq).await?;
        tx.commit().await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// The comment, locked, if it is the actor's own.
async fn own_comment(tx: &TeamTx, thread_id: Uuid, seq: i64) -> Result<CommentRow> {
    let comment = store::lock_comment(tx, thread_id, seq)
        .await?
        .ok_or_else(|| Error::not_found("message"))?;
    if !comment.is_comment {
        return Err(Error::conflict(
            "not-a-comment",
            "this message tells of an event, and events are never changed; only comments are",
        ));
    }
    let actor = &tx.context().actor;
    if comment.author_kind.as_deref() != Some(actor.kind()) || comment.author_id != actor.id() {
        return Err(Error::Forbidden {
            detail: "this is somebody else's comment; only its author can change it".to_owned(),
        });
    }
    Ok(comment)
}
