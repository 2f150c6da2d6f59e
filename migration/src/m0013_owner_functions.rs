//! Closes the ways in which the run-time role could act with the owner's rights.
//!
//! A function that runs as its owner resolves every type and function name by `search_path`. PostgreSQL searches
//! `pg_temp` first unless the path names it. So a caller that can create temporary objects could replace `text` by its
//! own domain, and the CHECK of that domain would run as the owner. Three changes prevent this, and each one is
//! sufficient alone:
//!
//! 1. every function of ours has `search_path = pg_catalog, pg_temp`, with `pg_temp` last, and schema-qualified names;
//! 2. PUBLIC has no TEMP on the database, so that a run-time role can't create temporary objects;
//! 3. only the roles that call a function may execute it.
//!
//! Partitions are created under a lock on `events` that the run-time roles have no right to take. It replaces an
//! advisory lock, which any client that can connect could hold.

use sea_orm_migration::prelude::*;

use crate::queue;
use crate::rls::{APP_ROLE, revoke_temp};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        connection.execute_unprepared(PINNED).await?;
        connection
            .execute_unprepared(&format!(
                "REVOKE ALL ON FUNCTION public.daybook_enter_person(uuid, text, text),
                     public.daybook_enter_member(uuid, uuid), public.daybook_uuid7_floor(timestamptz),
                     public.daybook_refuse_event_change() FROM PUBLIC;
                 GRANT EXECUTE ON FUNCTION public.daybook_enter_person(uuid, text, text),
                     public.daybook_enter_member(uuid, uuid), public.daybook_uuid7_floor(timestamptz) TO {APP_ROLE};"
            ))
            .await?;
        // For a database that already has the queue; otherwise the queue's own migrations do it.
        connection.execute_unprepared(&queue::function_rights()).await?;
        revoke_temp(connection).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // PUBLIC doesn't get TEMP back: the program before this step doesn't need it, and is safer without it.
        manager.get_connection().execute_unprepared(AS_BEFORE).await?;
        Ok(())
    }
}

const PINNED: &str = "
    ALTER FUNCTION public.daybook_enter_person(uuid, text, text) SET search_path = pg_catalog, pg_temp;
    ALTER FUNCTION public.daybook_enter_member(uuid, uuid) SET search_path = pg_catalog, pg_temp;
    ALTER FUNCTION public.daybook_refuse_event_change() SET search_path = pg_catalog, pg_temp;
    ALTER FUNCTION public.daybook_uuid7_floor(timestamptz) SET search_path = pg_catalog, pg_temp;
    ALTER FUNCTION public.daybook_attach_event_partition(text, text) SET search_path = pg_catalog, pg_temp;

    CREATE OR REPLACE FUNCTION public.daybook_ensure_event_partitions(months_ahead int) RETURNS int LANGUAGE plpgsql
        SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $$
    DECLARE
        this_month timestamp := date_trunc('month', now() AT TIME ZONE 'UTC');
        month timestamp;
        partition text;
        made int := 0;
        locked boolean := false;
    BEGIN
        IF months_ahead NOT BETWEEN 0 AND 24 THEN
            RAISE EXCEPTION 'months_ahead must be 0 to 24, not %', months_ahead;
        END IF;
        FOR i IN 0..months_ahead LOOP
            month := this_month + make_interval(months => i);
            partition := 'events_' || to_char(month, 'YYYY_MM');
            CONTINUE WHEN to_regclass('public.' || partition) IS NOT NULL;
            IF NOT locked THEN
                -- One process at a time. It conflicts with itself and not with reading and writing, and is the lock that
                -- ATTACH takes anyway. INSERT and SELECT on the table, which is what run-time roles have, don't
                -- suffice to take it.
                LOCK TABLE public.events IN SHARE UPDATE EXCLUSIVE MODE;
                locked := true;
                CONTINUE WHEN to_regclass('public.' || partition) IS NOT NULL;
            END IF;
            BEGIN
                PERFORM public.daybook_attach_event_partition(partition, format('FOR VALUES FROM (%L) TO (%L)',
                    public.daybook_uuid7_floor(month AT TIME ZONE 'UTC'),
                    public.daybook_uuid7_floor((month + interval '1 month') AT TIME ZONE 'UTC')));
                made := made + 1;
            EXCEPTION WHEN check_violation THEN
                -- A wild clock has put events of that month into the default partition, where they stay; so do the
                -- rest of the month's. The other months must not wait for that.
                RAISE WARNING '% is not made: the default partition has events of its month', partition;
            END;
        END LOOP;
        RETURN made;
    END $$;";

const AS_BEFORE: &str = "
    GRANT EXECUTE ON FUNCTION public.daybook_enter_person(uuid, text, text), public.daybook_enter_member(uuid, uuid),
        public.daybook_uuid7_floor(timestamptz), public.daybook_refuse_event_change() TO PUBLIC;
    ALTER FUNCTION public.daybook_enter_person(uuid, text, text) RESET search_path;
    ALTER FUNCTION public.daybook_enter_member(uuid, uuid) RESET search_path;
    ALTER FUNCTION public.daybook_refuse_event_change() RESET search_path;
    ALTER FUNCTION public.daybook_uuid7_floor(timestamptz) SET search_path = pg_catalog;
    ALTER FUNCTION public.daybook_attach_event_partition(text, text) SET search_path = pg_catalog;

    CREATE OR REPLACE FUNCTION public.daybook_ensure_event_partitions(months_ahead int) RETURNS int LANGUAGE plpgsql
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
                RAISE WARNING '% is not made: the default partition has events of its month', partition;
            END;
        END LOOP;
        RETURN made;
    END $$;";
