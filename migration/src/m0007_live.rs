//! The columns by which the live socket finds the changes in a thread, a team or an inbox since its last read, and the
//! tickets that open the socket.
//!
//! A thread's `revision` counts changes of its messages, as `last_seq` counts the messages. There is no such number for
//! a whole team, because each transaction that increased it would make all others wait. Instead, rows name the
//! transaction that wrote them, and a reader goes back to the oldest transaction that was still open at its last read.

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
                // The first default rewrites no table; the second one is for new rows.
                "ALTER TABLE threads ADD COLUMN revision bigint NOT NULL DEFAULT 0;
                ALTER TABLE thread_messages
                    ADD COLUMN revision bigint NOT NULL DEFAULT 0,
                    ADD COLUMN transaction_id bigint NOT NULL DEFAULT 0;
                ALTER TABLE thread_messages
                    ALTER COLUMN transaction_id SET DEFAULT pg_current_xact_id()::text::bigint;
                CREATE INDEX thread_messages_revision_idx ON thread_messages (team_id, thread_id, revision)
                    WHERE revision > 0;
                CREATE INDEX thread_messages_feed_idx
                    ON thread_messages (team_id, transaction_id, thread_id, seq);
                ALTER TABLE notifications ADD COLUMN transaction_id bigint NOT NULL DEFAULT 0;
                ALTER TABLE notifications
                    ALTER COLUMN transaction_id SET DEFAULT pg_current_xact_id()::text::bigint;
                CREATE INDEX notifications_feed_idx ON notifications (team_id, transaction_id);
                CREATE TABLE ws_tickets (
                    team_id uuid NOT NULL,
                    ticket_sha256 bytea NOT NULL,
                    context jsonb NOT NULL,
                    credential_expires_at timestamptz,
                    expires_at timestamptz NOT NULL,
                    PRIMARY KEY (team_id, ticket_sha256)
                );",
            )
            .await?;
        enable_team_rls(manager, "ws_tickets").await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .get_connection()
            .execute_unprepared(
                "DROP TABLE ws_tickets;
                ALTER TABLE notifications DROP COLUMN transaction_id;
                ALTER TABLE thread_messages DROP COLUMN transaction_id, DROP COLUMN revision;
                ALTER TABLE threads DROP COLUMN revision;",
            )
            .await?;
        Ok(())
    }
}
