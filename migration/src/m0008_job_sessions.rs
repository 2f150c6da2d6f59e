//! Job sessions, which record background work: one row for each attempt at a job, and its actions in order.
//!
//! Actions are separate rows, because rewriting a growing array costs more with each action. They are written once and
//! never changed. The view returns a session with its actions as one array.

use sea_orm_migration::prelude::*;

use crate::rls::{APP_ROLE, enable_team_rls};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        connection
            .execute_unprepared(
                "CREATE TABLE job_sessions (
                    team_id uuid NOT NULL,
                    id uuid NOT NULL,
                    job_name text NOT NULL CHECK (job_name ~ '^[a-z][a-z0-9_.-]{0,62}$'),
                    job_id uuid NOT NULL,
                    queue_job_id bigint,
                    attempt integer NOT NULL CHECK (attempt > 0),
                    max_attempts integer NOT NULL CHECK (max_attempts > 0),
                    status text NOT NULL CHECK (status IN ('running', 'succeeded', 'failed', 'cancelled', 'lost')),
                    sentence text NOT NULL,
                    parts jsonb,
                    input jsonb NOT NULL,
                    context jsonb NOT NULL,
                    error jsonb,
                    correlation_id uuid NOT NULL,
                    causation_id uuid,
                    queued_at timestamptz,
                    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
                    heartbeat_at timestamptz NOT NULL DEFAULT clock_timestamp(),
                    finished_at timestamptz,
                    cancel_requested_at timestamptz,
                    transaction_id bigint NOT NULL DEFAULT (pg_current_xact_id()::text::bigint),
                    PRIMARY KEY (team_id, id),
                    CHECK ((status = 'running') = (finished_at IS NULL))
                );
                CREATE INDEX job_sessions_name_idx ON job_sessions (team_id, job_name, id);
                CREATE INDEX job_sessions_job_idx ON job_sessions (team_id, job_id);
                CREATE INDEX job_sessions_correlation_idx ON job_sessions (team_id, correlation_id);
                CREATE INDEX job_sessions_moved_idx ON job_sessions (team_id, transaction_id);
                -- For the workers, which search all teams for sessions without a recent heartbeat.
                CREATE INDEX job_sessions_running_idx ON job_sessions (heartbeat_at) WHERE status = 'running';
                CREATE TABLE job_actions (
                    team_id uuid NOT NULL,
                    session_id uuid NOT NULL,
                    seq bigint NOT NULL CHECK (seq > 0),
                    at timestamptz NOT NULL,
                    action_type text NOT NULL,
                    sentence text NOT NULL,
                    parts jsonb,
                    payload jsonb NOT NULL,
                    transaction_id bigint NOT NULL DEFAULT (pg_current_xact_id()::text::bigint),
                    PRIMARY KEY (team_id, session_id, seq),
                    FOREIGN KEY (team_id, session_id) REFERENCES job_sessions (team_id, id) ON DELETE CASCADE
                );
                CREATE INDEX job_actions_moved_idx ON job_actions (team_id, transaction_id);",
            )
            .await?;
        enable_team_rls(manager, "job_sessions").await?;
        enable_team_rls(manager, "job_actions").await?;
        connection
            .execute_unprepared(&format!(
                "REVOKE UPDATE, DELETE ON job_actions, job_sessions FROM {APP_ROLE};
                GRANT UPDATE (status, error, finished_at, heartbeat_at, cancel_requested_at, transaction_id)
                    ON job_sessions TO {APP_ROLE};
                CREATE VIEW job_session_timelines WITH (security_invoker = true) AS
                    SELECT s.*, coalesce(a.actions, '[]') AS actions
                    FROM job_sessions s
                    LEFT JOIN LATERAL (
                        SELECT jsonb_agg(jsonb_build_object('seq', a.seq, 'type', a.action_type, 'at', a.at,
                            'sentence', a.sentence, 'parts', a.parts, 'payload', a.payload) ORDER BY a.seq) AS actions
                        FROM job_actions a
                        WHERE a.team_id = s.team_id AND a.session_id = s.id
                    ) a ON true;
                GRANT SELECT ON job_session_timelines TO {APP_ROLE};"
            ))
            .await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .get_connection()
            .execute_unprepared(
                "DROP VIEW job_session_timelines;
                DROP TABLE job_actions;
                DROP TABLE job_sessions;",
            )
            .await?;
        Ok(())
    }
}
