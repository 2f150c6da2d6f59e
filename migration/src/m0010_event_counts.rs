//! The number of events of each kind per day, which a durable consumer counts.

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
                // The system is an actor without an id. Its counts have the nil id, because a key can't have nulls.
                "CREATE TABLE event_counts (
                    team_id uuid NOT NULL,
                    day date NOT NULL,
                    object_type text NOT NULL,
                    event_type text NOT NULL,
                    actor_kind text NOT NULL,
                    actor_id uuid NOT NULL,
                    events bigint NOT NULL CHECK (events > 0),
                    PRIMARY KEY (team_id, day, object_type, event_type, actor_kind, actor_id)
                );",
            )
            .await?;
        enable_team_rls(manager, "event_counts").await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .get_connection()
            .execute_unprepared("DROP TABLE event_counts;")
            .await?;
        Ok(())
    }
}
