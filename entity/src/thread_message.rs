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
    /// The position in the thread.
    #[sea_orm(primary_key, auto_increment = false)]
    pub seq: i64,
    /// `system` (about an event) or `comment`.
    pub kind: String,
    /// The event that a system message is about.
    pub event_id: Option<Uuid>,
    /// A comment's author: `user`, `api_key`, `job` or `system`.
    pub author_kind: Option<String>,
    /// The author's id.
    pub author_id: Option<Uuid>,
    /// The author's name when the comment was written.
    pub author_name: Option<String>,
    /// The person for whom a comment's author wrote.
    pub on_behalf_of: Option<Uuid>,
    /// That person's name when the comment was written.
    pub on_behalf_of_name: Option<String>,
    /// A comment's text; null once it is deleted.
    pub body: Option<String>,
    /// When it was posted.
    pub created_at: DateTimeUtc,
    /// When its text last changed.
    pub edited_at: Option<DateTimeUtc>,
    /// When it was deleted.
    pub deleted_at: Option<DateTimeUtc>,
    /// The thread's `revision` at the message's last change; 0 if it has never changed.
    pub revision: i64,
    /// The transaction that wrote or last changed it.
    pub transaction_id: i64,
}

/// No relations: queries join Daybook's tables explicitly.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
