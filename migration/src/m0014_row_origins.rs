//! Prevents the run-time roles from writing rows that none of our programs would write.
//!
//! The database sets `transaction_id` and `created_at` of events. The relay and live feeds order by the first, and a
//! row with a future number would stay new forever. The run-time role may insert only the other columns. A later step
//! that adds a column to `events` has to `GRANT INSERT (column)` on it if programs are to set it.
//!
//! Other tables whose rows name their transaction are also updated: a trigger refuses every number except that of the
//! current transaction. Existing rows, including restored ones, keep their numbers.
//!
//! The checks are added without a scan of existing rows; `m0019_existing_rows` validates them without blocking writers.

use sea_orm_migration::prelude::*;

use crate::rls::APP_ROLE;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// The columns of an event that the run-time role may set: all except `transaction_id` and `created_at`.
const EVENT_COLUMNS: &str = "team_id, id, event_type, event_name, object_type, object_id, object_label, threadable, \
     scope_type, scope_id, actor_kind, actor_id, actor_name, on_behalf_of, on_behalf_of_name, via, reason, event_data, \
     schema_version, correlation_id, causation_id, request_id";

/// The tables whose rows name the transaction that last changed them: those that requests lock before `events`.
const NUMBERED_BEFORE_EVENTS: [&str; 3] = ["runs", "job_sessions", "job_actions"];
/// The tables of this kind that requests lock after `events`.
const NUMBERED_AFTER_EVENTS: [&str; 2] = ["thread_messages", "notifications"];

/// Table, constraint and condition.
pub(crate) const CHECKS: [(&str, &str, &str); 5] = [
    (
        "events",
        "events_actor_whole",
        "(actor_kind = 'system') = (actor_id IS NULL)",
    ),
    (
        "events",
        "events_on_behalf_of_whole",
        "(on_behalf_of IS NULL) = (on_behalf_of_name IS NULL)",
    ),
    ("events", "events_transaction_id_positive", "transaction_id > 0"),
    (
        "thread_messages",
        "thread_messages_author_known",
        "kind = 'system' OR author_kind IN ('user', 'api_key', 'job', 'system')
            AND (author_kind = 'system') = (author_id IS NULL)",
    ),
    (
        "thread_messages",
        "thread_messages_on_behalf_of_whole",
        "(on_behalf_of IS NULL) = (on_behalf_of_name IS NULL)",
    ),
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        connection.execute_unprepared("SET LOCAL lock_timeout = '5s'").await?;
        connection.execute_unprepared(REFUSE_TRANSACTION).await?;
        // In the order in which requests lock these tables: first the objects of events, then the events, then what is
        // posted about them.
        for table in NUMBERED_BEFORE_EVENTS {
            refuse_transaction(connection, table).await?;
        }
        connection
            .execute_unprepared(&format!(
                "REVOKE INSERT ON public.events FROM {APP_ROLE};
                 GRANT INSERT ({EVENT_COLUMNS}) ON public.events TO {APP_ROLE};"
            ))
            .await?;
        for (table, name, condition) in CHECKS {
            connection
                .execute_unprepared(&format!(
                    "ALTER TABLE public.{table} ADD CONSTRAINT {name} CHECK ({condition}) NOT VALID"
                ))
                .await?;
        }
        for table in NUMBERED_AFTER_EVENTS {
            refuse_transaction(connection, table).await?;
        }
        connection.execute_unprepared("SET LOCAL lock_timeout = 0").await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        for table in NUMBERED_BEFORE_EVENTS.iter().chain(&NUMBERED_AFTER_EVENTS) {
            connection
                .execute_unprepared(&format!("DROP TRIGGER refuse_transaction ON public.{table}"))
                .await?;
        }
        connection
            .execute_unprepared("DROP FUNCTION public.daybook_refuse_transaction()")
            .await?;
        for (table, name, _) in CHECKS.iter().rev() {
            connection
                .execute_unprepared(&format!("ALTER TABLE public.{table} DROP CONSTRAINT {name}"))
                .await?;
        }
        connection
            .execute_unprepared(&format!(
                "REVOKE INSERT ON public.events FROM {APP_ROLE};
                 GRANT INSERT ON public.events TO {APP_ROLE};"
            ))
            .await?;
        Ok(())
    }
}

async fn refuse_transaction(connection: &SchemaManagerConnection<'_>, table: &str) -> Result<(), DbErr> {
    // The condition is evaluated without a call of the function. The function is only called for rows that violate it.
    let trigger = format!(
        "CREATE TRIGGER refuse_transaction BEFORE INSERT OR UPDATE OF transaction_id ON public.{table}
             FOR EACH ROW WHEN (NEW.transaction_id <> pg_current_xact_id()::text::bigint)
             EXECUTE FUNCTION public.daybook_refuse_transaction()"
    );
    connection.execute_unprepared(&trigger).await.map(drop)
}

/// The owner may write any number: a restored dump has the numbers of another cluster.
const REFUSE_TRANSACTION: &str = "
    CREATE FUNCTION public.daybook_refuse_transaction() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        IF pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE') THEN
            RETURN NEW;
        END IF;
        RAISE EXCEPTION 'transaction_id of % is the current transaction''s number; leave it out', TG_TABLE_NAME
            USING ERRCODE = 'insufficient_privilege';
    END $$;
    REVOKE ALL ON FUNCTION public.daybook_refuse_transaction() FROM PUBLIC;";
