//! A program with jobs, and the workers that run them.

use std::fmt;
use std::time::Duration;

use daybook::App;
use daybook::events::Consumers;
use daybook::jobs::{WorkerOptions, Workers};
use daybook::prelude::*;
use daybook::tenancy::{Database, WorkerDatabase};
use daybook::testing::TestDb;
use sqlx::Row as _;
use sqlx::postgres::PgConnection;
use tokio::runtime::Runtime;

use crate::{TeamFixture, count, eventually, migrations, widget};

/// A job that creates a widget with the given name and records an action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// The widget's name.
    pub text: String,
}

/// The actions of [`Note`].
#[derive(Debug, Serialize)]
pub enum NoteAction {
    /// A widget was created.
    Noted {
        /// Its name.
        text: String,
    },
}

impl fmt::Display for NoteAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Noted { text } => write!(f, "Noted {text}"),
        }
    }
}

#[async_trait]
impl Job for Note {
    const NAME: &'static str = "note";

    fn sentence(&self) -> String {
        format!("Started noting {}", self.text)
    }

    async fn run(self, session: &JobSession) -> JobResult {
        let tx = session.begin().await?;
        create_model_with_event(&tx, widget::named(&self.text), Track::All).await?;
        tx.commit().await?;
        session.add_action(&NoteAction::Noted { text: self.text }).await?;
        Ok(())
    }
}

/// A job that fails until there is a widget with the name `mended`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Poisoned;

#[async_trait]
impl Job for Poisoned {
    const NAME: &'static str = "poisoned";
    const MAX_ATTEMPTS: i16 = 2;

    async fn run(self, session: &JobSession) -> JobResult {
        let tx = session.begin().await?;
        let mended = widget::Entity::find()
            .filter(widget::Column::Name.eq("mended"))
            .one(&tx)
            .await?;
        match mended {
            Some(_) => Ok(()),
            None => Err("still poisoned".into()),
        }
    }
}

/// A job that runs until it is stopped.
#[derive(Debug, Serialize, Deserialize)]
pub struct Endless;

#[async_trait]
impl Job for Endless {
    const NAME: &'static str = "endless";

    async fn run(self, _: &JobSession) -> JobResult {
        std::future::pending().await
    }
}

/// The environment variable with the path of a file to which [`scribe()`] writes a line for each acknowledged action.
pub const ACKNOWLEDGED_FILE_VARIABLE: &str = "DAYBOOK_TEST_ACKNOWLEDGED";

/// Writes the event's object label to `jottings` once, adds an action, and records in a file that the action was
/// acknowledged.
#[event_consumer(EventType::Created, object_type = "widget", mode = durable, name = "scribe")]
pub async fn scribe(ctx: &ConsumerContext, event: &Event) -> ConsumerResult {
    let tx = ctx.begin().await?;
    if ctx.once(&tx).await? {
        let query = sqlx::query("INSERT INTO jottings (team_id, body) VALUES ($1, $2)");
        tx.execute_sql(query.bind(tx.team_id()).bind(&event.object_label))
            .await?;
    }
    tx.commit().await?;
    let text = event.object_label.clone();
    ctx.add_action(&NoteAction::Noted { text: text.clone() }).await?;
    if let Some(file) = std::env::var_os(ACKNOWLEDGED_FILE_VARIABLE) {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file)?;
        // One write, so that a kill leaves complete lines.
        std::io::Write::write_all(&mut file, format!("{text}\n").as_bytes())?;
    }
    Ok(())
}

/// Returns a program with these jobs and consumers.
pub fn program(consumers: Consumers) -> App {
    App::new()
        .consumers(consumers)
        .job::<Note>()
        .job::<Poisoned>()
        .job::<Endless>()
}

/// Returns options with shorter times than in production. The times are still long enough that a slow machine doesn't
/// make a worker look lost.
pub fn test_worker_options() -> WorkerOptions {
    WorkerOptions::default()
        .concurrency(4)
        .lost_after(Duration::from_secs(10))
        .grace(Duration::from_millis(300))
        .poll(Duration::from_millis(200))
}

/// Returns options like [`test_worker_options`], for tests in which a worker dies.
pub fn short_lost_timeout() -> WorkerOptions {
    test_worker_options().lost_after(Duration::from_secs(2))
}

/// Starts workers for a database.
pub async fn start_workers(db: &TestDb, database: &Database, options: &WorkerOptions) -> Workers {
    let workers = WorkerDatabase::connect(db.owner_options(), WorkerOptions::CONNECTIONS)
        .await
        .unwrap();
    Workers::start(database, &workers, options).await.unwrap()
}

/// A team, its database as the service uses it, and workers.
pub struct JobRunner {
    /// The team.
    pub fixture: TeamFixture,
    /// The running workers; `None` after they were stopped.
    pub workers: Option<Workers>,
}

impl JobRunner {
    /// Starts with workers.
    pub async fn start() -> Self {
        Self::with_consumers(Consumers::none()).await
    }

    /// Starts with workers and these consumers.
    pub async fn with_consumers(consumers: Consumers) -> Self {
        Self::start_program(program(consumers)).await
    }

    /// Starts with workers that run this program.
    pub async fn start_program(program: App) -> Self {
        let mut runner = Self::without_workers(program).await;
        runner.start_workers().await;
        runner
    }

    /// Starts without workers, so that enqueued jobs wait.
    pub async fn without_workers(program: App) -> Self {
        let db = TestDb::with_migrations(migrations()).await;
        let options = db.options().max_connections(8);
        let database = program.equip(Database::connect(options).await.unwrap()).unwrap();
        let team = db.team("Acme").await;
        let ada = team.member("ada", Role::Owner).await;
        Self {
            fixture: TeamFixture {
                db,
                database,
                team,
                ada,
            },
            workers: None,
        }
    }

    /// Starts workers.
    pub async fn start_workers(&mut self) {
        self.start_workers_with(&test_worker_options()).await;
    }

    /// Starts workers with these options.
    pub async fn start_workers_with(&mut self, options: &WorkerOptions) {
        self.workers = Some(self.start_other_workers(options).await);
    }

    /// Starts other workers for the same database.
    pub async fn start_other_workers(&self, options: &WorkerOptions) -> Workers {
        start_workers(&self.fixture.db, &self.fixture.database, options).await
    }

    /// Starts workers in a separate runtime, which a test can kill.
    pub async fn killable_workers(&self) -> Runtime {
        let runtime = Runtime::new().unwrap();
        let (database, db) = (self.fixture.database.clone(), self.fixture.db.clone());
        let started = runtime.spawn(async move {
            let second_pool = database.open_second_pool(db.options()).await.unwrap();
            let workers = WorkerDatabase::connect(db.owner_options(), WorkerOptions::CONNECTIONS)
                .await
                .unwrap();
            // They stop when the runtime is dropped.
            std::mem::forget(
                Workers::start(&second_pool, &workers, &test_worker_options())
                    .await
                    .unwrap(),
            );
        });
        started.await.unwrap();
        runtime
    }

    /// Waits until a durable consumer has started, so that it receives the events that are recorded after that.
    pub async fn wait_for_consumer(&self, consumer: &str) {
        let workers = WorkerDatabase::connect(self.fixture.db.owner_options(), 1)
            .await
            .unwrap();
        eventually("the consumer's cursor", async || {
            let queue_state = daybook::jobs::queue_state(&workers).await.unwrap();
            queue_state.lags.iter().any(|lag| lag.consumer == consumer)
        })
        .await;
    }

    /// Waits until all enqueued jobs and recorded events are processed.
    pub async fn wait_until_idle(&self) {
        let workers = WorkerDatabase::connect(self.fixture.db.owner_options(), 1)
            .await
            .unwrap();
        let mut owner = self.fixture.db.owner().await;
        let mut connection = self.fixture.team.connection().await;
        eventually("all jobs are done", async || {
            let queue_state = daybook::jobs::queue_state(&workers).await.unwrap();
            let handed_over = queue_state.lags.iter().all(|lag| lag.events == 0);
            let requested = count(&mut connection, "job_requests").await;
            let queued: i64 = sqlx::query_scalar("SELECT count(*) FROM graphile_worker._private_jobs")
                .fetch_one(&mut owner)
                .await
                .unwrap();
            handed_over && requested == 0 && queued == 0
        })
        .await;
    }

    /// Stops the workers.
    pub async fn stop_workers(&mut self) {
        if let Some(workers) = self.workers.take() {
            workers.stop().await;
        }
    }

    /// Enqueues a job in a transaction as Ada.
    pub async fn enqueue(&self, job: impl Job) -> Uuid {
        self.enqueue_with(job, JobOptions::new()).await
    }

    /// Does the same as [`JobRunner::enqueue`], with options.
    pub async fn enqueue_with(&self, job: impl Job, options: JobOptions) -> Uuid {
        let tx = self.fixture.begin().await;
        let id = tx.enqueue_with(job, options).await.unwrap();
        tx.commit().await.unwrap();
        id
    }

    /// Returns the attempts at a job, as `attempt status`, in order.
    pub async fn attempts(&self, job_id: Uuid) -> Vec<String> {
        attempts(&mut self.fixture.team.connection().await, job_id).await
    }

    /// Waits until the attempts at a job are exactly `expected`, each as `attempt status`.
    pub async fn wait_for_attempts(&self, job_id: Uuid, expected: &[&str]) {
        let mut connection = self.fixture.team.connection().await;
        let what = format!("{expected:?}");
        eventually(&what, async || attempts(&mut connection, job_id).await == expected).await;
    }
}

async fn attempts(connection: &mut PgConnection, job_id: Uuid) -> Vec<String> {
    let rows = sqlx::query("SELECT attempt, status FROM job_sessions WHERE job_id = $1 ORDER BY id")
        .bind(job_id)
        .fetch_all(connection)
        .await
        .unwrap();
    rows.iter()
        .map(|row| format!("{} {}", row.get::<i32, _>("attempt"), row.get::<&str, _>("status")))
        .collect()
}
