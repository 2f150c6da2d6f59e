//! The guestbook's schema: two tables, each turned into a team table in one line.

use daybook::migration::enable_team_rls;
use sea_orm_migration::prelude::*;

/// The guestbook's steps, applied after Daybook's own.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(CreateGuests)]
    }
}

struct CreateGuests;

impl MigrationName for CreateGuests {
    fn name(&self) -> &str {
        "m0001_guests"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateGuests {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .get_connection()
            .execute_unprepared(
                "CREATE TABLE guests (
                    team_id uuid NOT NULL,
                    id uuid NOT NULL,
                    name text NOT NULL,
                    company int NOT NULL DEFAULT 0,
                    phone text,
                    deleted_at timestamptz,
                    PRIMARY KEY (team_id, id)
                );
                CREATE TABLE guest_counts (team_id uuid PRIMARY KEY, guests bigint NOT NULL)",
            )
            .await?;
        enable_team_rls(manager, "guests").await?;
        enable_team_rls(manager, "guest_counts").await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .get_connection()
            .execute_unprepared("DROP TABLE guest_counts, guests")
            .await?;
        Ok(())
    }
}
