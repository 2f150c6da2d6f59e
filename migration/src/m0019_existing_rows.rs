//! Updates existing rows to meet what the steps from `m0014` to `m0016` require of new rows, while the service runs.
//!
//! The step runs outside a transaction. It fills in names and owners of keys in batches, and validates each check with
//! a separate statement, which blocks no writer. If it stops in the middle, the next run continues from there.
//!
//! If older rows violate a check, the check stays unvalidated: new rows are checked, and the old ones stay readable.

use sea_orm_migration::prelude::*;

use crate::online::update_in_batches;
use crate::{m0014_row_origins, m0015_restored_events, m0016_people};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// Teams continue to see the names that they have seen so far.
const NAMES: &str = "UPDATE memberships m SET display_name = u.display_name, email = u.email FROM users u
    WHERE m.team_id = $1 AND u.id = m.user_id AND m.user_id IN (
        SELECT user_id FROM memberships WHERE team_id = $1 AND display_name IS NULL LIMIT $2)";
/// Keys of people who have left stay without an owner, until an admin adopts or revokes them.
const OWNERS_OF_KEYS: &str = "UPDATE api_keys SET owned_by = created_by WHERE team_id = $1 AND id IN (
    SELECT k.id FROM api_keys k JOIN memberships m ON m.team_id = k.team_id AND m.user_id = k.created_by
        WHERE k.team_id = $1 AND k.owned_by IS NULL LIMIT $2)";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(false)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        update_in_batches(manager, NAMES).await?;
        update_in_batches(manager, OWNERS_OF_KEYS).await?;
        let origins = m0014_row_origins::CHECKS.map(|(table, name, _)| (table, name));
        let checks = origins
            .into_iter()
            .chain(m0015_restored_events::CHECKS)
            .chain(m0016_people::CHECKS);
        for (table, name) in checks {
            let validate = format!(
                "DO $$ BEGIN
                     ALTER TABLE public.{table} VALIDATE CONSTRAINT {name};
                 EXCEPTION WHEN check_violation THEN
                     RAISE WARNING 'constraint {name} of {table} holds for new rows only: older rows break it';
                 END $$"
            );
            manager.get_connection().execute_unprepared(&validate).await?;
        }
        Ok(())
    }

    async fn down(&self, _: &SchemaManager) -> Result<(), DbErr> {
        // The constraints and columns are removed by the steps that added them.
        Ok(())
    }
}
