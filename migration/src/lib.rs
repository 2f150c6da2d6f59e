//! Daybook's schema: one file per step. Each step only expands the schema, and has a `down()`.
//!
//! [`Migrator`] has Daybook's own steps. A program's migrators have their own tables of applied steps, so all can be
//! applied to one database.

mod m0001_tenancy;
mod m0002_events;
mod m0003_threads;
mod m0004_notifications;
mod m0005_idempotency_keys;
mod m0006_preferences;
mod m0007_live;
mod m0008_job_sessions;
mod m0009_queue;
mod m0010_event_counts;
mod m0011_stories;
mod m0012_runs;
mod m0013_owner_functions;
mod m0014_row_origins;
mod m0015_restored_events;
mod m0016_people;
mod m0017_notified_messages;
mod m0018_erased_people;
mod m0018_given_by_the_database;
mod m0019_existing_rows;
mod m0020_indexes;
mod m0021_relay_index;
mod online;
pub mod queue;
pub mod rls;

pub use rls::{enable_team_rls, for_each_team};
use sea_orm_migration::prelude::*;

/// Daybook's own steps, recorded in `daybook_migrations`.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_tenancy::Migration),
            Box::new(m0002_events::Migration),
            Box::new(m0003_threads::Migration),
            Box::new(m0004_notifications::Migration),
            Box::new(m0005_idempotency_keys::Migration),
            Box::new(m0006_preferences::Migration),
            Box::new(m0007_live::Migration),
            Box::new(m0008_job_sessions::Migration),
            Box::new(m0009_queue::Migration),
            Box::new(m0010_event_counts::Migration),
            Box::new(m0011_stories::Migration),
            Box::new(m0012_runs::Migration),
            Box::new(m0013_owner_functions::Migration),
            Box::new(m0014_row_origins::Migration),
            Box::new(m0015_restored_events::Migration),
            Box::new(m0016_people::Migration),
            Box::new(m0017_notified_messages::Migration),
            Box::new(m0018_erased_people::Migration),
            Box::new(m0018_given_by_the_database::Migration),
            Box::new(m0019_existing_rows::Migration),
            Box::new(m0020_indexes::Migration),
            Box::new(m0021_relay_index::Migration),
        ]
    }

    fn migration_table_name() -> DynIden {
        "daybook_migrations".into_iden()
    }
}
