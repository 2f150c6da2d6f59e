//! Records the ids of people who were erased.
//!
//! Events and comments keep the name that was true when they were written. An operator can choose that readers see a
//! pseudonym instead (`DAYBOOK_ERASED_NAMES=pseudonym`); for that, the service must know which people were erased. A
//! row has only the id, and a trigger writes it: every way to delete a person is covered, and no program can declare a
//! person erased.
//!
//! The run-time role can't read the table. It queries one id at a time, with `daybook_shown_name`.

use sea_orm_migration::prelude::*;

use crate::rls::APP_ROLE;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        connection.execute_unprepared("SET LOCAL lock_timeout = '5s'").await?;
        connection.execute_unprepared(ERASED_PEOPLE).await?;
        connection
            .execute_unprepared(&format!(
                "REVOKE ALL ON FUNCTION public.daybook_remember_erased(), public.daybook_shown_name(uuid, text) FROM PUBLIC;
                 GRANT EXECUTE ON FUNCTION public.daybook_shown_name(uuid, text) TO {APP_ROLE};
                 SET LOCAL lock_timeout = 0;"
            ))
            .await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .get_connection()
            .execute_unprepared(
                "DROP TRIGGER remember_erased ON users;
                 DROP FUNCTION daybook_remember_erased();
                 DROP FUNCTION daybook_shown_name(uuid, text);
                 DROP TABLE erased_people;",
            )
            .await?;
        Ok(())
    }
}

/// The table, its trigger and its functions. The pseudonym is made from the last digits of the id, which are random and
/// are already stored beside the name.
const ERASED_PEOPLE: &str = "
    CREATE TABLE public.erased_people (
        user_id uuid PRIMARY KEY,
        erased_at timestamptz NOT NULL DEFAULT now()
    );

    CREATE FUNCTION public.daybook_remember_erased() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        INSERT INTO public.erased_people (user_id) VALUES (OLD.id) ON CONFLICT DO NOTHING;
        RETURN NULL;
    END $$;
    CREATE TRIGGER remember_erased AFTER DELETE ON public.users
        FOR EACH ROW EXECUTE FUNCTION public.daybook_remember_erased();

    CREATE FUNCTION public.daybook_shown_name(id uuid, name text) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp AS $$
        SELECT CASE WHEN EXISTS (SELECT FROM public.erased_people e WHERE e.user_id = $1)
            THEN 'Erased person ' || right($1::text, 8) ELSE $2 END
    $$;";
