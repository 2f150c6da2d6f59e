//! The run-time pool, and the doors to it.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Extensions;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, Postgres};
use sqlx::{ConnectOptions as _, Row as _};

use super::enter::{Entrant, Entry, Request};
use super::plans::Plans;
use super::stats::Stats;
use super::team_tx::TeamTx;
use super::write::Work;
use super::{Context, Deferred, Role, self_check};
use crate::error::Result;

/// A [`Database::write_as`] under way.
pub type Writing<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// How the run-time pool connects.
#[derive(Debug, Clone)]
pub struct DatabaseOptions {
    /// Where, and as whom.
    pub connect: PgConnectOptions,
    /// Ask for `daybook_app` when a connection is opened (startup option `role`). Off when `connect` is a
    /// login of its own, as it must be behind a pooler that refuses startup options.
    pub assume_app_role: bool,
    /// How many connections at most.
    pub max_connections: u32,
    /// How long a caller waits for a free one.
    pub acquire_timeout: Duration,
    /// Keep prepared statements on connections. Off behind a pooler that doesn't support them in
    /// transaction mode (PgBouncer before 1.21).
    pub statement_cache: bool,
    /// How long a statement may take, waiting for locks included; none: as long as it wants. A request that is
    /// given up leaves its statement running, and the connection with it, until this.
    pub statement_timeout: Option<Duration>,
    /// Refuse, rather than warn, when the session's login is a superuser.
    pub strict_roles: bool,
    /// What is shown as the name of people who were erased.
    pub erased_names: ErasedNames,
}

/// What readers show as the name of people who were erased. What was recorded stays as it was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ErasedNames {
    /// The name that was recorded.
    #[default]
    Keep,
    /// A pseudonym that is the same wherever the person is named.
    Pseudonym,
}

impl DatabaseOptions {
    /// Ten connections as `daybook_app`, with prepared statements.
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
        }
    }
}

/// The run-time database: a pool whose role can't see past the policies, behind doors that set a team.
#[derive(Clone)]
pub struct Database {
    pub(super) pool: PgPool,
    plans: Plans,
    persistent: bool,
    statement_timeout: Option<Duration>,
    erased_names: ErasedNames,
    stats: Arc<Stats>,
    extensions: Arc<Extensions>,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database")
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}

impl Database {
    /// Opens the pool and checks, through it, that its role is bound by the policies, and that policies, triggers,
    /// functions and grants are as the migrations made them.
    ///
    /// # Errors
    /// [`Error::Internal`](crate::Error::Internal) that names each finding and what repairs it;
    /// [`Error::Unavailable`](crate::Error::Unavailable) if nobody answers.
    pub async fn connect(options: DatabaseOptions) -> Result<Self> {
        // Statements are not logged: that of an entry names who enters, and the hash of an API key's secret.
        let mut connect = options.connect.application_name("daybook").disable_statement_logging();
        if options.assume_app_role {
            // At connect, not per transaction: a statement that switches role is planned, and its policies
            // chosen, as the old role.
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
            // A ping per acquire would be a round trip; a dead connection fails the first statement instead,
            // and `enter` retries that once on a fresh one.
            .test_before_acquire(false)
            .connect_with(connect)
            .await?;
        let database = Self {
            pool,
            plans,
            persistent: options.statement_cache,
            statement_timeout: options.statement_timeout,
            erased_names: options.erased_names,
            stats: Arc::default(),
            extensions: Arc::default(),
        };
        self_check::refuse_what_breaks_isolation(&database.pool, options.strict_roles).await?;
        Ok(database)
    }

    /// Another pool, with connections of its own, whose transactions carry the same.
    ///
    /// # Errors
    /// As [`Database::connect`].
    pub async fn beside(&self, options: DatabaseOptions) -> Result<Self> {
        Ok(Self {
            extensions: self.extensions.clone(),
            ..Self::connect(options).await?
        })
    }

    /// For tests of what is above, as long as it asks nothing.
    #[cfg(test)]
    pub(crate) fn unconnected() -> Self {
        Self {
            pool: PgPoolOptions::new().connect_lazy_with(PgConnectOptions::new_without_pgpass()),
            plans: Plans::default(),
            persistent: true,
            statement_timeout: None,
            erased_names: ErasedNames::Keep,
            stats: Arc::default(),
            extensions: Arc::default(),
        }
    }

    /// Adds a value that every transaction carries: [`TeamTx::extension`]. The layers above keep theirs here
    /// (the consumers, the models), so that this one need not know them.
    #[must_use]
    pub fn with_extension<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        Arc::make_mut(&mut self.extensions).insert(value);
        self
    }

    /// The value of this type, if one was added.
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.extensions.get()
    }

    /// Begins a transaction in a team, in one round trip, for somebody who presented themselves.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound) when they don't belong to the team, or there is none.
    pub async fn enter(&self, entry: &Entry) -> Result<TeamTx> {
        TeamTx::enter(self, entry).await
    }

    /// Begins a transaction with a context that was restored or made by the service itself: background work
    /// and the command line. A [`Actor::User`](super::Actor::User) must still be a member.
    ///
    /// # Errors
    /// As [`Database::enter`].
    pub async fn begin(&self, context: &Context) -> Result<TeamTx> {
        let entrant = Entrant::Context(context.clone());
        self.enter(&Entry::new(context.team_id, entrant, Request::of(context)))
            .await
    }

    /// As [`Database::begin`], in a READ ONLY transaction.
    ///
    /// # Errors
    /// As [`Database::enter`].
    pub async fn read(&self, context: &Context) -> Result<TeamTx> {
        let entrant = Entrant::Context(context.clone());
        self.enter(&Entry::new(context.team_id, entrant, Request::of(context)).read_only())
            .await
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// [`Error::Unavailable`](crate::Error::Unavailable) if not.
    pub async fn ping(&self) -> Result<()> {
        sqlx::raw_sql("SELECT 1").execute(&mut *self.acquire().await?).await?;
        Ok(())
    }

    /// Makes the partitions of this month and the next three, as far as they are missing, and says how many
    /// events, by PostgreSQL's statistics, are in the partition for those that belong to no month that has one.
    /// It should be 0: an event's id has its time, so one that is there was written by a clock that is wrong.
    ///
    /// # Errors
    /// As any statement.
    pub async fn ensure_partitions(&self) -> Result<u64> {
        // One message, since a pooler may give a second one to another connection.
        let row = sqlx::raw_sql(
            "SELECT pg_stat_get_live_tuples('events_default'::regclass) AS strays FROM daybook_ensure_event_partitions(3)",
        )
        .fetch_one(&mut *self.acquire().await?)
        .await?;
        Ok(u64::try_from(row.try_get::<i64, _>("strays")?).unwrap_or_default())
    }

    /// How many events are in no month's partition, as the statistics have it: a clock that writes them is wrong.
    ///
    /// # Errors
    /// As any statement.
    pub async fn strays(&self) -> Result<u64> {
        let row = sqlx::raw_sql("SELECT pg_stat_get_live_tuples('events_default'::regclass) AS strays")
            .fetch_one(&mut *self.acquire().await?)
            .await?;
        Ok(u64::try_from(row.try_get::<i64, _>("strays")?).unwrap_or_default())
    }

    /// How many connections the pool has, and how many of them are free.
    pub fn connections(&self) -> (u32, usize) {
        (self.pool.size(), self.pool.num_idle())
    }

    /// What all transactions together have cost.
    pub fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// Closes the pool once its connections have come back.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Runs `work` in a transaction of `entry`, commits on `Ok`, and begins anew when it met another
    /// transaction (serialization failure, deadlock). Refuses who has less than `role` in the team.
    ///
    /// # Errors
    /// What `work` failed with, or the last meeting.
    pub fn write_as<'a, T, F>(&'a self, entry: &'a Entry, role: Role, work: F) -> Writing<'a, T>
    where
        T: Send + 'a,
        F: AsyncFn(&TeamTx) -> Result<T> + for<'t> Work<'t, T> + 'a,
    {
        // In a box, so that a handler's future holds no closure whose lifetimes the compiler would have to guess.
        Box::pin(super::write::write(self, entry, role, work))
    }

    /// The only way to a connection of the pool. Refuses work that holds one already.
    pub(super) async fn acquire(&self) -> Result<PoolConnection<Postgres>> {
        if let Some(deferred) = self.extension::<Deferred>() {
            deferred.refuse_second()?;
        }
        self.acquire_again().await
    }

    /// As [`Database::acquire`], for a transaction that has given its connection back and begins again.
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
