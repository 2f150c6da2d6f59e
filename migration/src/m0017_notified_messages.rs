//! Lets deleted comments leave notifications, lets a mention notify only once, and shortens long values for lists.
//!
//! `unread_seqs` has the positions of the newest messages that a notification counts, so that a deleted comment is no
//! longer counted. `mentioned` has the people whom a comment has mentioned so far, so that an edit notifies only the
//! people that it adds.

use sea_orm_migration::prelude::*;

use crate::rls::APP_ROLE;

/// `daybook_short_json` returns a value as a list shows it: unchanged up to 16 KiB, and shortened above that, to at
/// most 64 KiB. A shortened text ends with an ellipsis; a list or an object that is the value of a field becomes the
/// beginning of its text. The service also knows these numbers (`crates/events/src/shortened.rs`).
const SHORT_JSON: &str = "
    CREATE FUNCTION daybook_shorten_json(value jsonb, max_chars int, max_keys int, depth int) RETURNS jsonb
        LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        kind text := jsonb_typeof(value);
        words text;
    BEGIN
        IF kind = 'object' AND depth < 3 THEN
            RETURN (
                SELECT coalesce(jsonb_object_agg(left(e.key, 200),
                    public.daybook_shorten_json(e.value, max_chars, max_keys, depth + 1)), '{}')
                FROM (SELECT j.key, j.value FROM jsonb_each(value) AS j LIMIT max_keys) e);
        END IF;
        IF kind IN ('boolean', 'null') THEN
            RETURN value;
        END IF;
        words := CASE kind WHEN 'string' THEN value #>> '{}' ELSE value::text END;
        IF char_length(words) <= max_chars THEN
            RETURN value;
        END IF;
        RETURN to_jsonb(left(words, max_chars) || '…');
    END $$;

    CREATE FUNCTION daybook_short_json(value jsonb) RETURNS jsonb
        LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        short jsonb;
    BEGIN
        -- Compressed or kept elsewhere, its size says nothing; else there is no need to read it.
        IF pg_column_compression(value) IS NULL AND pg_column_size(value) <= 1024 THEN
            RETURN value;
        END IF;
        IF octet_length(value::text) <= 16384 THEN
            RETURN value;
        END IF;
        short := public.daybook_shorten_json(value, 2000, 200, 0);
        IF octet_length(short::text) > 65536 THEN
            short := public.daybook_shorten_json(value, 100, 100, 0);
        END IF;
        RETURN CASE WHEN octet_length(short::text) <= 65536 THEN short ELSE '{}' END;
    END $$;";

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .get_connection()
            .execute_unprepared(
                // In the order in which requests lock these tables.
                "SET LOCAL lock_timeout = '5s';
                ALTER TABLE thread_messages ADD COLUMN mentioned uuid[];
                ALTER TABLE notifications ADD COLUMN unread_seqs bigint[] NOT NULL DEFAULT '{}';
                SET LOCAL lock_timeout = 0;",
            )
            .await?;
        let grants = format!(
            "REVOKE ALL ON FUNCTION public.daybook_short_json(jsonb),
                public.daybook_shorten_json(jsonb, int, int, int) FROM PUBLIC;
            GRANT EXECUTE ON FUNCTION public.daybook_short_json(jsonb),
                public.daybook_shorten_json(jsonb, int, int, int) TO {APP_ROLE};"
        );
        manager.get_connection().execute_unprepared(SHORT_JSON).await?;
        manager.get_connection().execute_unprepared(&grants).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .get_connection()
            .execute_unprepared(
                "DROP FUNCTION daybook_short_json, daybook_shorten_json;
                ALTER TABLE thread_messages DROP COLUMN mentioned;
                ALTER TABLE notifications DROP COLUMN unread_seqs;",
            )
            .await?;
        Ok(())
    }
}
