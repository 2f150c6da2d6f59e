//! The run-time connection pool, and the functions that begin transactions on it.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgRow, Postgres};

use super::enter::{Credential, Entry, Request};
use super::parts::DatabaseParts;
use super::plans::Plans;
use super::stats::Stats;
use super::team_tx::TeamTx;
use super::write::Work;
use super::{Context, Role, self_check};
use crate::clock::Clock;
use crate::error::Result;

/// The future of [`Database::write_as`].
pub type Writing<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// How the run-time pool connects.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DatabaseOptions {
    /// The server and the login.
    pub connect: PgConnectOptions,
    /// Whether to switch to the role `daybook_app` when a connection is opened (startup option `role`). Off if the
    /// login in `connect` already has the rights of that role, which is necessary behind a pooler that refuses startup
    /// options.
    pub assume_app_role: bool,
    /// The maximum number of connections.
    pub max_connections: u32,
    /// How long a caller waits for a free connection.
    pub acquire_timeout: Duration,
    /// Whether connections keep prepared statements. Off behind a pooler that doesn't support them in transaction mode
    /// (PgBouncer before 1.21).
    pub statement_cache: bool,
    /// How long a statement may take, including waiting for locks; `None` for no limit. A cancelled request leaves its
    /// statement running on its connection until this timeout.
    pub statement_timeout: Option<Duration>,
    /// Whether to refuse a login that is a superuser, instead of a warning.
    pub strict_roles: bool,
    /// The name that is shown for people who were erased.
    pub erased_names: ErasedNames,
    /// The clock of the service. Tests can move it.
    pub clock: Clock,
}

/// The name that readers show for people who were erased. The recorded data doesn't change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ErasedNames {
    /// The name that was recorded.
    #[default]
    Keep,
    /// A pseudonym, the same in all places that name the person.
    Pseudonym,
}

impl DatabaseOptions {
    /// Returns options for ten connections as `daybook_app`, with prepared statements.
    pub fn new(connect: PgConnectOptions) -> Self {
        Self {
            connect,
            assume_app_role: true,
            max_connections: 10,
            acquire_timeout: Duration::from_secs(10),
            statement_cache: true,
            statement_timeout: None,
            strict_roles: false,
            erased_names: ErasedNames::Keep,
            clock: Clock::system(),
        }
    }

    /// Sets whether to switch to the role `daybook_app` when a connection is opened.
    #[must_use]
    pub fn assume_app_role(mut self, assume_app_role: bool) -> Self {
        self.assume_app_role = assume_app_role;
        self
    }

    /// Sets the maximum number of connections.
    #[must_use]
    pub fn max_connections(mut self, max_connections: u32) -> Self {
        self.max_connections = max_connections;
        self
    }

    /// Sets how long a caller waits for a free connection.
    #[must_use]
    pub fn acquire_timeout(mut self, acquire_timeout: Duration) -> Self {
        self.acquire_timeout = acquire_timeout;
        self
    }

    /// Sets whether connections keep prepared statements.
    #[must_use]
    pub fn statement_cache(mut self, statement_cache: bool) -> Self {
        self.statement_cache = statement_cache;
        self
    }

    /// Sets how long a statement may take; `None` for no limit.
    #[must_use]
    pub fn statement_timeout(mut self, statement_timeout: Option<Duration>) -> Self {
        self.statement_timeout = statement_timeout;
        self
    }

    /// Sets whether to refuse a login that is a superuser.
    #[must_use]
    pub fn strict_roles(mut self, strict_roles: bool) -> Self {
        self.strict_roles = strict_roles;
        self
    }

    /// Sets the name that is shown for people who were erased.
    #[must_use]
    pub fn erased_names(mut self, erased_names: ErasedNames) -> Self {
        self.erased_names = erased_names;
        self
    }

    /// Sets the clock, which tests can move.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }
}

/// The run-time database: a pool whose role is subject to the policies. Transactions are in a team. Statements without
/// a team see no team's rows, except those about one person's own teams and invitations.
#[derive(Clone)]
pub struct Database {
    pub(super) pool: PgPool,
    plans: Plans,
    persistent: bool,
    statement_timeout: Option<Duration>,
    erased_names: ErasedNames,
    clock: Clock,
    stats: Arc<Stats>,
    pub(super) parts: Arc<DatabaseParts>,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database")
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}

impl Database {
    /// Opens the pool. Checks that its role is subject to the policies, and that policies, triggers, functions and
    /// grants are as the migrations made them.
    ///
    /// # Errors
    /// [`Error::Internal`](crate::Error::Internal) that names each finding and how to repair it;
    /// [`Error::Unavailable`](crate::Error::Unavailable) if the server doesn't answer.
    pub async fn connect(options: DatabaseOptions) -> Result<Self> {
        // Statements are not logged: the one that enters a team contains the person's identity, or the hash of an API
        // key's secret.
        let mut connect = options.connect.application_name("daybook").disable_statement_logging();
        if options.assume_app_role {
            // The role is set once per connection and not per transaction: the message that enters a team would be
            // planned, with its policies, for the old role.
            connect = connect.options([("role", daybook_migration::rls::APP_ROLE)]);
        }
        if !options.statement_cache {
            connect = connect.statement_cache_capacity(0);
        }
        let plans = Plans::default();
        let pool = plans
            .watch(PgPoolOptions::new())
            .max_connections(options.max_connections)
            .acquire_timeout(options.acquire_timeout)
            // A ping for each acquire would cost a round trip. Instead the first statement on a dead connection fails,
            // and `enter` tries it again on another connection.
            .test_before_acquire(false)
            .connect_with(connect)
            .await?;
        let database = Self {
            pool,
            plans,
            persistent: options.statement_cache,
            statement_timeout: options.statement_timeout,
            erased_names: options.erased_names,
            clock: options.clock,
            stats: Arc::default(),
            parts: Arc::default(),
        };
        self_check::refuse_what_breaks_isolation(&database.pool, options.strict_roles, &database.clock).await?;
        Ok(database)
    }

    /// Opens another pool with its own connections, the same parts and extensions, and the same clock.
    ///
    /// # Errors
    /// Those of [`Database::connect`].
    pub async fn open_second_pool(&self, options: DatabaseOptions) -> Result<Self> {
        Ok(Self {
            parts: self.parts.clone(),
            clock: self.clock.clone(),
            ..Self::connect(options).await?
        })
    }

    /// Returns a database without connections, for tests of the layers above that run no statement.
    pub fn unconnected() -> Self {
        Self {
            pool: PgPoolOptions::new().connect_lazy_with(PgConnectOptions::new_without_pgpass()),
            plans: Plans::default(),
            persistent: true,
            statement_timeout: None,
            erased_names: ErasedNames::Keep,
            clock: Clock::system(),
            stats: Arc::default(),
            parts: Arc::default(),
        }
    }

    /// Begins a transaction in a team with the caller's credential, in one round trip.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound) if the person is not a member of the team, or there is no such team.
    /// [`Error::Unauthenticated`](crate::Error::Unauthenticated) for an API key that is not valid for the team.
    pub async fn enter(&self, entry: &Entry) -> Result<TeamTx> {
        TeamTx::enter(self, entry).await
    }

    /// Begins a transaction with a context that the service itself created or restored: for background work and the
    /// command line. An [`Actor::User`](super::Actor::User) must still be a member, and the key of an
    /// [`Actor::ApiKey`](super::Actor::ApiKey) must still be valid.
    ///
    /// # Errors
    /// Those of [`Database::enter`].
    pub async fn begin(&self, context: &Context) -> Result<TeamTx> {
        let credential = Credential::Context(context.clone());
        self.enter(&Entry::new(context.team_id, credential, Request::of(context)))
            .await
    }

    /// Does the same as [`Database::begin`] with a READ ONLY transaction.
    ///
    /// # Errors
    /// Those of [`Database::enter`].
    pub async fn read(&self, context: &Context) -> Result<TeamTx> {
        let credential = Credential::Context(context.clone());
        self.enter(&Entry::new(context.team_id, credential, Request::of(context)).read_only())
            .await
    }

    /// Checks that the database answers.
    ///
    /// # Errors
    /// [`Error::Unavailable`](crate::Error::Unavailable) if it does not.
    pub async fn ping(&self) -> Result<()> {
        sqlx::raw_sql("SELECT 1").execute(&mut *self.acquire().await?).await?;
        Ok(())
    }

    /// Runs a constant message outside any team, and returns its row. The policies show it no team's rows.
    ///
    /// # Errors
    /// Those of any database statement.
    pub async fn fetch_one_without_team(&self, sql: &'static str) -> Result<PgRow> {
        Ok(sqlx::raw_sql(sql).fetch_one(&mut *self.acquire().await?).await?)
    }

    /// Returns the number of the pool's connections, and how many of them are free.
    pub fn connections(&self) -> (u32, usize) {
        (self.pool.size(), self.pool.num_idle())
    }

    /// Returns the clock of the service.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Returns the counters of all transactions together.
    pub fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// Closes the pool as soon as all connections have returned to it.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Runs `work` in a transaction of `entry` and commits on `Ok`. Runs it again after a conflict with another
    /// transaction (serialization failure, deadlock). Refuses actors with a role lower than `role` in the team.
    ///
    /// # Errors
    /// The error of `work`, or the last conflict.
    pub fn write_as<'a, T, F>(&'a self, entry: &'a Entry, role: Role, work: F) -> Writing<'a, T>
    where
        T: Send + 'a,
        F: AsyncFn(&TeamTx) -> Result<T> + for<'t> Work<'t, T> + 'a,
    {
        // Boxed, so that a handler's future contains no closure whose lifetimes the compiler can't infer.
        Box::pin(super::write::write(self, entry, role, work))
    }

    /// Takes a connection from the pool. No other function does, except [`Database::acquire_again`]. Refuses work that
    /// holds a connection already.
    pub(super) async fn acquire(&self) -> Result<PoolConnection<Postgres>> {
        if let Some(deferred) = self.deferred() {
            deferred.refuse_second()?;
        }
        self.acquire_again().await
    }

    /// Takes a connection for a transaction that has given its connection back and begins again.
    pub(super) async fn acquire_again(&self) -> Result<PoolConnection<Postgres>> {
        Ok(self.pool.acquire().await?)
    }

    /// Closes the connections whose plans may be invalid.
    pub(super) fn discard_plans(&self) {
        self.plans.discard();
    }

    pub(super) fn statement_timeout(&self) -> Option<Duration> {
        self.statement_timeout
    }

    pub(super) fn erased_names(&self) -> ErasedNames {
        self.erased_names
    }

    pub(super) fn persistent(&self) -> bool {
        self.persistent
    }
}
