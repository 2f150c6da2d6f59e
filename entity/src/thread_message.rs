//! A message of a thread. Its `seq` counts from 1 without gaps, in commit order.

use sea_orm::entity::prelude::*;
use serde::Serialize;

/// A message of a thread. Its `seq` counts from 1 without gaps, in commit order.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "thread_messages")]
pub struct Model {
    /// The team.
    #[sea_orm(primary_key, auto_increment = false)]
    pub team_id: Uuid,
    /// The thread.
    #[sea_orm(primary_key, auto_increment = false)]
    pub thread_id: Uuid,
    /// The place in the thread.
    #[sea_orm(primary_key, auto_increment = false)]
    pub seq: i64,
    /// `system` (tells of an event) or `comment`.
    pub kind: String,
    /// The event that a system message tells of.
    pub event_id: Option<Uuid>,
    /// A comment's author: `user`, `api_key`, `job` or `system`.
    pub author_kind: Option<String>,
    /// The author's row.
    pub author_id: Option<Uuid>,
    /// What the author was called at that moment.
    pub author_name: Option<String>,
    /// The person in whose name a comment's author wrote.
    pub on_behalf_of: Option<Uuid>,
    /// What that person was called at that moment.
    pub on_behalf_of_name: Option<String>,
    /// A comment's text; none once it is deleted.
    pub body: Option<String>,
    /// When it was posted.
    pub created_at: DateTimeUtc,
    /// When its text last changed.
    pub edited_at: Option<DateTimeUtc>,
    /// When it was taken back.
    pub deleted_at: Option<DateTimeUtc>,
    /// The thread's `revision` with its last change; 0 for one that never changed.
    pub revision: i64,
    /// The transaction that wrote or last changed it.
    pub transaction_id: i64,
}

/// Daybook's tables are joined by hand.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
