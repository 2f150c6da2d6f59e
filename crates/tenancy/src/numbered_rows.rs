//! Writes numbered rows, from 1 on without gaps, independently of the transactions of the same work.
//!
//! Work must not wait for a second connection while it holds one. If all connections of a pool are held by work that
//! waits for another one, nothing makes progress until all of them time out. So a row that is added while a transaction
//! of the work is open waits in memory, and is written through that transaction's own connection: inside the
//! transaction, as its last statement before COMMIT, or by itself after a ROLLBACK. A row that is added while no
//! transaction is open is written by one statement on its own connection, and is committed when the call returns.
//!
//! **After a crash:** a waiting row is lost with its process. If its transaction committed, the row was written with
//! it.
//!
//! **Invariant:** a caller that waits for the lock of the rows already has its connection, or will not need one.
//! So the lock's owner always makes progress, however small the pool is.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex as StdMutex;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnection, Postgres};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Executor as _, Row as _};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task;
use uuid::Uuid;

use super::team_tx::{RunToCompletion, give_back};
use super::{Database, SignalTopic};
use crate::clock::Clock;
use crate::error::{Error, Result};

/// The maximum number of one owner's rows that wait for the end of its transactions.
pub const MAX_WAITING_ROWS: usize = 10_000;
/// The maximum size of these rows together.
pub const MAX_WAITING_BYTES: usize = 8 << 20;

/// The owner of the rows: a job session, for example.
#[derive(Debug, Clone, Copy)]
pub struct Owner {
    /// The owner's team.
    pub team_id: Uuid,
    /// The owner's id.
    pub id: Uuid,
}

/// A kind of numbered row, and how it is written.
pub trait NumberedRow: fmt::Debug + Send + Sync + Sized + 'static {
    /// The signal to publish when such rows become visible.
    const CHANGED: SignalTopic;

    /// Returns the approximate memory that the row uses.
    fn size_bytes(&self) -> usize;

    /// Returns one `INSERT … SELECT … FROM (SELECT set_config('daybook.team_id', …, true))` of these rows, with the
    /// numbers from `first` on.
    fn insert<'q>(owner: Owner, first: i64, rows: &'q [PendingRow<Self>]) -> Query<'q, Postgres, PgArguments>;

    /// Returns a query for the owner's last number, as `last`; 0 if there is none.
    fn select_last(owner: Owner) -> String;
}

/// A row that is about to be written.
#[derive(Debug)]
pub struct PendingRow<R> {
    /// The row.
    pub row: R,
    /// When the row was added; `None` if it is written at once.
    added: Option<Instant>,
}

impl<R> PendingRow<R> {
    /// Returns how long ago the row was added, in microseconds. It is subtracted from PostgreSQL's time, so it is
    /// measured with a clock that a test can't move either.
    pub fn age_us(&self) -> i64 {
        let age = self.added.map(|added| Clock::machine_instant().duration_since(added));
        let age = age.unwrap_or_default();
        i64::try_from(age.as_micros()).unwrap_or(i64::MAX)
    }
}

/// The numbered rows of one owner. The module describes when they are written.
#[derive(Debug)]
pub struct NumberedRows<R> {
    owner: Owner,
    state: Arc<Mutex<RowsState<R>>>,
    /// The tasks that hold an open transaction of this work.
    holders: StdMutex<Vec<task::Id>>,
}

#[derive(Debug)]
struct RowsState<R> {
    /// The number of open transactions of this work.
    open: usize,
    /// The number of the last row that was written.
    last: i64,
    /// False after a connection broke during a write: then it is unknown whether the rows were written.
    is_last_known: bool,
    /// The waiting rows, whose numbers begin with `last + 1`.
    waiting: Vec<PendingRow<R>>,
    waiting_bytes: usize,
}

impl<R: NumberedRow> RowsState<R> {
    fn last_assigned(&self) -> i64 {
        self.last + i64::try_from(self.waiting.len()).unwrap_or(i64::MAX)
    }

    /// Lets rows wait for the end of a transaction. Returns the number of the last one.
    fn defer(&mut self, rows: Vec<R>) -> Result<i64> {
        if !self.is_last_known {
            return Err(Error::Unavailable {
                detail: "the connection broke during a write; end the open transaction and try again".into(),
                source: None,
            });
        }
        let bytes: usize = rows.iter().map(NumberedRow::size_bytes).sum();
        if self.waiting.len() + rows.len() > MAX_WAITING_ROWS || self.waiting_bytes + bytes > MAX_WAITING_BYTES {
            return Err(Error::conflict(
                "too-many-waiting",
                format!(
                    "at most {MAX_WAITING_ROWS} rows and {MAX_WAITING_BYTES} bytes can wait for the end of a \
                     transaction; end it before you add more"
                ),
            ));
        }
        let added = Some(Clock::machine_instant());
        self.waiting
            .extend(rows.into_iter().map(|row| PendingRow { row, added }));
        self.waiting_bytes += bytes;
        Ok(self.last_assigned())
    }

    /// Notes that the first waiting rows were written.
    fn written(&mut self, rows: usize) {
        let written = self.waiting.drain(..rows);
        let bytes: usize = written.map(|waiting| waiting.row.size_bytes()).sum();
        self.waiting_bytes -= bytes;
        self.last += i64::try_from(rows).unwrap_or(i64::MAX);
    }

    /// Notes a failed statement or a failed COMMIT. If the database refused it, the rows were not written; after any
    /// other error that is unknown.
    fn failed(&mut self, error: &sqlx::Error) {
        if !matches!(error, sqlx::Error::Database(_)) {
            self.is_last_known = false;
        }
    }
}

impl<R: NumberedRow> NumberedRows<R> {
    /// Returns the rows of an owner, with no waiting row.
    pub fn new(owner: Owner) -> Arc<Self> {
        Arc::new(Self {
            owner,
            state: Arc::new(Mutex::new(RowsState {
                open: 0,
                last: 0,
                is_last_known: true,
                waiting: Vec::new(),
                waiting_bytes: 0,
            })),
            holders: StdMutex::default(),
        })
    }

    /// Returns the last number that was assigned.
    pub async fn count(&self) -> i64 {
        self.state.lock().await.last_assigned()
    }

    /// Adds rows in order: writes them, or lets them wait for the open transaction. Returns the number of the last one.
    ///
    /// # Errors
    /// Those of any database statement. If the database refused the statement, none of these rows is written; if the
    /// connection broke, it is unknown whether they are. [`Error::Conflict`] if too many rows wait.
    pub async fn add(self: &Arc<Self>, database: &Database, rows: Vec<R>) -> Result<i64> {
        {
            let mut state = self.state.lock().await;
            if state.open > 0 {
                return state.defer(rows);
            }
            if rows.is_empty() && state.is_last_known {
                return Ok(state.last_assigned());
            }
        }
        let connection = database.acquire().await?;
        let (this, database) = (self.clone(), database.clone());
        // The write completes even if the caller is cancelled, so that it is known which rows are written.
        RunToCompletion::new(async move { this.write(&database, connection, rows).await }).await
    }

    /// Writes the waiting rows, also while a transaction is open.
    ///
    /// # Errors
    /// Those of any database statement; then the rows continue to wait.
    pub async fn flush(self: &Arc<Self>, database: &Database) -> Result<()> {
        if self.state.lock().await.waiting.is_empty() {
            return Ok(());
        }
        let mut connection = database.acquire().await?;
        let mut state = self.state.lock().await;
        match self.write_waiting(&mut connection, database, &mut state).await {
            Ok(()) => Ok(()),
            Err(error) => {
                drop(state);
                give_back(connection, None).await;
                Err(error.into())
            }
        }
    }

    async fn write(&self, database: &Database, mut connection: PoolConnection<Postgres>, rows: Vec<R>) -> Result<i64> {
        let mut state = self.state.lock().await;
        // A transaction may have begun during the wait for the connection.
        if state.open > 0 {
            return state.defer(rows);
        }
        let rows: Vec<_> = rows.into_iter().map(|row| PendingRow { row, added: None }).collect();
        let written = async {
            self.write_waiting(&mut connection, database, &mut state).await?;
            if !rows.is_empty() {
                let first = state.last + 1;
                let inserted = self.insert(&mut connection, database, first, &rows).await;
                inserted.inspect_err(|error| state.failed(error))?;
                state.last += i64::try_from(rows.len()).unwrap_or(i64::MAX);
            }
            Ok::<_, sqlx::Error>(state.last)
        };
        match written.await {
            Ok(last) => Ok(last),
            Err(error) => {
                drop(state);
                give_back(connection, None).await;
                Err(error.into())
            }
        }
    }

    /// Writes the waiting rows on a connection without a transaction.
    async fn write_waiting(
        &self,
        connection: &mut PgConnection,
        database: &Database,
        state: &mut RowsState<R>,
    ) -> Result<(), sqlx::Error> {
        if !state.is_last_known {
            let last = self.read_last(connection).await?;
            let arrived = usize::try_from(last - state.last).unwrap_or_default();
            state.written(arrived.min(state.waiting.len()));
            state.last = last;
            state.is_last_known = true;
        }
        if state.waiting.is_empty() {
            return Ok(());
        }
        let inserted = self.insert(connection, database, state.last + 1, &state.waiting).await;
        inserted.inspect_err(|error| state.failed(error))?;
        state.written(state.waiting.len());
        Ok(())
    }

    /// Writes rows with one statement, which is a transaction of its own.
    async fn insert(
        &self,
        connection: &mut PgConnection,
        database: &Database,
        first: i64,
        rows: &[PendingRow<R>],
    ) -> Result<(), sqlx::Error> {
        let began = database.clock().instant();
        let query = R::insert(self.owner, first, rows);
        let outcome = if database.persistent() {
            query.execute(&mut *connection).await.map(drop)
        } else {
            // Behind a pooler the two messages of a new prepared statement may reach two connections.
            connection.execute("BEGIN").await?;
            match query.persistent(false).execute(&mut *connection).await {
                Ok(_) => connection.execute("COMMIT").await.map(drop),
                Err(error) => Err(error),
            }
        };
        database.stats().add(database.clock().elapsed_since(began));
        outcome?;
        database.signal(self.owner.team_id, R::CHANGED);
        Ok(())
    }

    async fn read_last(&self, connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
        let sql = format!(
            "BEGIN READ ONLY; SET LOCAL daybook.team_id = '{}'; {}; COMMIT",
            self.owner.team_id,
            R::select_last(self.owner)
        );
        let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(&mut *connection).await?;
        row.try_get("last")
    }
}

/// The rows that are written through the transactions of some work. It is a part of the [`Database`] with which the
/// work begins its transactions.
#[derive(Debug, Clone)]
pub struct Deferred(pub(super) Arc<dyn Defer>);

impl Deferred {
    /// Returns the rows as a part of a [`Database`].
    pub fn of<R: NumberedRow>(rows: &Arc<NumberedRows<R>>) -> Self {
        Self(rows.clone())
    }

    /// Refuses work that holds a connection already.
    ///
    /// # Errors
    /// [`Error::Conflict`] if this task has a transaction open.
    pub fn refuse_second(&self) -> Result<()> {
        if !self.0.is_held_by_this_task() {
            return Ok(());
        }
        Err(Error::conflict(
            "transaction-open",
            "a transaction of this job is open, and it must not wait for a second connection while it holds one: \
             commit it, roll it back or drop it first",
        ))
    }
}

/// Callbacks of a transaction for the rows that wait for its end.
#[async_trait::async_trait]
pub(super) trait Defer: fmt::Debug + Send + Sync {
    /// Returns whether this task holds an open transaction of the work.
    fn is_held_by_this_task(&self) -> bool;

    /// Notes that a transaction has begun, which this task holds.
    async fn opened(&self, task: Option<task::Id>);

    /// Notes that the task has released the transaction, which is about to end.
    fn release_task(&self, task: task::Id);

    /// Returns whether the rows belong to this team.
    fn belong_to(&self, team_id: Uuid) -> bool;

    /// Writes the waiting rows inside a transaction that commits next. Returns `None` if no row waits.
    async fn write_within(
        &self,
        connection: &mut PgConnection,
        database: &Database,
    ) -> Result<Option<Box<dyn WrittenRows>>, sqlx::Error>;

    /// Notes that the transaction has ended. `connection`, if it is usable, has no open transaction.
    async fn closed(&self, connection: Option<&mut PgConnection>, database: &Database);
}

/// Rows that were written inside a transaction and are valid only if it commits.
pub(super) trait WrittenRows: Send {
    /// Notes the outcome of the COMMIT. Returns the signal to publish.
    fn record_commit(self: Box<Self>, outcome: Result<(), &sqlx::Error>) -> SignalTopic;
}

struct WrittenInTransaction<R>(OwnedMutexGuard<RowsState<R>>);

impl<R: NumberedRow> WrittenRows for WrittenInTransaction<R> {
    fn record_commit(mut self: Box<Self>, outcome: Result<(), &sqlx::Error>) -> SignalTopic {
        match outcome {
            Ok(()) => {
                let rows = self.0.waiting.len();
                self.0.written(rows);
            }
            Err(error) => self.0.failed(error),
        }
        R::CHANGED
    }
}

#[async_trait::async_trait]
impl<R: NumberedRow> Defer for NumberedRows<R> {
    fn is_held_by_this_task(&self) -> bool {
        task::try_id().is_some_and(|task| self.holders.lock().contains(&task))
    }

    async fn opened(&self, task: Option<task::Id>) {
        self.state.lock().await.open += 1;
        self.holders.lock().extend(task);
    }

    fn release_task(&self, task: task::Id) {
        let mut holders = self.holders.lock();
        if let Some(at) = holders.iter().position(|holder| *holder == task) {
            holders.swap_remove(at);
        }
    }

    fn belong_to(&self, team_id: Uuid) -> bool {
        self.owner.team_id == team_id
    }

    async fn write_within(
        &self,
        connection: &mut PgConnection,
        database: &Database,
    ) -> Result<Option<Box<dyn WrittenRows>>, sqlx::Error> {
        let state = self.state.clone().lock_owned().await;
        // If the last number is unknown, the rows are written after the transaction's end.
        if state.waiting.is_empty() || !state.is_last_known {
            return Ok(None);
        }
        let began = database.clock().instant();
        let query = R::insert(self.owner, state.last + 1, &state.waiting);
        let outcome = query.persistent(database.persistent()).execute(&mut *connection).await;
        database.stats().add(database.clock().elapsed_since(began));
        outcome?;
        Ok(Some(Box::new(WrittenInTransaction(state))))
    }

    async fn closed(&self, connection: Option<&mut PgConnection>, database: &Database) {
        let mut state = self.state.lock().await;
        // Other open transactions may roll back; the last one that ends writes the rows that are left.
        if let (Some(connection), 1) = (connection, state.open)
            && let Err(error) = self.write_waiting(connection, database, &mut state).await
        {
            tracing::warn!(
                owner = %self.owner.id,
                "could not write the rows that waited for a transaction's end; they continue to wait: {error}"
            );
            let _ = connection.execute("ROLLBACK").await;
        }
        state.open = state.open.saturating_sub(1);
    }
}
