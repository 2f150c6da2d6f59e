//! Validates the checks that `m0015_restored_events` widened, in statements of their own, as `m0013_validated_checks` does: a
//! check that stays unvalidated on the partitions would keep a detached month from being attached again.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(false)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, constraint) in [
            ("events", "events_event_type_known"),
            ("notification_preferences", "notification_preferences_event_type_check"),
        ] {
            let validate = format!("ALTER TABLE public.{table} VALIDATE CONSTRAINT {constraint}");
            manager.get_connection().execute_unprepared(&validate).await?;
        }
        Ok(())
    }

    async fn down(&self, _: &SchemaManager) -> Result<(), DbErr> {
        // A validated check holds for the step before it, too.
        Ok(())
    }
}
