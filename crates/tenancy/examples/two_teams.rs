//! Two teams on a private PostgreSQL server: each sees its own notes, and without a team there are none.
//!
//! ```console
//! $ cargo run --package daybook-tenancy --example two_teams
//! ```

use std::error::Error;
use std::path::PathBuf;

use daybook_migration::rls::role_scripts;
use daybook_private_postgres::{PrivatePostgres, Settings};
use daybook_tenancy::{Context, Database, DatabaseOptions, Migrations};
use sea_orm_migration::prelude::*;
use sqlx::Row as _;
use uuid::Uuid;

/// The program's own migrations.
struct NotesMigrator;

#[async_trait::async_trait]
impl MigratorTrait for NotesMigrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(CreateNotes)]
    }

    fn migration_table_name() -> DynIden {
        "notes_migrations".into_iden()
    }
}

struct CreateNotes;

impl MigrationName for CreateNotes {
    fn name(&self) -> &str {
        "m0001_notes"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateNotes {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = "CREATE TABLE notes (
            team_id uuid NOT NULL REFERENCES teams (id), id uuid NOT NULL, text text NOT NULL, PRIMARY KEY (team_id, id))";
        manager.get_connection().execute_unprepared(sql).await?;
        daybook_migration::enable_team_rls(manager, "notes").await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared("DROP TABLE notes").await?;
        Ok(())
    }
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the output of a command")]
async fn main() -> Result<(), Box<dyn Error>> {
    let data_dir = std::env::var_os("NOTES_DATA_DIR").map_or_else(|| PathBuf::from(".notes"), PathBuf::from);
    let settings = role_scripts("notes_owner")
        .into_iter()
        .fold(Settings::new("notes"), Settings::set_up);
    let postgres = PrivatePostgres::start(&data_dir, &settings).await?;

    let mut migrations = Migrations::default();
    migrations.add::<NotesMigrator>();
    migrations.up(&postgres.owner_options()).await?;
    // The pool's role owns no table, so the policies bind it.
    let database = Database::connect(DatabaseOptions::new(postgres.owner_options())).await?;

    for (team, text) in [("Shipping", "Call the harbour"), ("Support", "Answer Ada")] {
        let team_id = Uuid::now_v7();
        let tx = database.begin(&Context::system(team_id, "two_teams")).await?;
        let new_team = sqlx::query("INSERT INTO teams (id, name) VALUES ($1, $2)");
        tx.execute_sql(new_team.bind(team_id).bind(team)).await?;
        let new_note = sqlx::query("INSERT INTO notes (team_id, id, text) VALUES ($1, $2, $3)");
        tx.execute_sql(new_note.bind(team_id).bind(Uuid::now_v7()).bind(text))
            .await?;
        tx.commit().await?;

        // No condition on the team: the policy adds it.
        let tx = database.read(&Context::system(team_id, "two_teams")).await?;
        let notes = tx.fetch_all(sqlx::query("SELECT text FROM notes")).await?;
        let texts: Vec<String> = notes.iter().map(|row| row.try_get("text")).collect::<Result<_, _>>()?;
        tx.commit().await?;
        println!("{team} reads {texts:?}");
    }

    let without_team = database
        .fetch_one_without_team("SELECT count(*) AS notes FROM notes")
        .await?;
    println!(
        "without a team there are {} notes",
        without_team.try_get::<i64, _>("notes")?
    );

    database.close().await;
    postgres.stop().await?;
    Ok(())
}
