//! The imports for the author of a model, a route or a consumer: `use daybook::prelude::*;`.
//!
//! [`Json`], [`Path`] and [`Query`] are Daybook's own extractors, whose errors are problem documents. SeaORM, axum and
//! utoipa are re-exported as crates, so that a slice uses the same versions as Daybook.
//!
//! It can be imported beside `sea_orm::entity::prelude::*`, as an entity does: the names that both have are the same
//! items, except `Json`, which such a file must import by its path if it uses it.

pub use async_trait::async_trait;
pub use axum;
pub use axum::http::{StatusCode, header};
pub use axum::response::IntoResponse;
pub use chrono::{TimeDelta, Utc};
pub use daybook_macros::event_consumer;
pub use daybook_migration::{enable_team_rls, for_each_team};
pub use rust_decimal::Decimal;
pub use sea_orm;
pub use sea_orm::{
    ActiveModelTrait, ActiveValue, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, NotSet, QueryFilter,
    QueryOrder, QuerySelect, Set,
};
pub use serde::{Deserialize, Serialize};
pub use serde_json::json;
pub use utoipa;
pub use utoipa::{IntoParams, ToSchema};
pub use utoipa_axum::router::OpenApiRouter;
pub use utoipa_axum::routes;
pub use uuid::Uuid;

pub use crate::error::{Error, FieldError, Result};
pub use crate::events::{
    ConsumerContext, ConsumerResult, Consumers, CreatedEventData, CustomEventData, DeletedEventData, Event, EventData,
    EventType, FieldChange, FieldChanges, FieldPolicy, FieldValues, ObjectRef, RawEventData, RestoredEventData,
    Sentence, StateChangedEventData, Track, Tracked, UpdatedEventData, capture_values, create_model_with_event,
    create_models_with_events, delete_model_with_event, emit_event, emit_events, make_field_changes,
    restore_model_with_event, transition_model_with_event, update_model_with_event, update_models_with_events,
};
pub use crate::http::{IfMatch, Json, Page, PageParams, Path, Problem, Query, Team, Version};
pub use crate::jobs::{
    ConsumerActions, Enqueue, Job, JobOptions, JobResult, JobSession, SessionSpec, badge, with_job_session,
};
#[cfg(feature = "server")]
pub use crate::server::AppState;
pub use crate::tenancy::{Actor, Context, Database, Person, Role, TeamTx};
pub use crate::wide_events::{Sensitive, WideEvent, WideEventConfig, WideEventLayer};
