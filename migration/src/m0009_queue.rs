//! The tables between a team's transactions and the queue: job requests, and the consumers' cursors.
//!
//! `daybook_worker` hands both over for all teams. Its policies check `current_user`, not membership: the owner is a
//! member, so that one login can open the workers' connections, but that membership must not let it see the rows of all
//! teams.

use sea_orm_migration::prelude::*;

use crate::queue::SCHEMA;
use crate::rls::{APP_ROLE, RELAY_ROLE, WORKER_ROLE, enable_team_rls, grant_role};

/// A condition on the role of the connection, whatever other roles its login has.
const AS_WORKER: &str = "current_user = 'daybook_worker'";

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // The workers see what the relay may see: that something happened in a team, but not what.
        grant_role(manager, RELAY_ROLE, WORKER_ROLE).await?;
        grant_role(manager, WORKER_ROLE, "CURRENT_USER").await?;
        let connection = manager.get_connection();
        connection
            .execute_unprepared(
                "CREATE TABLE job_requests (
                    team_id uuid NOT NULL,
                    id uuid NOT NULL,
                    action text NOT NULL DEFAULT 'run' CHECK (action IN ('run', 'retry', 'cancel')),
                    job_name text NOT NULL,
                    job_id uuid NOT NULL,
                    queue_job_id bigint,
                    input jsonb NOT NULL,
                    context jsonb NOT NULL CONSTRAINT job_requests_of_their_team
                        CHECK (context ->> 'team_id' = team_id::text),
                    queue_name text,
                    unique_key text,
                    run_at timestamptz NOT NULL,
                    priority smallint NOT NULL,
                    max_attempts smallint NOT NULL CHECK (max_attempts > 0),
                    -- The reason why the request could not be handed over.
                    refused text,
                    PRIMARY KEY (team_id, id)
                );
                CREATE TABLE consumer_effects (
                    team_id uuid NOT NULL,
                    consumer text NOT NULL,
                    event_id uuid NOT NULL,
                    created_at timestamptz NOT NULL DEFAULT now(),
                    PRIMARY KEY (team_id, consumer, event_id)
                );
                -- A cursor belongs to the whole database. It has no team, and names no object of a team.
                CREATE TABLE consumer_cursors (
                    consumer text PRIMARY KEY,
                    transaction_id bigint NOT NULL,
                    event_id uuid NOT NULL,
                    system_identifier text NOT NULL,
                    -- True while events that a dump of another cluster brought still have to be handed over.
                    restored boolean NOT NULL DEFAULT false,
                    restored_to uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
                    updated_at timestamptz NOT NULL DEFAULT now()
                );",
            )
            .await?;
        enable_team_rls(manager, "job_requests").await?;
        enable_team_rls(manager, "consumer_effects").await?;
        connection
            .execute_unprepared(&format!(
                "REVOKE UPDATE ON job_requests, consumer_effects FROM {APP_ROLE};
                 ALTER TABLE consumer_cursors ENABLE ROW LEVEL SECURITY;
                 ALTER TABLE consumer_cursors FORCE ROW LEVEL SECURITY;
                 CREATE POLICY workers ON consumer_cursors TO {WORKER_ROLE} USING ({AS_WORKER});
                 GRANT SELECT, INSERT, UPDATE, DELETE ON consumer_cursors TO {WORKER_ROLE};

                 CREATE POLICY workers ON job_requests TO {WORKER_ROLE} USING ({AS_WORKER});
                 GRANT SELECT, UPDATE (refused), DELETE ON job_requests TO {WORKER_ROLE};

                 -- The workers see how sessions end, when their worker last sent a heartbeat, and how old they are.
                 -- They never see inputs, contexts or errors.
                 CREATE POLICY workers ON job_sessions TO {WORKER_ROLE} USING ({AS_WORKER});
                 GRANT SELECT (team_id, id, job_id, attempt, status, started_at, heartbeat_at, finished_at, cancel_requested_at),
                     UPDATE (status, error, finished_at, heartbeat_at, transaction_id), DELETE ON job_sessions TO {WORKER_ROLE};
                 CREATE POLICY workers ON consumer_effects TO {WORKER_ROLE} USING ({AS_WORKER});
                 GRANT SELECT (ctid, created_at), DELETE ON consumer_effects TO {WORKER_ROLE};
                 CREATE POLICY workers ON idempotency_keys TO {WORKER_ROLE} USING ({AS_WORKER});
                 GRANT SELECT (ctid, created_at), DELETE ON idempotency_keys TO {WORKER_ROLE};

                 -- xmin shows whether a row was written in this cluster, or restored into it.
                 GRANT SELECT (xmin) ON events TO {RELAY_ROLE};
                 ALTER POLICY relay_reads_envelopes ON events
                     USING (current_user IN ('{RELAY_ROLE}', '{WORKER_ROLE}'));"
            ))
            .await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .get_connection()
            .execute_unprepared(&format!(
                // The queue is useless without these tables; its own migrations can't be undone.
                "DROP SCHEMA IF EXISTS {SCHEMA} CASCADE;
                 DROP POLICY workers ON job_sessions;
                 REVOKE ALL ON job_sessions, idempotency_keys FROM {WORKER_ROLE};
                 REVOKE SELECT (team_id, id, job_id, attempt, status, started_at, heartbeat_at, finished_at, cancel_requested_at),
                     UPDATE (status, error, finished_at, heartbeat_at, transaction_id) ON job_sessions FROM {WORKER_ROLE};
                 DROP POLICY workers ON idempotency_keys;
                 REVOKE SELECT (ctid, created_at) ON idempotency_keys FROM {WORKER_ROLE};
                 DROP TABLE consumer_cursors, consumer_effects, job_requests;
                 REVOKE SELECT (xmin) ON events FROM {RELAY_ROLE};
                 ALTER POLICY relay_reads_envelopes ON events USING (true);"
            ))
            .await?;
        Ok(())
    }
}
