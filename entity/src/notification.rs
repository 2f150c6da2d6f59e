//! A notification of a person: one row per thread, which counts messages while it is unread.

use sea_orm::entity::prelude::*;
use serde::Serialize;

/// A notification of a person: one row per thread, which counts messages while it is unread.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "notifications")]
pub struct Model {
    /// The id, a UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The team.
    pub team_id: Uuid,
    /// The person.
    pub user_id: Uuid,
    /// The thread.
    pub thread_id: Uuid,
    /// `follower`, `watcher` or `mentioned`.
    pub reason: String,
    /// The newest event; null if the newest message is a comment.
    pub event_id: Option<Uuid>,
    /// The newest message's position in the thread.
    pub seq: i64,
    /// The number of messages since the person last read the notification.
    pub unread_count: i32,
    /// Increases with every change of this row. Of two states, the one with the higher version is newer.
    pub version: i64,
    /// When it was read; null while it is unread.
    pub read_at: Option<DateTimeUtc>,
    /// When the thread first needed attention.
    pub created_at: DateTimeUtc,
    /// When the thread last needed attention.
    pub updated_at: DateTimeUtc,
    /// The transaction that last changed it.
    pub transaction_id: i64,
}

/// No relations: queries join Daybook's tables explicitly.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
