//! The tests' own tables, made team tables in the same way as a user's table.

use daybook_migration::enable_team_rls;
use sea_orm_migration::prelude::*;

/// The steps, which are recorded in `harness_migrations`.
#[derive(Debug)]
pub struct HarnessMigrator;

#[async_trait::async_trait]
impl MigratorTrait for HarnessMigrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(CreateWidgets)]
    }

    fn migration_table_name() -> DynIden {
        "harness_migrations".into_iden()
    }
}

struct CreateWidgets;

impl MigrationName for CreateWidgets {
    fn name(&self) -> &str {
        "m0001_widgets"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateWidgets {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .get_connection()
            .execute_unprepared(
                "CREATE TABLE widgets (
                    team_id uuid NOT NULL REFERENCES teams (id),
                    id uuid NOT NULL,
                    name text NOT NULL,
                    state text NOT NULL DEFAULT 'draft',
                    price numeric NOT NULL DEFAULT 9.50,
                    due_at timestamptz,
                    serial bigint NOT NULL DEFAULT 7,
                    extra jsonb,
                    note text,
                    picture bytea,
                    tags text[] NOT NULL DEFAULT '{fresh}',
                    secret text,
                    created_at timestamptz NOT NULL DEFAULT now(),
                    updated_at timestamptz NOT NULL DEFAULT now(),
                    deleted_at timestamptz,
                    PRIMARY KEY (team_id, id),
                    CONSTRAINT widgets_name_key UNIQUE (team_id, name)
                );
                -- The rows that the tests' consumers write.
                CREATE TABLE jottings (
                    team_id uuid NOT NULL,
                    id uuid NOT NULL DEFAULT gen_random_uuid(),
                    body text NOT NULL,
                    PRIMARY KEY (team_id, id)
                );",
            )
            .await?;
        enable_team_rls(manager, "widgets").await?;
        enable_team_rls(manager, "jottings").await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .get_connection()
            .execute_unprepared("DROP TABLE widgets, jottings")
            .await?;
        Ok(())
    }
}
