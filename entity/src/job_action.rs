//! One recorded step of a session.

use sea_orm::entity::prelude::*;
use serde::Serialize;

/// One recorded step of a session.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "job_actions")]
pub struct Model {
    /// The team.
    #[sea_orm(primary_key, auto_increment = false)]
    pub team_id: Uuid,
    /// The session.
    #[sea_orm(primary_key, auto_increment = false)]
    pub session_id: Uuid,
    /// The position in the session, from 1, without gaps.
    #[sea_orm(primary_key, auto_increment = false)]
    pub seq: i64,
    /// When the step was done.
    pub at: DateTimeUtc,
    /// The kind of action, as the job names it.
    pub action_type: String,
    /// The sentence that describes the step, as it was when the step was done.
    pub sentence: String,
    /// The sentence in parts, if it has badges.
    pub parts: Option<Json>,
    /// The complete payload.
    pub payload: Json,
    /// The number of the transaction that wrote the row.
    pub transaction_id: i64,
}

/// No relations: queries join Daybook's tables explicitly.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
