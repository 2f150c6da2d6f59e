//! Notifications: one row per person and thread, which counts messages while it is unread.

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
                "CREATE TABLE notifications (
                    team_id uuid NOT NULL,
                    id uuid NOT NULL,
                    user_id uuid NOT NULL,
                    thread_id uuid NOT NULL,
                    reason text NOT NULL CHECK (reason IN ('follower', 'watcher', 'mentioned')),
                    event_id uuid,
                    seq bigint NOT NULL,
                    unread_count int NOT NULL,
                    version bigint NOT NULL DEFAULT 1,
                    read_at timestamptz,
                    created_at timestamptz NOT NULL DEFAULT now(),
                    updated_at timestamptz NOT NULL DEFAULT now(),
                    PRIMARY KEY (team_id, id),
                    CONSTRAINT notifications_recipient_key UNIQUE (team_id, user_id, thread_id),
                    CONSTRAINT notifications_count CHECK ((read_at IS NULL) = (unread_count > 0)),
                    FOREIGN KEY (team_id, thread_id) REFERENCES threads (team_id, id),
                    FOREIGN KEY (team_id, user_id) REFERENCES memberships (team_id, user_id) ON DELETE CASCADE
                );
                CREATE INDEX notifications_inbox_idx ON notifications (team_id, user_id, updated_at, id);
                CREATE INDEX notifications_unread_idx ON notifications (team_id, user_id) WHERE read_at IS NULL;",
            )
            .await?;
        enable_team_rls(manager, "notifications").await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .get_connection()
            .execute_unprepared("DROP TABLE notifications")
            .await?;
        Ok(())
    }
}
