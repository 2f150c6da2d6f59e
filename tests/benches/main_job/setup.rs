//! A service's database and the floor's pool on one PostgreSQL, which starts as the service starts it.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use daybook::campaigns::{self, campaign};
use daybook::events::{Consumers, EventsParts, Sentences};
use daybook::postgres::PrivatePostgres;
use daybook::tenancy::{Context, Credential, Database, DatabaseOptions, Entry, Migrations, Request};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use uuid::Uuid;

/// The future of a piece of work.
pub(crate) type WorkFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The number of connections of the widest case.
const CONNECTIONS: u32 = 8;

/// Everything that a case needs. It is cheap to clone.
#[derive(Clone)]
pub(crate) struct Bench(Arc<Parts>);

pub(crate) struct Parts {
    postgres: std::sync::Mutex<Option<PrivatePostgres>>,
    folder: PathBuf,
    pub(crate) owner: PgConnectOptions,
    /// Without consumers: only the event.
    pub(crate) without_consumers: Database,
    /// With Daybook's own consumers: thread and notifications.
    pub(crate) with_consumers: Database,
    /// The floor's pool, with the same settings.
    pub(crate) pool: PgPool,
    pub(crate) team_id: Uuid,
    pub(crate) user_id: Uuid,
    pub(crate) subject: String,
    /// One campaign per connection to update, so that the connections don't wait for each other.
    pub(crate) campaigns: Vec<campaign::Model>,
    /// A thousand campaigns per connection.
    pub(crate) thousands: Vec<Vec<Uuid>>,
    pub(crate) floor_trips: AtomicU64,
}

impl std::ops::Deref for Bench {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Bench {
    /// Starts on a separate cluster; `name` is the name of its folder.
    pub(crate) async fn start(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("daybook-bench-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let postgres = PrivatePostgres::start(&folder).await.unwrap();
        let owner = postgres.owner_options();
        let mut migrations = Migrations::default();
        migrations.add::<campaigns::Migrator>();
        migrations.up(&owner).await.unwrap();

        let options = DatabaseOptions::new(owner.clone()).max_connections(CONNECTIONS);
        let sentences = Sentences::default().with::<campaign::Model>();
        let without_consumers = EventsParts {
            sentences,
            ..EventsParts::new(Consumers::none())
        };
        let without_consumers = without_consumers.attach(Database::connect(options.clone()).await.unwrap());
        let daybooks_own = Consumers::of([
            daybook::threads::post_to_thread::CONSUMER,
            daybook::notifications::send_notifications::CONSUMER,
        ]);
        let with_consumers = EventsParts::new(daybooks_own.unwrap());
        let with_consumers = with_consumers.attach(Database::connect(options.clone()).await.unwrap());
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .test_before_acquire(false)
            .connect_with(options.connect.options([("role", "daybook_app")]))
            .await
            .unwrap();

        let (team_id, user_id, subject) = people(&without_consumers).await;
        let bench = Parts {
            postgres: std::sync::Mutex::new(Some(postgres)),
            folder,
            owner,
            without_consumers,
            with_consumers,
            pool,
            team_id,
            user_id,
            subject,
            campaigns: Vec::new(),
            thousands: Vec::new(),
            floor_trips: AtomicU64::new(0),
        };
        Self(Arc::new(bench))
    }

    /// Creates the rows that the updates change.
    ///
    /// # Panics
    /// If another clone of the bench exists.
    pub(crate) async fn with_rows_to_update(self) -> Self {
        let mut bench = Arc::into_inner(self.0).unwrap();
        for _ in 0..CONNECTIONS {
            bench.campaigns.extend(crate::ours::make(&bench, 1).await);
            let thousand = crate::ours::make(&bench, 1_000).await;
            bench
                .thousands
                .push(thousand.iter().map(|campaign| campaign.id).collect());
        }
        Self(Arc::new(bench))
    }

    pub(crate) async fn machine(&self) -> String {
        let version: String = sqlx::query_scalar("SHOW server_version")
            .fetch_one(&self.pool)
            .await
            .unwrap();
        let fsync: String = sqlx::query_scalar("SHOW fsync").fetch_one(&self.pool).await.unwrap();
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        format!(
            "PostgreSQL {version}, fsync {fsync}, {cores} cores shared with the server; {} rounds, medians",
            crate::ROUNDS
        )
    }

    /// Returns the number of round trips of one piece of Daybook's work.
    pub(crate) async fn round_trips(&self, work: WorkFuture) -> u64 {
        let counted = || self.without_consumers.stats().round_trips() + self.with_consumers.stats().round_trips();
        let before = counted();
        work.await;
        counted() - before
    }

    /// Returns the number of round trips of the floor's work.
    pub(crate) async fn floor_round_trips(&self, work: WorkFuture) -> u64 {
        let before = self.floor_trips.load(Ordering::Relaxed);
        work.await;
        self.floor_trips.load(Ordering::Relaxed) - before
    }

    pub(crate) async fn stop(self) {
        self.without_consumers.close().await;
        self.with_consumers.close().await;
        self.pool.close().await;
        let postgres = self.postgres.lock().unwrap().take();
        if let Some(postgres) = postgres {
            let home = postgres.home().to_owned();
            postgres.stop().await.unwrap();
            let _ = std::fs::remove_dir_all(home);
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Parts {
    /// Returns the entry that a request of the acting person would use.
    pub(crate) fn entry(&self) -> Entry {
        let credential = Credential::Person {
            issuer: "daybook".to_owned(),
            subject: self.subject.clone(),
            acting: None,
        };
        let request = Request {
            request_id: Some("bench".to_owned()),
            correlation_id: Uuid::from_u128(1),
            via: Some("http".to_owned()),
            reason: None,
            claim: None,
            observer: None,
        };
        Entry::new(self.team_id, credential, request)
    }
}

/// Creates a team with a person who acts and three people who watch campaigns.
async fn people(database: &Database) -> (Uuid, Uuid, String) {
    use daybook::teams::{NewMember, NewPerson, NewTeam, add_member, create_team};
    let person = |subject: &str| NewPerson {
        issuer: "daybook".to_owned(),
        subject: subject.to_owned(),
        display_name: subject.to_owned(),
        email: None,
    };
    let new = NewTeam {
        name: "Bench".to_owned(),
        owner: person("ada"),
        owner_handle: "ada".to_owned(),
    };
    let team_id = create_team(database, new).await.unwrap();
    let tx = database.begin(&Context::system(team_id, "bench")).await.unwrap();
    for handle in ["grace", "linus", "mary"] {
        let new = NewMember {
            person: person(handle),
            handle: handle.to_owned(),
            role: daybook::tenancy::Role::Member,
        };
        let member = add_member(&tx, &new).await.unwrap();
        let watch = sqlx::query("INSERT INTO watches (team_id, user_id, object_type) VALUES ($1, $2, 'campaign')");
        tx.execute_sql(watch.bind(team_id).bind(member.user_id)).await.unwrap();
    }
    tx.commit().await.unwrap();
    let own = database.own_teams("daybook", "ada").await.unwrap().unwrap();
    (team_id, own.details.user_id, "ada".to_owned())
}
