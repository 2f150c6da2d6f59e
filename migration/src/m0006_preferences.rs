//! A person's preferences for notifications, the reasons for their notifications, and their read marks.
//!
//! The reason is stored with the notification when it is written: a preference that changes later must not rewrite what
//! was true then. A person who only reads a thread gets a row among its followers with the reason `reader`: they
//! neither follow it nor have chosen not to. A message's `created_at` is taken while its thread's row is locked. So
//! within a thread, the order of times is the order of `seq`, and a time's position is found by binary search.
//! Preferences are ordered by their bytes: in that order, `*` comes before every name, so the last matching rule is the
//! strongest.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::ConnectionTrait;

use crate::rls::{enable_team_rls, for_each_team};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .get_connection()
            .execute_unprepared(
                "CREATE TABLE notification_preferences (
                    team_id uuid NOT NULL,
                    user_id uuid NOT NULL,
                    event_type text COLLATE \"C\" NOT NULL CHECK (event_type IN
                        ('*', 'CREATED', 'UPDATED', 'DELETED', 'STATE_CHANGED', 'CUSTOM', 'COMMENT', 'MENTION')),
                    object_type text COLLATE \"C\" NOT NULL CHECK (object_type = '*' OR object_type ~ '^[a-z][a-z0-9_]{0,62}$'),
                    in_app boolean NOT NULL,
                    created_at timestamptz NOT NULL DEFAULT now(),
                    updated_at timestamptz NOT NULL DEFAULT now(),
                    PRIMARY KEY (team_id, user_id, object_type, event_type),
                    FOREIGN KEY (team_id, user_id) REFERENCES memberships (team_id, user_id) ON DELETE CASCADE
                );
                ALTER TABLE notifications
                    ADD COLUMN why_seq bigint,
                    ADD COLUMN why_event_id uuid,
                    ADD COLUMN why_event_type text,
                    ADD COLUMN why_followed text,
                    ADD COLUMN why_rule_event_type text,
                    ADD COLUMN why_rule_object_type text;
                ALTER TABLE thread_followers DROP CONSTRAINT thread_followers_reason_check;
                ALTER TABLE thread_followers ADD CONSTRAINT thread_followers_reason_check
                    CHECK (reason IN ('creator', 'commenter', 'mentioned', 'manual', 'reader'));
                ALTER TABLE thread_messages ALTER COLUMN created_at SET DEFAULT clock_timestamp();",
            )
            .await?;
        enable_team_rls(manager, "notification_preferences").await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // The older program would treat a reader as a person who has chosen not to follow.
        for_each_team(manager, async |transaction, _| {
            transaction
                .execute_unprepared("DELETE FROM thread_followers WHERE reason = 'reader'")
                .await?;
            Ok(())
        })
        .await?;
        manager
            .get_connection()
            .execute_unprepared(
                "ALTER TABLE thread_messages ALTER COLUMN created_at SET DEFAULT now();
                ALTER TABLE thread_followers DROP CONSTRAINT thread_followers_reason_check;
                ALTER TABLE thread_followers ADD CONSTRAINT thread_followers_reason_check
                    CHECK (reason IN ('creator', 'commenter', 'mentioned', 'manual'));
                ALTER TABLE notifications
                    DROP COLUMN why_seq, DROP COLUMN why_event_id, DROP COLUMN why_event_type,
                    DROP COLUMN why_followed, DROP COLUMN why_rule_event_type, DROP COLUMN why_rule_object_type;
                DROP TABLE notification_preferences;",
            )
            .await?;
        Ok(())
    }
}
