//! Refuses values that the database must set: when a row was created, and a message's position in its thread.
//!
//! Clients page and sort by `created_at`, and rely on a thread's positions having no gaps. `m0014_row_origins` ensured
//! this for events. For the other tables, triggers ensure it here. They don't change the rights, so a later step can
//! add columns to these tables. The tables' owner may write anything, because a dump contains its own rows.
//!
//! SQL that is written on purpose can still make gaps: it can raise `threads.last_seq` without posting a message.

use sea_orm_migration::prelude::*;

use crate::rls::APP_ROLE;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// In the order in which requests lock these tables.
const DATED: [&str; 10] = [
    "teams",
    "api_keys",
    "users",
    "memberships",
    "invitations",
    "runs",
    "threads",
    "thread_followers",
    "watches",
    "notifications",
];

/// Trigger, table, event and condition: the values of a message's position and time that the run-time role may not
/// write.
const PLACED: [(&str, &str, &str, &str); 3] = [
    (
        "refuse_lower_place",
        "threads",
        "UPDATE OF last_seq",
        "NEW.last_seq < OLD.last_seq",
    ),
    (
        "refuse_other_place",
        "thread_messages",
        "UPDATE OF thread_id, seq",
        "NEW.thread_id <> OLD.thread_id OR NEW.seq <> OLD.seq",
    ),
    (
        "refuse_other_date",
        "thread_messages",
        "UPDATE OF created_at",
        "NEW.created_at <> OLD.created_at",
    ),
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        connection.execute_unprepared("SET LOCAL lock_timeout = '5s'").await?;
        connection.execute_unprepared(FUNCTIONS).await?;
        for table in DATED {
            // The conditions are evaluated without a call of the function. The function is only called for rows that
            // violate them.
            connection
                .execute_unprepared(&format!(
                    "CREATE TRIGGER refuse_date BEFORE INSERT ON public.{table} FOR EACH ROW
                         WHEN (NEW.created_at <> now()) EXECUTE FUNCTION public.daybook_refuse_value('created_at');
                     CREATE TRIGGER refuse_other_date BEFORE UPDATE OF created_at ON public.{table} FOR EACH ROW
                         WHEN (NEW.created_at <> OLD.created_at)
                         EXECUTE FUNCTION public.daybook_refuse_value('created_at');"
                ))
                .await?;
        }
        for (trigger, table, event, condition) in PLACED {
            connection
                .execute_unprepared(&format!(
                    "CREATE TRIGGER {trigger} BEFORE {event} ON public.{table} FOR EACH ROW WHEN ({condition})
                         EXECUTE FUNCTION public.daybook_refuse_value('the place or moment')"
                ))
                .await?;
        }
        connection
            .execute_unprepared(&format!(
                "CREATE TRIGGER check_place BEFORE INSERT ON public.thread_messages FOR EACH ROW
                     EXECUTE FUNCTION public.daybook_check_place();
                 REVOKE DELETE ON public.thread_messages, public.threads FROM {APP_ROLE};
                 SET LOCAL lock_timeout = 0;"
            ))
            .await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        for table in DATED {
            connection
                .execute_unprepared(&format!(
                    "DROP TRIGGER refuse_date ON public.{table};
                     DROP TRIGGER refuse_other_date ON public.{table};"
                ))
                .await?;
        }
        for (trigger, table, _, _) in PLACED {
            connection
                .execute_unprepared(&format!("DROP TRIGGER {trigger} ON public.{table}"))
                .await?;
        }
        connection
            .execute_unprepared(&format!(
                "DROP TRIGGER check_place ON public.thread_messages;
                 DROP FUNCTION public.daybook_refuse_value();
                 DROP FUNCTION public.daybook_check_place();
                 GRANT DELETE ON public.thread_messages, public.threads TO {APP_ROLE};"
            ))
            .await?;
        Ok(())
    }
}

/// Within one statement, a thread's row gets the new last position before the message takes it, so a trigger can check
/// that. A message's time comes from the clock, which may be turned back while a transaction runs; so a different time
/// is replaced, not refused.
const FUNCTIONS: &str = "
    CREATE FUNCTION public.daybook_refuse_value() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        IF pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE') THEN
            RETURN NEW;
        END IF;
        RAISE EXCEPTION '% of % is given by the database; leave it out', TG_ARGV[0], TG_TABLE_NAME
            USING ERRCODE = 'insufficient_privilege';
    END $$;

    CREATE FUNCTION public.daybook_check_place() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        is_ahead boolean;
        is_dated boolean := NEW.created_at NOT BETWEEN now() AND clock_timestamp();
    BEGIN
        SELECT NEW.seq NOT BETWEEN 1 AND last_seq INTO is_ahead
            FROM public.threads WHERE team_id = NEW.team_id AND id = NEW.thread_id;
        IF NOT is_dated AND is_ahead IS NOT TRUE
            OR pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE') THEN
            RETURN NEW;
        END IF;
        IF is_ahead THEN
            RAISE EXCEPTION 'a message''s place is between 1 and the last_seq of its thread; raise that first'
                USING ERRCODE = 'insufficient_privilege';
        END IF;
        NEW.created_at := clock_timestamp();
        RETURN NEW;
    END $$;
    REVOKE ALL ON FUNCTION public.daybook_refuse_value(), public.daybook_check_place() FROM PUBLIC;";
