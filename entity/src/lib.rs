//! Daybook's tables as SeaORM entities: one file per table, without behaviour.
//!
//! Entities declare only `id` as SeaORM's key, so that `find_by_id(id)` is easy to use. The database's key is
//! `(team_id, id)`, and row-level security supplies the team. Tables whose key is not an `id` declare the whole key.

use sea_orm::prelude::Uuid;

pub mod api_key;
pub mod consumer_failure;
pub mod event;
pub mod idempotency_key;
pub mod job_action;
pub mod job_session;
pub mod membership;
pub mod notification;
pub mod notification_preference;
pub mod team;
pub mod thread;
pub mod thread_follower;
pub mod thread_message;
pub mod user;
pub mod watch;

/// The reserved team of the service itself, whose members are its operators. Because of it, `team_id` is never null.
pub const SYSTEM_TEAM: Uuid = Uuid::from_u128(0x0000_0000_0000_7000_8000_0000_0000_0001);
