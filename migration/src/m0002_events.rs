//! The events, append-only and partitioned by month, and the failures of consumers.
//!
//! The table is partitioned **on the UUIDv7 id**, whose first 48 bits are milliseconds. So the key stays `(team_id,
//! id)`, and pages read the partitions' keys backwards in order. The indexes serve, in this order: a team's feed (the
//! key), an object's timeline, an actor's events, the relay.
//!
//! No table may have a foreign key to `events`, and `events` has none: a cascade runs with the owner's rights, not with
//! those of the caller.

use sea_orm_migration::prelude::*;

use crate::rls::{APP_ROLE, CURRENT_TEAM, RELAY_ROLE, WORKER_ROLE, enable_team_rls};

/// The number of months for which partitions are created in advance.
const MONTHS_AHEAD: u32 = 3;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        connection.execute_unprepared(&events_table()).await?;
        connection.execute_unprepared(PARTITION_FUNCTIONS).await?;
        connection
            .execute_unprepared(&format!(
                "REVOKE ALL ON FUNCTION daybook_attach_event_partition(text, text),
                                        daybook_ensure_event_partitions(int) FROM PUBLIC;
                 GRANT EXECUTE ON FUNCTION daybook_ensure_event_partitions(int) TO {APP_ROLE}, {WORKER_ROLE};
                 SELECT daybook_attach_event_partition('events_default', 'DEFAULT');
                 SELECT daybook_ensure_event_partitions({MONTHS_AHEAD});"
            ))
            .await?;
        connection
            .execute_unprepared(
                "CREATE TABLE consumer_failures (
                    team_id uuid NOT NULL,
                    id uuid NOT NULL,
                    consumer text NOT NULL,
                    event_ids uuid[] NOT NULL,
                    error text NOT NULL,
                    correlation_id uuid NOT NULL,
                    created_at timestamptz NOT NULL DEFAULT now(),
                    resolved_at timestamptz,
                    PRIMARY KEY (team_id, id)
                );
                CREATE INDEX consumer_failures_open_idx ON consumer_failures (team_id, consumer, id)
                    WHERE resolved_at IS NULL;",
            )
            .await?;
        enable_team_rls(manager, "consumer_failures").await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .get_connection()
            .execute_unprepared(
                "DROP TABLE consumer_failures, events;
                 DROP FUNCTION daybook_ensure_event_partitions, daybook_attach_event_partition,
                     daybook_uuid7_floor, daybook_refuse_event_change;",
            )
            .await?;
        Ok(())
    }
}

fn events_table() -> String {
    format!(
        "CREATE TABLE events (
            team_id uuid NOT NULL,
            id uuid NOT NULL,
            event_type text NOT NULL CONSTRAINT events_event_type_known
                CHECK (event_type IN ('CREATED', 'UPDATED', 'DELETED', 'STATE_CHANGED', 'CUSTOM')),
            event_name text,
            object_type text NOT NULL,
            object_id text NOT NULL,
            object_label text NOT NULL,
            threadable boolean NOT NULL,
            scope_type text,
            scope_id text,
            actor_kind text NOT NULL CONSTRAINT events_actor_kind_known
                CHECK (actor_kind IN ('user', 'api_key', 'job', 'system')),
            actor_id uuid,
            actor_name text NOT NULL,
            on_behalf_of uuid,
            on_behalf_of_name text,
            via text,
            reason text,
            event_data jsonb NOT NULL,
            schema_version smallint NOT NULL,
            correlation_id uuid NOT NULL,
            causation_id uuid,
            request_id text,
            transaction_id bigint NOT NULL DEFAULT (pg_current_xact_id()::text::bigint),
            created_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (team_id, id),
            CONSTRAINT events_scope_whole CHECK ((scope_type IS NULL) = (scope_id IS NULL)),
            CONSTRAINT events_name_of_custom CHECK ((event_type = 'CUSTOM') = (event_name IS NOT NULL))
         ) PARTITION BY RANGE (id);
         CREATE INDEX events_object_idx ON events (team_id, object_type, object_id, id);
         CREATE INDEX events_actor_idx ON events (team_id, actor_id, id) WHERE actor_id IS NOT NULL;
         CREATE INDEX events_relay_idx ON events (transaction_id, id);

         ALTER TABLE events ENABLE ROW LEVEL SECURITY;
         ALTER TABLE events FORCE ROW LEVEL SECURITY;
         CREATE POLICY team_isolation ON events
             USING (team_id = {CURRENT_TEAM}) WITH CHECK (team_id = {CURRENT_TEAM});
         GRANT SELECT, INSERT ON events TO {APP_ROLE};
         -- The relay sees that something happened in which team, never what.
         CREATE POLICY relay_reads_envelopes ON events FOR SELECT TO {RELAY_ROLE} USING (true);
         GRANT SELECT (team_id, id, transaction_id, event_type, object_type, object_id, correlation_id, created_at)
             ON events TO {RELAY_ROLE};

         CREATE FUNCTION daybook_refuse_event_change() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             RAISE EXCEPTION 'events are never changed: % on % refused', TG_OP, TG_TABLE_NAME
                 USING ERRCODE = 'restrict_violation';
         END $$;
         -- Row triggers are cloned to partitions. ALWAYS, so that session_replication_role doesn't pass them by.
         CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON events
             FOR EACH ROW EXECUTE FUNCTION daybook_refuse_event_change();
         ALTER TABLE events ENABLE ALWAYS TRIGGER refuse_change;
         -- Statement triggers are not cloned: each partition gets its own, below.
         CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON events
             FOR EACH STATEMENT EXECUTE FUNCTION daybook_refuse_event_change();
         ALTER TABLE events ENABLE ALWAYS TRIGGER refuse_truncate;"
    )
}

/// The functions that create partitions. `CREATE TABLE … PARTITION OF` would take ACCESS EXCLUSIVE on `events`, and
/// every write would wait behind a long read; `LIKE` and `ATTACH` take SHARE UPDATE EXCLUSIVE. The lock timeout limits
/// the waiting that remains.
const PARTITION_FUNCTIONS: &str = "
    -- The smallest UUIDv7 of a moment: 48 bits of milliseconds, then zeros.
    CREATE FUNCTION daybook_uuid7_floor(at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE
        SET search_path = pg_catalog AS $$
        SELECT rpad(lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0'), 32, '0')::uuid
    $$;

    -- Makes one partition with all that the parent can't give it, then attaches it.
    CREATE FUNCTION daybook_attach_event_partition(partition text, bounds text) RETURNS void LANGUAGE plpgsql
        SET search_path = pg_catalog SET lock_timeout = '5s' AS $$
    BEGIN
        EXECUTE format('CREATE TABLE public.%I (LIKE public.events INCLUDING DEFAULTS INCLUDING CONSTRAINTS
            INCLUDING INDEXES)', partition);
        -- Policies are not inherited: with row-level security forced and no policy, the partition by its own
        -- name shows nothing to anybody; rows are reached through the parent.
        EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', partition);
        EXECUTE format('ALTER TABLE public.%I FORCE ROW LEVEL SECURITY', partition);
        EXECUTE format('CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON public.%I
            FOR EACH STATEMENT EXECUTE FUNCTION public.daybook_refuse_event_change()', partition);
        EXECUTE format('ALTER TABLE public.%I ENABLE ALWAYS TRIGGER refuse_truncate', partition);
        EXECUTE format('ALTER TABLE public.events ATTACH PARTITION public.%I %s', partition, bounds);
    END $$;

    -- Makes the partitions of this month and the next ones, as far as they are missing; says how many it made.
    CREATE FUNCTION daybook_ensure_event_partitions(months_ahead int) RETURNS int LANGUAGE plpgsql
        SECURITY DEFINER SET search_path = pg_catalog AS $$
    DECLARE
        month timestamptz;
        partition text;
        made int := 0;
    BEGIN
        IF months_ahead NOT BETWEEN 0 AND 24 THEN
            RAISE EXCEPTION 'months_ahead must be 0 to 24, not %', months_ahead;
        END IF;
        PERFORM pg_advisory_xact_lock(hashtext('daybook_ensure_event_partitions'));
        FOR i IN 0..months_ahead LOOP
            month := date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
            month := ((month AT TIME ZONE 'UTC') + make_interval(months => i)) AT TIME ZONE 'UTC';
            partition := 'events_' || to_char(month AT TIME ZONE 'UTC', 'YYYY_MM');
            CONTINUE WHEN to_regclass('public.' || partition) IS NOT NULL;
            BEGIN
                PERFORM public.daybook_attach_event_partition(partition, format('FOR VALUES FROM (%L) TO (%L)',
                    public.daybook_uuid7_floor(month),
                    public.daybook_uuid7_floor(((month AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC')));
                made := made + 1;
            EXCEPTION WHEN check_violation THEN
                -- A wild clock has put events of that month into the default partition, where they stay; so do the
                -- rest of the month's. The other months must not wait for that.
                RAISE WARNING '% is not made: the default partition has events of its month', partition;
            END;
        END LOOP;
        RETURN made;
    END $$;";
