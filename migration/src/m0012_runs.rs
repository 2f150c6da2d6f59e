//! Runs: a row has the state of a long run and the path of its log. The lines of a log are never rows.
//!
//! A log has one writer at a time. A process that acquires a log writes the next `epoch` into `run_leases`; if two try,
//! one of them finds the other's row. `run_homes` records which processes hold logs, and their heartbeats.

use sea_orm_migration::prelude::*;

use crate::rls::{APP_ROLE, WORKER_ROLE, enable_team_rls};

/// A condition on the role of the connection, whatever other roles its login has.
const AS_WORKER: &str = "current_user = 'daybook_worker'";

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        connection
            .execute_unprepared(
                "CREATE TABLE runs (
                    team_id uuid NOT NULL,
                    id uuid NOT NULL,
                    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
                    configuration_id text CHECK (length(configuration_id) BETWEEN 1 AND 200),
                    status text NOT NULL CONSTRAINT runs_status_check
                        CHECK (status IN ('queued', 'building', 'running', 'succeeded', 'failed', 'cancelled')),
                    exit_code integer,
                    failure jsonb,
                    created_at timestamptz NOT NULL DEFAULT now(),
                    started_at timestamptz,
                    completed_at timestamptz,
                    -- json keeps the text as it was written, and jsonb doesn't. The summary is compared byte by byte.
                    summary_json json,
                    input_file_count integer,
                    table_count integer,
                    row_count bigint,
                    max_validation_severity text CHECK (max_validation_severity IN ('info', 'warning', 'error')),
                    events_path text NOT NULL,
                    output_paths jsonb NOT NULL DEFAULT '[]',
                    log_state text NOT NULL DEFAULT 'open'
                        CONSTRAINT runs_log_state_check CHECK (log_state IN ('open', 'closed', 'sealed', 'deleted')),
                    log_degraded boolean NOT NULL DEFAULT false,
                    log_lines bigint,
                    log_bytes bigint,
                    home uuid,
                    lost_after_seconds integer NOT NULL CHECK (lost_after_seconds > 0),
                    job_session_id uuid,
                    correlation_id uuid NOT NULL,
                    causation_id uuid,
                    updated_at timestamptz NOT NULL DEFAULT now(),
                    transaction_id bigint NOT NULL DEFAULT (pg_current_xact_id()::text::bigint),
                    PRIMARY KEY (team_id, id),
                    CONSTRAINT runs_completed_check
                        CHECK ((status IN ('succeeded', 'failed', 'cancelled')) = (completed_at IS NOT NULL))
                );
                CREATE INDEX runs_status_idx ON runs (team_id, status, id);
                CREATE INDEX runs_configuration_idx ON runs (team_id, configuration_id, id);
                CREATE INDEX runs_session_idx ON runs (team_id, job_session_id) WHERE job_session_id IS NOT NULL;
                CREATE INDEX runs_correlation_idx ON runs (team_id, correlation_id);
                CREATE INDEX runs_moved_idx ON runs (team_id, transaction_id);
                -- For the workers, which search all teams for runs whose writer is lost, and for old logs.
                CREATE INDEX runs_open_idx ON runs (updated_at) WHERE completed_at IS NULL;
                CREATE INDEX runs_kept_idx ON runs (completed_at) WHERE log_state IN ('closed', 'sealed');
                CREATE TABLE run_leases (
                    team_id uuid NOT NULL,
                    run_id uuid NOT NULL,
                    epoch bigint NOT NULL CHECK (epoch > 0),
                    home uuid NOT NULL,
                    taken_at timestamptz NOT NULL DEFAULT now(),
                    PRIMARY KEY (team_id, run_id, epoch),
                    FOREIGN KEY (team_id, run_id) REFERENCES runs (team_id, id) ON DELETE CASCADE
                );
                -- The processes that write logs. A row has no team, and names no object of a team.
                CREATE TABLE run_homes (
                    id uuid PRIMARY KEY,
                    url text NOT NULL,
                    started_at timestamptz NOT NULL DEFAULT now(),
                    renewed_at timestamptz NOT NULL DEFAULT now(),
                    left_at timestamptz
                );
                -- A ticket with a run reads this run's log, any number of times until it expires.
                ALTER TABLE ws_tickets ADD COLUMN run_id uuid;",
            )
            .await?;
        enable_team_rls(manager, "runs").await?;
        enable_team_rls(manager, "run_leases").await?;
        connection
            .execute_unprepared(&format!(
                "REVOKE UPDATE, DELETE ON run_leases FROM {APP_ROLE};
                 REVOKE DELETE ON runs FROM {APP_ROLE};
                 GRANT SELECT, INSERT, UPDATE (renewed_at, left_at), DELETE ON run_homes TO {APP_ROLE};

                 -- The workers see which runs have no recent heartbeat, and which logs are old. They never see names,
                 -- summaries or failures.
                 CREATE POLICY workers ON runs TO {WORKER_ROLE} USING ({AS_WORKER});
                 GRANT SELECT (team_id, id, status, completed_at, updated_at, log_state, home, lost_after_seconds)
                     ON runs TO {WORKER_ROLE};
                 GRANT SELECT ON run_homes TO {WORKER_ROLE};"
            ))
            .await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .get_connection()
            .execute_unprepared(
                "ALTER TABLE ws_tickets DROP COLUMN run_id;
                DROP TABLE run_homes;
                DROP TABLE run_leases;
                DROP TABLE runs;",
            )
            .await?;
        Ok(())
    }
}
