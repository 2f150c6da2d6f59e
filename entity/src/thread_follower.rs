//! A person who follows a thread, has chosen not to follow it, or has only read it.

use sea_orm::entity::prelude::*;
use serde::Serialize;

/// A person who follows a thread, has chosen not to follow it, or has only read it.
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
    /// False if the person stopped following by hand, or has only read. Automatic following sets it only in the second
    /// case.
    pub following: bool,
    /// True: the person gets no notifications of the thread.
    pub muted: bool,
    /// `creator`, `commenter`, `mentioned`, `manual`, or `reader` for a person who has only read the thread.
    pub reason: String,
    /// The position up to which the person has read.
    pub read_seq: i64,
    /// When the row was created.
    pub created_at: DateTimeUtc,
}

/// No relations: queries join Daybook's tables explicitly.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
