//! A person who follows a thread, has said that they don't want to, or has only read it.

use sea_orm::entity::prelude::*;
use serde::Serialize;

/// A person who follows a thread, has said that they don't want to, or has only read it.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "thread_followers")]
pub struct Model {
    /// The team.
    #[sea_orm(primary_key, auto_increment = false)]
    pub team_id: Uuid,
    /// The thread.
    #[sea_orm(primary_key, auto_increment = false)]
    pub thread_id: Uuid,
    /// The person.
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: Uuid,
    /// False once unfollowed by hand: what would follow by itself leaves it so, unless they have only read.
    pub following: bool,
    /// True: no notification, whatever happens.
    pub muted: bool,
    /// `creator`, `commenter`, `mentioned`, `manual`, or `reader` for who has only read so far.
    pub reason: String,
    /// Up to where they have read.
    pub read_seq: i64,
    /// Since when.
    pub created_at: DateTimeUtc,
}

/// Daybook's tables are joined by hand.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
