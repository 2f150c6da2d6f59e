//! Combines a program's models, migrations, routes and consumers.

#[cfg(feature = "cli")]
use std::pin::Pin;

use crate::runs::entity as run;
#[cfg(feature = "server")]
use axum::Router;
use sea_orm_migration::MigratorTrait;
#[cfg(feature = "server")]
use utoipa_axum::router::OpenApiRouter;

use crate::auth::AuthParts;
use crate::error::{Error, Result};
use crate::events::{Consumers, EventsParts, Sentences, Tracked};
use crate::housekeeping::{self, Retention};
use crate::jobs::{self, Job, Jobs, JobsParts};
#[cfg(feature = "server")]
use crate::server::{self, AppState};
use crate::signals::{SignalHandlers, Signals};
use crate::teams::with_access_sentences;
#[cfg(feature = "cli")]
use crate::tenancy::Context;
use crate::tenancy::{Database, Extensions, Migrations};
use crate::wide_events::WideEventConfig;

/// A function that writes sample data into a team, on behalf of the people whose contexts it receives.
#[cfg(feature = "cli")]
pub type Seeder = for<'a> fn(&'a Database, &'a [Context]) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// A function that changes how wide events are made.
type ConfigureWideEvents = Box<dyn FnOnce(WideEventConfig) -> WideEventConfig + Send>;

/// A program that is built on Daybook.
///
/// ```no_run
/// # use daybook::prelude::*;
/// # use daybook::campaigns::campaign;
/// # use sea_orm_migration::{MigrationTrait, MigratorTrait};
/// # struct MyMigrator;
/// # impl MigratorTrait for MyMigrator {
/// #     fn migrations() -> Vec<Box<dyn MigrationTrait>> {
/// #         Vec::new()
/// #     }
/// # }
/// # fn routes() -> OpenApiRouter<AppState> {
/// #     OpenApiRouter::new()
/// # }
/// # async fn program() -> std::process::ExitCode {
/// daybook::App::new()
///     .model::<campaign::Model>()
///     .migrator::<MyMigrator>()
///     .routes(routes())
///     .run()
///     .await
/// # }
/// ```
#[derive(Default)]
pub struct App {
    pub(crate) migrations: Migrations,
    pub(crate) sentences: Sentences,
    pub(crate) consumers: Option<Consumers>,
    #[cfg(feature = "cli")]
    pub(crate) seeder: Option<Seeder>,
    jobs: Jobs,
    /// The error of the last job that could not be added. [`App::equip`] returns it.
    bad_job: Option<Error>,
    extensions: Extensions,
    wide_events: Option<ConfigureWideEvents>,
    #[cfg(feature = "server")]
    routes: OpenApiRouter<AppState>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App")
            .field("migrations", &self.migrations)
            .field("models", &self.sentences)
            .finish_non_exhaustive()
    }
}

impl App {
    /// Creates a program with only Daybook's own parts: threads, notifications, members and keys, and no model.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a model, with its sentences for its events.
    #[must_use]
    pub fn model<M: Tracked>(mut self) -> Self {
        self.sentences = self.sentences.with::<M>();
        self
    }

    /// Adds migrations, which are applied after Daybook's own. If the program has several migrators, give each its own
    /// `migration_table_name`.
    #[must_use]
    pub fn migrator<M: MigratorTrait>(mut self) -> Self {
        self.migrations.add::<M>();
        self
    }

    /// Adds routes below `/v1/teams/{team_id}`: an [`OpenApiRouter`], or a plain [`Router`], whose routes are not in
    /// the OpenAPI document.
    #[cfg(feature = "server")]
    #[must_use]
    pub fn routes(mut self, routes: impl Into<OpenApiRouter<AppState>>) -> Self {
        self.routes = self.routes.merge(routes.into());
        self
    }

    /// Sets the consumers that run. Without it, all consumers that are linked into the program run
    /// ([`Consumers::linked`]).
    #[must_use]
    pub fn consumers(mut self, consumers: Consumers) -> Self {
        self.consumers = Some(consumers);
        self
    }

    /// Adds a job. Processes that serve run it, and transactions can enqueue it.
    #[must_use]
    pub fn job<J: Job>(mut self) -> Self {
        self.add_job(|jobs| jobs.with::<J>());
        self
    }

    /// Adds a job that also runs on a schedule, as the service's own work in the team `system`. The schedule is minute,
    /// hour, day of the month, month and day of the week, in UTC, as in crontab: `0 4 * * *`, `*/15 8-18 * * MON-FRI`,
    /// `@daily`.
    #[must_use]
    pub fn scheduled_job<J: Job>(mut self, schedule: &str, job: J) -> Self {
        self.add_job(|jobs| jobs.with::<J>()?.scheduled(schedule, &job));
        self
    }

    fn add_job(&mut self, add: impl FnOnce(Jobs) -> Result<Jobs>) {
        match add(self.jobs.clone()) {
            Ok(jobs) => self.jobs = jobs,
            Err(error) => self.bad_job = Some(error),
        }
    }

    /// Adds a value of the program's own, such as a client for another service. Its type is the key: a later value of
    /// the same type replaces the earlier one.
    ///
    /// Code reads it from what it has at hand: a handler with [`Team::extension`](crate::http::Team::extension), an
    /// in-transaction consumer with [`TeamTx::extension`](crate::tenancy::TeamTx::extension), a job with
    /// [`JobSession::extension`](crate::jobs::JobSession::extension), and a durable consumer with
    /// [`ConsumerContext::extension`](crate::events::ConsumerContext::extension).
    ///
    /// ```
    /// use daybook::prelude::*;
    ///
    /// /// A client for a mail service.
    /// #[derive(Clone)]
    /// struct Mailer {
    ///     host: String,
    /// }
    ///
    /// # impl Mailer {
    /// #     async fn send(&self, _to: &str, _id: Uuid) -> std::io::Result<()> {
    /// #         Ok(())
    /// #     }
    /// # }
    /// #[derive(Serialize, Deserialize)]
    /// struct SendWelcome {
    ///     to: String,
    /// }
    ///
    /// #[async_trait]
    /// impl Job for SendWelcome {
    ///     const NAME: &'static str = "send_welcome";
    ///
    ///     async fn run(self, session: &JobSession) -> JobResult {
    ///         let mailer = session.extension::<Mailer>().ok_or("the program has no Mailer")?;
    ///         mailer.send(&self.to, session.job_id()).await?;
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let app = daybook::App::new()
    ///     .extension(Mailer { host: "mail.example.com".to_owned() })
    ///     .job::<SendWelcome>();
    /// # let _ = app;
    /// ```
    #[must_use]
    pub fn extension<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.extensions.insert(value);
        self
    }

    /// Sets the function that writes sample data into the sample team of `daybook dev`.
    #[cfg(feature = "cli")]
    #[must_use]
    pub fn sample(mut self, seeder: Seeder) -> Self {
        self.seeder = Some(seeder);
        self
    }

    /// Changes how wide events are made, after the settings were applied. For example, it adds redaction rules, a
    /// schema with the program's own fields, or a sampling function.
    #[must_use]
    pub fn wide_events(mut self, configure: impl FnOnce(WideEventConfig) -> WideEventConfig + Send + 'static) -> Self {
        self.wide_events = Some(Box::new(configure));
        self
    }

    /// Attaches to a database the parts that this program's requests, jobs and commands need, one struct for each
    /// layer, and the program's own values. A process that serves or works adds what only it has: its wide events,
    /// workers, run logs and settings.
    ///
    /// # Errors
    /// [`Error::Internal`] that names two consumers or two jobs with the same name.
    pub fn equip(&self, database: Database) -> Result<Database> {
        if let Some(error) = &self.bad_job {
            return Err(Error::internal(
                std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string),
            ));
        }
        let consumers = match &self.consumers {
            Some(consumers) => consumers.clone(),
            None => Consumers::linked()?,
        };
        let events = EventsParts {
            consumers,
            sentences: with_access_sentences(self.sentences.clone().with::<run::Model>()),
            isolated_failures: jobs::isolated_failures(),
        };
        let jobs = JobsParts::new(housekeeping::jobs(self.jobs.clone())?.with::<jobs::ConsumeEvents>()?);
        let auth = AuthParts::default();
        let signals = Signals::new(auth.access.handle(jobs.notifier.handle(SignalHandlers::default())));
        let database = events.attach(database.with_extensions(&self.extensions));
        let database = signals.attach(database);
        let database = auth.attach(database);
        let database = jobs.attach(database);
        Ok(Retention::default().attach(database))
    }

    /// Returns the configuration of this program's wide events, based on the settings' `config`. The function
    /// from [`App::wide_events`] can be used only once.
    pub fn wide_event_config(&mut self, config: WideEventConfig) -> WideEventConfig {
        match self.wide_events.take() {
            Some(configure) => configure(config),
            None => config,
        }
    }

    /// Returns all migrations of the program.
    pub fn migrations(&self) -> &Migrations {
        &self.migrations
    }

    /// Returns the program's whole HTTP service, to be served, or called in a test.
    #[cfg(feature = "server")]
    pub fn into_router(self, state: AppState) -> Router {
        server::router(state, self.routes)
    }
}
