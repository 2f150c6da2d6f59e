//! Threads, their messages and followers, and the people who watch for new threads.
//!
//! A thread's row is locked from the moment when a message takes its `seq` until the commit. So the order of `seq` is
//! the commit order, without gaps. Rows that belong to a member are deleted with the membership.

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
                "CREATE TABLE threads (
                    team_id uuid NOT NULL,
                    id uuid NOT NULL,
                    object_type text NOT NULL,
                    object_id text NOT NULL,
                    object_label text NOT NULL,
                    scope_type text,
                    scope_id text,
                    last_seq bigint NOT NULL,
                    created_at timestamptz NOT NULL DEFAULT now(),
                    updated_at timestamptz NOT NULL DEFAULT now(),
                    PRIMARY KEY (team_id, id),
                    CONSTRAINT threads_object_key UNIQUE (team_id, object_type, object_id)
                );
                CREATE TABLE thread_messages (
                    team_id uuid NOT NULL,
                    thread_id uuid NOT NULL,
                    seq bigint NOT NULL,
                    kind text NOT NULL CHECK (kind IN ('system', 'comment')),
                    event_id uuid,
                    author_kind text,
                    author_id uuid,
                    author_name text,
                    on_behalf_of uuid,
                    on_behalf_of_name text,
                    body text CHECK (char_length(body) BETWEEN 1 AND 20000),
                    created_at timestamptz NOT NULL DEFAULT now(),
                    edited_at timestamptz,
                    deleted_at timestamptz,
                    PRIMARY KEY (team_id, thread_id, seq),
                    FOREIGN KEY (team_id, thread_id) REFERENCES threads (team_id, id),
                    CONSTRAINT thread_messages_whole CHECK (CASE kind
                        WHEN 'system' THEN event_id IS NOT NULL AND author_kind IS NULL AND body IS NULL
                        ELSE event_id IS NULL AND author_kind IS NOT NULL AND author_name IS NOT NULL
                            AND (body IS NULL) = (deleted_at IS NOT NULL) END)
                );
                CREATE TABLE thread_followers (
                    team_id uuid NOT NULL,
                    thread_id uuid NOT NULL,
                    user_id uuid NOT NULL,
                    following boolean NOT NULL,
                    muted boolean NOT NULL DEFAULT false,
                    reason text NOT NULL CHECK (reason IN ('creator', 'commenter', 'mentioned', 'manual')),
                    read_seq bigint NOT NULL DEFAULT 0,
                    created_at timestamptz NOT NULL DEFAULT now(),
                    PRIMARY KEY (team_id, thread_id, user_id),
                    FOREIGN KEY (team_id, thread_id) REFERENCES threads (team_id, id),
                    FOREIGN KEY (team_id, user_id) REFERENCES memberships (team_id, user_id) ON DELETE CASCADE
                );
                CREATE INDEX thread_followers_user_idx ON thread_followers (team_id, user_id);
                CREATE TABLE watches (
                    team_id uuid NOT NULL,
                    user_id uuid NOT NULL,
                    object_type text NOT NULL CHECK (object_type ~ '^[a-z][a-z0-9_]{0,62}$'),
                    created_at timestamptz NOT NULL DEFAULT now(),
                    PRIMARY KEY (team_id, user_id, object_type),
                    FOREIGN KEY (team_id, user_id) REFERENCES memberships (team_id, user_id) ON DELETE CASCADE
                );
                CREATE INDEX watches_object_type_idx ON watches (team_id, object_type);",
            )
            .await?;
        for table in ["threads", "thread_messages", "thread_followers", "watches"] {
            enable_team_rls(manager, table).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .get_connection()
            .execute_unprepared("DROP TABLE watches, thread_followers, thread_messages, threads")
            .await?;
        Ok(())
    }
}
