//! A guest is created, renamed and deleted on a private PostgreSQL server. Each change is an event, which a consumer
//! receives in the same transaction.
//!
//! ```console
//! $ cargo run --package daybook-events --example guests
//! ```

use std::error::Error;
use std::path::PathBuf;

use daybook_events::{
    ConsumerResult, Consumers, Event, EventType, EventsParts, FieldPolicy, Sentences, Track, Tracked,
    create_model_with_event, delete_model_with_event, event_consumer, update_model_with_event,
};
use daybook_migration::rls::role_scripts;
use daybook_private_postgres::{PrivatePostgres, Settings};
use daybook_tenancy::{Context, Database, DatabaseOptions, Migrations, TeamTx};
use sea_orm::{Set, Unchanged};
use sea_orm_migration::prelude::*;
use uuid::Uuid;

mod guest {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, serde::Serialize)]
    #[sea_orm(table_name = "guests")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub team_id: Uuid,
        pub name: String,
        pub phone: Option<String>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

impl Tracked for guest::Model {
    const OBJECT_TYPE: &'static str = "guest";

    fn label(&self) -> String {
        self.name.clone()
    }

    fn field_policy(column: &guest::Column) -> FieldPolicy {
        use guest::Column as C;
        match column {
            C::Id | C::TeamId => FieldPolicy::Ignore,
            C::Name => FieldPolicy::Track,
            C::Phone => FieldPolicy::Redact,
        }
    }
}

/// Runs in the transaction of the change. An error rolls it back.
#[event_consumer(all, object_type = "guest")]
#[expect(clippy::print_stdout, reason = "the output of a command")]
async fn print(_tx: &TeamTx, event: &Event) -> ConsumerResult {
    if event.event_type == EventType::Created && event.object_label.is_empty() {
        return Err("a guest has a name".into());
    }
    let sentence = Sentences::default().with::<guest::Model>().render(event);
    println!("{sentence}");
    Ok(())
}

/// The program's own migrations.
struct GuestsMigrator;

#[async_trait::async_trait]
impl MigratorTrait for GuestsMigrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(CreateGuests)]
    }

    fn migration_table_name() -> DynIden {
        "guests_migrations".into_iden()
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
        let sql = "CREATE TABLE guests (
            team_id uuid NOT NULL REFERENCES teams (id), id uuid NOT NULL, name text NOT NULL, phone text,
            PRIMARY KEY (team_id, id))";
        manager.get_connection().execute_unprepared(sql).await?;
        daybook_migration::enable_team_rls(manager, "guests").await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared("DROP TABLE guests").await?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let data_dir = std::env::var_os("GUESTS_DATA_DIR").map_or_else(|| PathBuf::from(".guests"), PathBuf::from);
    let settings = role_scripts("guests_owner")
        .into_iter()
        .fold(Settings::new("guests"), Settings::set_up);
    let postgres = PrivatePostgres::start(&data_dir, &settings).await?;
    let mut migrations = Migrations::default();
    migrations.add::<GuestsMigrator>();
    migrations.up(&postgres.owner_options()).await?;

    let database = Database::connect(DatabaseOptions::new(postgres.owner_options())).await?;
    let database = EventsParts::new(Consumers::linked()?).attach(database);

    let team_id = Uuid::now_v7();
    let tx = database.begin(&Context::system(team_id, "guests")).await?;
    let new_team = sqlx::query("INSERT INTO teams (id, name) VALUES ($1, 'Reception')");
    tx.execute_sql(new_team.bind(team_id)).await?;
    let new_guest = guest::ActiveModel {
        name: Set("Grace".to_owned()),
        phone: Set(Some("555-0100".to_owned())),
        ..Default::default()
    };
    let guest = create_model_with_event(&tx, new_guest, Track::All).await?;
    let changes = guest::ActiveModel {
        id: Unchanged(guest.id),
        name: Set("Grace Hopper".to_owned()),
        ..Default::default()
    };
    let guest = update_model_with_event(&tx, &guest, changes, Track::All).await?;
    delete_model_with_event(&tx, guest, Some("left")).await?;
    tx.commit().await?;

    database.close().await;
    postgres.stop().await?;
    Ok(())
}
