//! Routes that read threads and their messages.

#[cfg(any(test, feature = "fuzzing"))]
mod fuzz;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::fuzz::fuzz_filters;
use super::person::person;
use crate::error::{Error, Result};
use crate::events::{EventsParts, ObjectRef};
use crate::http::{Json, Page, PageParams, Path, Query, Team, timestamp};
use crate::threads::grouping::{Item, grouped};
use crate::threads::message::Message;
use crate::threads::store::{self, PageRequest, ThreadRow, Window};

const MAX_MESSAGES: i64 = 200;
const DEFAULT_MESSAGES: i64 = 50;

/// The filters of a list of threads.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ThreadParams {
    /// Only threads of objects of this type.
    object_type: Option<String>,
    /// Only the thread of the object with this id. Requires `object_type`.
    object_id: Option<String>,
    /// Only threads that you follow, have not muted and have not read to the end.
    #[serde(default)]
    #[param(default = false)]
    new: bool,
    #[serde(flatten)]
    #[param(ignore)]
    page: PageParams,
}

/// A thread: the events and comments of an object.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Thread {
    /// Its id.
    id: Uuid,
    /// The object's type.
    object_type: String,
    /// The object's id.
    object_id: String,
    /// The object's latest label.
    object_label: String,
    /// The object that it belongs to, if it belongs to one.
    scope: Option<ObjectRef>,
    /// The position of the newest message, which is the number of messages.
    last_seq: i64,
    /// When the thread was created.
    created_at: DateTime<Utc>,
    /// When the newest message was posted.
    updated_at: DateTime<Utc>,
    /// Whether you follow it.
    following: bool,
    /// Whether you have muted it.
    muted: bool,
    /// The position up to which you have read, by `PUT …/read` or by notifications that you have marked as read.
    read_seq: i64,
    /// The number of messages after `read_seq`.
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

/// Lists threads, newest first. With `object_type` and `object_id` it returns the object's only thread, with `new` the
/// threads with messages that are new to you.
#[utoipa::path(
    get, path = "/threads", tag = "threads",
    params(ThreadParams, PageParams),
    responses(
        (status = 200, body = Page<Thread>),
        (status = 403, description = "`new` is only for people, not for API keys"),
        (status = 404, description = "No such team"),
        (status = 422, description = "A parameter is invalid"),
    )
)]
pub(super) async fn list_threads(team: Team, Query(params): Query<ThreadParams>) -> Result<Json<Page<Thread>>> {
    let (limit, after) = (params.page.limit()?, params.page.after()?);
    let (object_type, object_id) = (params.object_type.as_deref(), params.object_id.as_deref());
    if object_type.is_none() && object_id.is_some() {
        return Err(Error::invalid(
            "object_type",
            "is missing: an object_id alone does not identify an object",
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

/// Gets a thread.
#[utoipa::path(
    get, path = "/threads/{id}", tag = "threads",
    params(("id" = Uuid, Path, description = "The thread")),
    responses(
        (status = 200, body = Thread),
        (status = 404, description = "No such thread"),
    )
)]
pub(super) async fn get_thread(team: Team, Path(id): Path<Uuid>) -> Result<Json<Thread>> {
    let tx = team.read().await?;
    let row = store::get_thread(&tx, tx.context().person_id(), id).await?;
    tx.commit().await?;
    Ok(Json(row.ok_or_else(|| Error::not_found("thread"))?.into()))
}

/// The window of a list of messages, by position (`seq`).
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct MessageParams {
    /// Only messages after this position. For the next page forward, use the `seq` of the last item.
    #[param(minimum = 0)]
    after_seq: Option<i64>,
    /// Only messages before this position. For the next page backward, use the `seq` of the last item.
    #[param(minimum = 1)]
    before_seq: Option<i64>,
    /// `asc` for the oldest first (the default), `desc` for the newest first.
    #[serde(default)]
    #[param(inline)]
    order: Order,
    /// Only the first message that was posted at or after this time (RFC 3339), and the messages after it. To follow a
    /// thread, use `after_seq` instead: a message that is committed later may have an earlier time.
    #[param(value_type = Option<DateTime<Utc>>)]
    since: Option<String>,
    /// Whether consecutive edits by one actor are returned as one item of kind `group`. The window and `limit` still
    /// count messages. If the edge of the page cuts a group, the group has `cut_before` or `cut_after`.
    #[serde(default)]
    #[param(default = false)]
    group: bool,
    /// The maximum number of messages: 1 to 200. Default: 50.
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
        self.since.as_deref().map(|text| timestamp("since", text)).transpose()
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

/// A page of a thread's messages, with your read mark.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ThreadPage {
    /// The messages or groups, in the requested order.
    items: Vec<Item>,
    /// The position of the newest message, which is the number of messages in the thread.
    last_seq: i64,
    /// Whether there are more messages in the window. The next page begins at the last item's `seq`.
    more: bool,
    /// The position up to which you have read.
    read_seq: i64,
    /// The number of messages after `read_seq`.
    new_count: i64,
}

/// Lists a thread's messages: events with their sentences, and comments.
///
/// Positions count from 1 without gaps. To read forward, repeat with `after_seq` and the last item's `seq` while `more`
/// is true; the same request later returns newer messages. To read backward, use `order=desc` and `before_seq`.
///
/// A page ends early, with `more`, if it would have more than 1 MiB. Long values of events are cut (`truncated`);
/// `GET /threads/{id}/messages/{seq}` returns the whole message.
///
/// With `group=true`, two consecutive messages are grouped if both are `UPDATED` events with `changes`, by the same
/// `actor`, with the same `on_behalf_of` and the same `reason`, at most five minutes apart. If a page ends with
/// `cut_after`, the next one begins with `cut_before`: these two items are one group.
#[utoipa::path(
    get, path = "/threads/{id}/messages", tag = "threads",
    params(("id" = Uuid, Path, description = "The thread"), MessageParams),
    responses(
        (status = 200, body = ThreadPage),
        (status = 404, description = "No such thread"),
        (status = 422, description = "A parameter is invalid"),
    )
)]
pub(super) async fn list_messages(
    team: Team,
    Path(id): Path<Uuid>,
    Query(params): Query<MessageParams>,
) -> Result<Json<ThreadPage>> {
    let (window, since) = (params.window()?, params.since()?);
    let tx = team.read().await?;
    let request = PageRequest {
        window,
        since,
        reader: tx.context().person_id(),
        neighbours: params.group,
    };
    let page = store::read_page(&tx, id, request).await?;
    let sentences = EventsParts::of_tx(&tx)?.sentences.clone();
    tx.commit().await?;
    let page = page.ok_or_else(|| Error::not_found("thread"))?;
    let mut items: Vec<_> = if params.group {
        grouped(&sentences, &page.messages, page.low, page.high)
    } else {
        page.messages
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

/// Gets one message, without cutting long values of its event.
#[utoipa::path(
    get, path = "/threads/{id}/messages/{seq}", tag = "threads",
    params(
        ("id" = Uuid, Path, description = "The thread"),
        ("seq" = i64, Path, description = "The message's position"),
    ),
    responses(
        (status = 200, body = Message),
        (status = 404, description = "No such message"),
    )
)]
pub(super) async fn get_message(team: Team, Path((thread_id, seq)): Path<(Uuid, i64)>) -> Result<Json<Message>> {
    let tx = team.read().await?;
    let message = store::get_message(&tx, thread_id, seq).await?;
    tx.commit().await?;
    message.map(Json).ok_or_else(|| Error::not_found("message"))
}
