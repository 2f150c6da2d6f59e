//! The event type `RESTORED`: a softly deleted object was restored.
//!
//! The checks of the known types are widened. They are `NOT VALID`, because every row has passed the narrower check and
//! events are never changed. So nothing has to be read while the table is locked, and `m0019_existing_rows` validates
//! the checks later. Each partition also has the check itself, because partitions are created `LIKE` the table, so it
//! is dropped separately there.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// Table and constraint.
pub(crate) const CHECKS: [(&str, &str); 2] = [
    ("events", "events_event_type_known"),
    ("notification_preferences", "notification_preferences_event_type_check"),
];

const WITH: &str = "'CREATED', 'UPDATED', 'DELETED', 'STATE_CHANGED', 'RESTORED', 'CUSTOM'";
const WITHOUT: &str = "'CREATED', 'UPDATED', 'DELETED', 'STATE_CHANGED', 'CUSTOM'";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        set_known_event_types(manager, WITH).await
    }

    /// Rows of this type stay, because events are never deleted.
    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        set_known_event_types(manager, WITHOUT).await
    }
}

async fn set_known_event_types(manager: &SchemaManager<'_>, types: &str) -> Result<(), DbErr> {
    manager
        .get_connection()
        .execute_unprepared(&format!(
            "SET LOCAL lock_timeout = '5s';
             ALTER TABLE events DROP CONSTRAINT events_event_type_known;
             DO $$
             DECLARE partition regclass;
             BEGIN
                 FOR partition IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'public.events'::regclass LOOP
                     EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS events_event_type_known', partition);
                 END LOOP;
             END $$;
             ALTER TABLE events ADD CONSTRAINT events_event_type_known CHECK (event_type IN ({types})) NOT VALID;
             ALTER TABLE notification_preferences DROP CONSTRAINT notification_preferences_event_type_check;
             ALTER TABLE notification_preferences ADD CONSTRAINT notification_preferences_event_type_check
                 CHECK (event_type IN ('*', {types}, 'COMMENT', 'MENTION')) NOT VALID;
             SET LOCAL lock_timeout = 0;"
        ))
        .await?;
    Ok(())
}
