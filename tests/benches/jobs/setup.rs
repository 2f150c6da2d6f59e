//! A program with jobs on its own private PostgreSQL, with fsync.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use daybook::App;
use daybook::campaigns::{self, campaign};
use daybook::events::Consumers;
use daybook::jobs::{WorkerOptions, Workers};
use daybook::postgres::PrivatePostgres;
use daybook::prelude::*;
use daybook::teams::{NewPerson, NewTeam, create_team};
use daybook::tenancy::{DatabaseOptions, WorkerDatabase};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use crate::noop::{Noop, Started};

/// The number of jobs that run at the same time, in Daybook and in the queue alone.
pub(crate) const CONCURRENCY: usize = 10;

pub(crate) struct Bench {
    postgres: PrivatePostgres,
    folder: PathBuf,
    pub(crate) owner: PgConnectOptions,
    pub(crate) database: Database,
    /// A pool as `daybook_app`, with plain sqlx.
    pub(crate) app: PgPool,
    /// A pool as `daybook_worker`, with plain sqlx.
    pub(crate) worker: PgPool,
    pub(crate) context: Context,
}

fn program(consumers: Consumers) -> App {
    App::new()
        .model::<campaign::Model>()
        .migrator::<campaigns::Migrator>()
        .consumers(consumers)
        .job::<Noop>()
        .job::<Started>()
}

async fn pool(owner: &PgConnectOptions, role: &str) -> PgPool {
    PgPoolOptions::new()
        .max_connections(16)
        .test_before_acquire(false)
        .connect_with(owner.clone().options([("role", role)]))
        .await
        .unwrap()
}

impl Bench {
    pub(crate) async fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("daybook-bench-jobs-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let postgres = PrivatePostgres::start(&folder).await.unwrap();
        let owner = sqlx::ConnectOptions::disable_statement_logging(postgres.owner_options());
        let program = program(Consumers::none());
        program.migrations().up(&owner).await.unwrap();
        let options = DatabaseOptions::new(owner.clone()).max_connections(16);
        let database = program.equip(Database::connect(options).await.unwrap()).unwrap();
        let team_id = create_team(
            &database,
            NewTeam {
                name: "Acme".to_owned(),
                owner: NewPerson {
                    issuer: "bench".to_owned(),
                    subject: "ada".to_owned(),
                    display_name: "Ada".to_owned(),
                    email: None,
                },
                owner_handle: "ada".to_owned(),
            },
        )
        .await
        .unwrap();
        Self {
            app: pool(&owner, "daybook_app").await,
            worker: pool(&owner, "daybook_worker").await,
            postgres,
            folder,
            owner,
            database,
            context: Context::system(team_id, "bench"),
        }
    }

    /// Returns another pool for the same database, with these consumers.
    pub(crate) async fn with_consumers(&self, consumers: Consumers) -> Database {
        let options = DatabaseOptions::new(self.owner.clone()).max_connections(16);
        program(consumers)
            .equip(Database::connect(options).await.unwrap())
            .unwrap()
    }

    /// Returns the same database with two connections: one returns to the pool while the other is used.
    pub(crate) async fn with_two_connections(&self) -> Database {
        let options = DatabaseOptions::new(self.owner.clone()).max_connections(2);
        self.database.open_second_pool(options).await.unwrap()
    }

    pub(crate) async fn work(&self) -> Workers {
        let workers = WorkerDatabase::connect(self.owner.clone(), WorkerOptions::CONNECTIONS)
            .await
            .unwrap();
        let options = WorkerOptions::default().concurrency(CONCURRENCY);
        Workers::start(&self.database, &workers, &options).await.unwrap()
    }

    /// Waits until the queue and the job requests are empty.
    pub(crate) async fn drained(&self) {
        let began = Instant::now();
        loop {
            let left: bool = sqlx::query_scalar(
                "SELECT EXISTS (SELECT FROM graphile_worker._private_jobs) OR EXISTS (SELECT FROM job_requests)",
            )
            .fetch_one(&self.worker)
            .await
            .unwrap();
            if !left {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(300), "the queue does not drain");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn stop(self) {
        self.app.close().await;
        self.worker.close().await;
        self.database.close().await;
        self.postgres.stop().await.unwrap();
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}
