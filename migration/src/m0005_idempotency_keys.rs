//! Requests that must not be executed twice: the key commits with the work, and the response is stored right after.

use sea_orm_migration::prelude::*;

use crate::rls::enable_team_rls;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .get_connection()
            .execute_unprepared(
                "CREATE TABLE idempotency_keys (
                    team_id uuid NOT NULL,
                    actor text NOT NULL,
                    key text NOT NULL,
                    request_sha256 bytea NOT NULL,
                    status smallint,
                    content_type text,
                    etag text,
                    location text,
                    body bytea,
                    correlation_id uuid NOT NULL,
                    created_at timestamptz NOT NULL DEFAULT now(),
                    PRIMARY KEY (team_id, actor, key)
                );
                CREATE INDEX idempotency_keys_age_idx ON idempotency_keys (team_id, created_at);",
            )
            .await?;
        enable_team_rls(manager, "idempotency_keys").await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .get_connection()
            .execute_unprepared("DROP TABLE idempotency_keys")
            .await?;
        Ok(())
    }
}
