//! Reading threads and their messages.

#[cfg(any(test, feature = "fuzzing"))]
mod fuzz;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::fuzz::fuzz_filters;
use super::person;
use crate::error::{Error, Result};
use crate::events::{ObjectRef, Sentences};
use crate::http::{Json, Page, PageParams, Path, Problem, Query, Team, moment};
use crate::threads::grouping::{Item, grouped};
use crate::threads::message::Message;
use crate::threads::store::{self, Reading, ThreadRow, Window};

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
    /// Only those that you follow, haven't muted and haven't read to the end.
    #[serde(default)]
    #[param(default = false)]
    new: bool,
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
    /// Up to where you have read: by `PUT …/read`, and by the notifications that you have marked as read.
    read_seq: i64,
    /// How many messages are behind what you have read.
    new_count: i64,
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
            new_count: row.last_seq - row.read_seq,
        }
    }
}

/// Threads, the newest first; with `object_type` and `object_id`, the object's one thread; with `new`, those where
/// something is new to you.
#[utoipa::path(
    get, path = "/threads", tag = "threads",
    params(ThreadParams, PageParams),
    responses(
        (status = 200, body = Page<Thread>),
        (status = 403, description = "`new` is for people, and an API key is none", body = Problem),
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
            .filter(|row| !params.new || row.following && !row.muted && row.last_seq > row.read_seq)
            .collect(),
        _ if params.new => store::list_new_threads(&tx, person(&tx)?, object_type, after, limit).await?,
        _ => store::list_threads(&tx, reader, object_type, after, limit).await?,
    };
    tx.commit().await?;
    let page = Page::within_bytes(rows, limit, |row| row.id, |row| Ok(Thread::from(row)))?;
    Ok(Json(page))
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
    /// Only from the first message on that was posted then or later (RFC 3339). For what happened since yesterday;
    /// to follow a thread ask with `after_seq`, since what commits late was posted before.
    #[param(value_type = Option<DateTime<Utc>>)]
    since: Option<String>,
    /// Whether edits of one actor in a row are told as one item, of kind `group`. The window and `limit` count
    /// messages all the same, and a group that the page cuts says so.
    #[serde(default)]
    #[param(default = false)]
    group: bool,
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
    fn since(&self) -> Result<Option<DateTime<Utc>>> {
        self.since.as_deref().map(|text| moment("since", text)).transpose()
    }

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

/// A part of a thread, and what of the thread is new to you.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ThreadPage {
    /// In the order that was asked for.
    items: Vec<Item>,
    /// The newest message's place: how many messages the thread has.
    last_seq: i64,
    /// Whether the window goes on after these: ask again from the last item's `seq`.
    more: bool,
    /// Up to where you have read.
    read_seq: i64,
    /// How many messages are behind that.
    new_count: i64,
}

/// A thread's messages: events in words, and comments.
///
/// Places count from 1 without gaps. Forward, ask with `after_seq` and the last item's `seq` while `more` is
/// true, and later again for what came meanwhile; backward, with `order=desc` and `before_seq`.
///
/// A page ends early, with `more`, where it would have more than 1 MiB. Values of events that are long are cut
/// (`truncated`): `GET /threads/{id}/messages/{seq}` has a message whole.
///
/// With `group=true`, two neighbours are told as one if both tell of an `UPDATED` event with `changes`, by the same
/// `actor`, `on_behalf_of` the same, for the same `reason`, at most five minutes apart. Where one page ends with
/// `cut_after`, the next one begins with `cut_before`: these two are one group.
#[utoipa::path(
    get, path = "/threads/{id}/messages", tag = "threads",
    params(("id" = Uuid, Path, description = "The thread"), MessageParams),
    responses(
        (status = 200, body = ThreadPage),
        (status = 404, description = "No such thread", body = Problem),
        (status = 422, description = "A parameter is wrong", body = Problem),
    )
)]
pub(super) async fn list_messages(
    team: Team,
    Path(id): Path<Uuid>,
    Query(params): Query<MessageParams>,
) -> Result<Json<ThreadPage>> {
    let (window, since) = (params.window()?, params.since()?);
    let tx = team.read().await?;
    let reading = Reading {
        window,
        since,
        reader: tx.context().person_id(),
        neighbours: params.group,
    };
    let page = store::read_page(&tx, id, reading).await?;
    let sentences = tx.extension::<Sentences>().cloned().unwrap_or_default();
    tx.commit().await?;
    let page = page.ok_or_else(|| Error::not_found("thread"))?;
    let mut items: Vec<_> = if params.group {
        grouped(&sentences, &page.told, page.low, page.high)
    } else {
        page.told
            .into_iter()
            .map(|(message, _)| Item::Message(Box::new(message)))
            .collect()
    };
    if matches!(window, Window::Backward { .. }) {
        items = items.into_iter().rev().map(Item::backward).collect();
    }
    Ok(Json(ThreadPage {
        items,
        last_seq: page.last_seq,
        more: page.more,
        read_seq: page.read_seq,
        new_count: page.last_seq - page.read_seq,
    }))
}

/// One message, whole: with every value of its event, however long.
#[utoipa::path(
    get, path = "/threads/{id}/messages/{seq}", tag = "threads",
    params(
        ("id" = Uuid, Path, description = "The thread"),
        ("seq" = i64, Path, description = "The message's place"),
    ),
    responses(
        (status = 200, body = Message),
        (status = 404, description = "No such message", body = Problem),
    )
)]
pub(super) async fn get_message(team: Team, Path((thread_id, seq)): Path<(Uuid, i64)>) -> Result<Json<Message>> {
    let tx = team.read().await?;
    let message = store::get_message(&tx, thread_id, seq).await?;
    tx.commit().await?;
    message.map(Json).ok_or_else(|| Error::not_found("message"))
}
