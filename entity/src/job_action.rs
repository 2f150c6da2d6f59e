//! One thing that a session did.

use sea_orm::entity::prelude::*;
use serde::Serialize;

/// One thing that a session did.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "job_actions")]
pub struct Model {
    /// The team.
    #[sea_orm(primary_key, auto_increment = false)]
    pub team_id: Uuid,
    /// The session.
    #[sea_orm(primary_key, auto_increment = false)]
    pub session_id: Uuid,
    /// Its place in the session, from 1 on, without gaps.
    #[sea_orm(primary_key, auto_increment = false)]
    pub seq: i64,
    /// When it was done.
    pub at: DateTimeUtc,
    /// Which of the job's kinds of action.
    pub action_type: String,
    /// What was done, as people read it, in the words of that time.
    pub sentence: String,
    /// The same in pieces, if it has badges.
    pub parts: Option<Json>,
    /// All of it.
    pub payload: Json,
    /// The transaction that wrote it.
    pub transaction_id: i64,
}

/// Daybook's tables are joined by hand.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
