//! Validates the checks that `m0013_row_origins` added, in statements of their own: validation reads whole tables, and in
//! one transaction with the addition it would block every write to them meanwhile.
//!
//! A table that has rows which break a check keeps it unvalidated: new rows are checked, and the old ones stay readable.

use sea_orm_migration::prelude::*;

use crate::m0013_row_origins::CHECKS;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(false)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, name, _) in CHECKS {
            manager
                .get_connection()
                .execute_unprepared(&format!(
                    "DO $$ BEGIN
                         ALTER TABLE public.{table} VALIDATE CONSTRAINT {name};
                     EXCEPTION WHEN check_violation THEN
                         RAISE WARNING 'constraint {name} of {table} holds for new rows only: older rows break it';
                     END $$"
                ))
                .await?;
        }
        Ok(())
    }

    async fn down(&self, _: &SchemaManager) -> Result<(), DbErr> {
        // The constraints go with the step that added them.
        Ok(())
    }
}
