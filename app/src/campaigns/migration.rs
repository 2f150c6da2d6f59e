//! The schema: one table, turned into a team table in one line.

use sea_orm_migration::prelude::*;

use crate::prelude::enable_team_rls;

/// The sample domain's steps, recorded in `daybook_sample_migrations`.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(CreateCampaigns)]
    }

    fn migration_table_name() -> DynIden {
        "daybook_sample_migrations".into_iden()
    }
}

struct CreateCampaigns;

impl MigrationName for CreateCampaigns {
    fn name(&self) -> &str {
        "m0001_campaigns"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateCampaigns {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // `budget` has no fixed scale, so that a client reads the same digits that it sent. The check keeps it in the
        // range of a decimal in Rust.
        manager
            .get_connection()
            .execute_unprepared(
                "CREATE TABLE campaigns (
                    team_id uuid NOT NULL REFERENCES teams (id),
                    id uuid NOT NULL,
                    name text NOT NULL CONSTRAINT campaigns_name_length CHECK (char_length(name) BETWEEN 1 AND 200),
                    state text NOT NULL DEFAULT 'draft' CONSTRAINT campaigns_state_known
                        CHECK (state IN ('draft', 'active', 'paused', 'approved', 'done')),
                    budget numeric NOT NULL DEFAULT 0 CONSTRAINT campaigns_budget_range
                        CHECK (budget >= 0 AND budget < 1e15 AND scale(budget) <= 6),
                    client_email text,
                    created_at timestamptz NOT NULL DEFAULT now(),
                    updated_at timestamptz NOT NULL DEFAULT now(),
                    PRIMARY KEY (team_id, id)
                )",
            )
            .await?;
        enable_team_rls(manager, "campaigns").await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .get_connection()
            .execute_unprepared("DROP TABLE campaigns")
            .await?;
        Ok(())
    }
}
