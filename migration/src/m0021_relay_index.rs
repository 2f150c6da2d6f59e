//! Builds the index by which the relay reads job requests in their order. Without it each batch reads all requests that
//! wait.
//!
//! The step runs outside a transaction and builds the index beside the service's writes; see [`crate::online`].

use sea_orm_migration::prelude::*;

use crate::online::{Index, build_index, drop_index};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const REQUESTS_IN_ORDER: Index = Index {
    name: "job_requests_relay_idx",
    table: "job_requests",
    keys: "(id, team_id) WHERE refused IS NULL",
};

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(false)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        build_index(manager.get_connection(), &REQUESTS_IN_ORDER).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_index(manager.get_connection(), REQUESTS_IN_ORDER.name).await
    }
}
