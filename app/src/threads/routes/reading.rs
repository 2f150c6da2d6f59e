//! Reading threads and their messages.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::events::ObjectRef;
use crate::http::{Json, Page, PageParams, Path, Problem, Query, Team};
use crate::threads::message::MessagePage;
use crate::threads::store::{self, ThreadRow, Window};

const MAX_MESSAGES: i64 = 200;
const DEFAULT_MESSAGES: i64 = 50;

/// Which threads.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ThreadParams {
    /// Only of objects of this type.
    object_type: Option<String>,
    /// Only of the object with this id; needs `object_type`.
    object_id: Option<String>,
    #[serde(flatten)]
    #[param(ignore)]
    page: PageParams,
}

/// A thread: where an object's events and people's comments are read.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Thread {
    /// Its id.
    id: Uuid,
    /// The object's type.
    object_type: String,
    /// The object's id.
    object_id: String,
    /// What the object was last called.
    object_label: String,
    /// The object that it belongs to, if it belongs to one.
    scope: Option<ObjectRef>,
    /// The newest message's place: how many messages there are.
    last_seq: i64,
    /// When it was made.
    created_at: DateTime<Utc>,
    /// When the newest message came.
    updated_at: DateTime<Utc>,
    /// Whether you follow it.
    following: bool,
    /// Whether you have muted it.
    muted: bool,
    /// Up to where you have read, by the notifications that you have marked as read.
    read_seq: i64,
}

impl From<ThreadRow> for Thread {
    fn from(row: ThreadRow) -> Self {
        Self {
            id: row.id,
            object_type: row.object.object_type,
            object_id: row.object.id,
            object_label: row.object_label,
            scope: row.scope,
            last_seq: row.last_seq,
            created_at: row.created_at,
            updated_at: row.updated_at,
            following: row.following,
            muted: row.muted,
            read_seq: row.read_seq,
        }
    }
}

/// Threads, the newest first; with `object_type` and `object_id`, the object's one thread.
#[utoipa::path(
    get, path = "/threads", tag = "threads",
    params(ThreadParams, PageParams),
    responses(
        (status = 200, body = Page<Thread>),
        (status = 404, description = "No such team", body = Problem),
        (status = 422, description = "A parameter is wrong", body = Problem),
    )
)]
pub(super) async fn list_threads(team: Team, Query(params): Query<ThreadParams>) -> Result<Json<Page<Thread>>> {
    let (limit, after) = (params.page.limit()?, params.page.after()?);
    let (object_type, object_id) = (params.object_type.as_deref(), params.object_id.as_deref());
    if object_type.is_none() && object_id.is_some() {
        return Err(Error::invalid(
            "object_type",
            "is missing: an object_id alone doesn't say which object",
        ));
    }
    let tx = team.read().await?;
    let reader = tx.context().person_id();
    let rows = match (object_type, object_id) {
        (Some(object_type), Some(id)) => store::find_thread(&tx, reader, object_type, id)
            .await?
            .into_iter()
            .collect(),
        _ => store::list_threads(&tx, reader, object_type, after, limit).await?,
    };
    tx.commit().await?;
    Ok(Json(Page::of(rows, limit, |row| row.id)?.map(Thread::from)))
}

/// One thread.
#[utoipa::path(
    get, path = "/threads/{id}", tag = "threads",
    params(("id" = Uuid, Path, description = "The thread")),
    responses(
        (status = 200, body = Thread),
        (status = 404, description = "No such thread", body = Problem),
    )
)]
pub(super) async fn get_thread(team: Team, Path(id): Path<Uuid>) -> Result<Json<Thread>> {
    let tx = team.read().await?;
    let row = store::get_thread(&tx, tx.context().person_id(), id).await?;
    tx.commit().await?;
    Ok(Json(row.ok_or_else(|| Error::not_found("thread"))?.into()))
}

/// Which messages, by their places (`seq`).
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct MessageParams {
    /// Only messages above this place. To go on forward, the `seq` of the last item.
    #[param(minimum = 0)]
    after_seq: Option<i64>,
    /// Only messages below this place. To go on backward, the `seq` of the last item.
    #[param(minimum = 1)]
    before_seq: Option<i64>,
    /// `asc`, the oldest first, if not given; `desc`, the newest first.
    #[serde(default)]
    #[param(inline)]
    order: Order,
    /// How many messages at most: 1 to 200, 50 if not given.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = MessageOrder)]
pub(super) enum Order {
    #[default]
    Asc,
    Desc,
}

impl MessageParams {
    fn window(&self) -> Result<Window> {
        let limit = self.limit.unwrap_or(DEFAULT_MESSAGES);
        if !(1..=MAX_MESSAGES).contains(&limit) {
            return Err(Error::invalid(
                "limit",
                format!("must be a whole number from 1 to {MAX_MESSAGES}"),
            ));
        }
        let after = self.after_seq.unwrap_or(0);
        let before = self.before_seq.unwrap_or(i64::MAX);
        if after < 0 {
            return Err(Error::invalid("after_seq", "must be 0 or more: messages count from 1"));
        }
        if before < 1 {
            return Err(Error::invalid("before_seq", "must be 1 or more: messages count from 1"));
        }
        Ok(match self.order {
            Order::Asc => Window::Forward { after, before, limit },
            Order::Desc => Window::Backward { after, before, limit },
        })
    }
}

/// A thread's messages: events in words, and comments.
///
/// Places count from 1 without gaps. Forward, ask with `after_seq` and the last item's `seq` while `more` is
/// true, and later again for what came meanwhile; backward, with `order=desc` and `before_seq`.
#[utoipa::path(
    get, path = "/threads/{id}/messages", tag = "threads",
    params(("id" = Uuid, Path, description = "The thread"), MessageParams),
    responses(
        (status = 200, body = MessagePage),
        (status = 404, description = "No such thread", body = Problem),
        (status = 422, description = "A parameter is wrong", body = Problem),
    )
)]
pub(super) async fn list_messages(
    team: Team,
    Path(id): Path<Uuid>,
    Query(params): Query<MessageParams>,
) -> Result<Json<MessagePage>> {
    let window = params.window()?;
    let tx = team.read().await?;
    let page = store::read_messages(&tx, id, window).await?;
    tx.commit().await?;
    page.map(Json).ok_or_else(|| Error::not_found("thread"))
}
