//! The event type `RESTORED`: a softly deleted object came back.
//!
//! The checks of the known types are made wider. `NOT VALID`, since every row has passed the narrower check and events are
//! never changed: nothing has to be read while the table is locked, and `m0019_existing_rows` validates them later. Each partition has the check as its own, too, because
//! partitions are made `LIKE` the table, so it is dropped there by itself.

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
        know(manager, WITH).await
    }

    /// Rows of the type stay, since events are never deleted.
    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        know(manager, WITHOUT).await
    }
}

async fn know(manager: &SchemaManager<'_>, types: &str) -> Result<(), DbErr> {
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
