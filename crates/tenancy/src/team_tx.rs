//! A transaction inside one team.

mod causation;
mod connection;
mod connection_trait;
mod deferred_rows;
mod report;
mod statement_kind;
mod statements;

use std::collections::HashSet;
use std::time::Duration;

use parking_lot::Mutex as StdMutex;
use sqlx::pool::PoolConnection;
use sqlx::postgres::Postgres;
use tokio::sync::Mutex;
use uuid::Uuid;

pub(super) use self::connection::{Entering, RunToCompletion, give_back};
use self::connection::{abandon, commit, give_back_in_background, is_dead};
use self::deferred_rows::DeferredRows;
use self::report::{Report, report_not_entered};
use super::claim::{Claim, stored_outcome};
use super::enter::{self, Entered, Entry};
use super::observer::Ending;
use super::signals::{Signal, SignalTopic};
use super::{Context, Database, Role, Stats};
use crate::clock::Clock;
use crate::error::{Error, Result};

/// How long a repeated request waits until the outcome of the first one is stored. It also limits how long an entry
/// that met a dead connection is tried on other connections.
const OUTCOME_TIMEOUT: Duration = Duration::from_secs(2);

/// A transaction inside one team: the only way to a connection that can read or write team rows.
///
/// It is a SeaORM connection (`Entity::find().all(&tx)`), and it runs sqlx's queries with [`fetch_all`] and similar
/// functions. If it is dropped without [`commit`], it is rolled back before its connection is used again.
///
/// [`fetch_all`]: TeamTx::fetch_all
/// [`commit`]: TeamTx::commit
pub struct TeamTx {
    connection: Mutex<Option<PoolConnection<Postgres>>>,
    pub(super) database: Database,
    /// How the team was entered, so that the transaction can be begun again.
    entry: Entry,
    context: Context,
    role: Role,
    claim: Option<Claim>,
    stats: Stats,
    state: StdMutex<TxState>,
    /// Rows that wait for the end of this transaction.
    deferred_rows: Option<Box<DeferredRows>>,
}

#[derive(Default)]
struct TxState {
    /// Whether the transaction can only be rolled back. Either a statement failed since the last savepoint, so that
    /// PostgreSQL would answer COMMIT with a silent ROLLBACK; or the outcome of a statement is unknown, because its
    /// caller cancelled it; or a consumer refused.
    aborted: bool,
    /// The number of statements sent, including savepoints.
    statements: u32,
    /// The number of savepoints made, for their names.
    savepoints: u32,
    /// The number of savepoints and recordings whose work has not finished. One that was cancelled stays counted and
    /// prevents the commit.
    unfinished: u32,
    /// The ids of the causes of the current changes, outermost first.
    causes: Vec<Uuid>,
    /// The signals to publish after the commit.
    signals: HashSet<Signal>,
    /// What the observer receives at the end.
    report: Report,
}

impl std::fmt::Debug for TeamTx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TeamTx")
            .field("context", &self.context)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// Which connection a transaction begins on.
#[derive(Debug, Clone, Copy)]
enum Admission {
    /// Its first connection.
    First,
    /// Another connection, which replaces one that it has given back.
    Again,
}

/// A connection inside a team, with the context and the role of the actor who entered it.
struct Admitted {
    connection: Entering,
    context: Context,
    role: Role,
    claim: Option<Claim>,
    waited: Duration,
}

impl TeamTx {
    pub(super) async fn enter(database: &Database, entry: &Entry) -> Result<Self> {
        let mut admitted = Self::admit(database, entry, Admission::First).await?;
        let stats = Stats::default();
        stats.add(admitted.waited);
        let report = Report::begin(entry.request.observer.as_ref(), &admitted.context);
        let deferred_rows = DeferredRows::open(database, entry).await;
        Ok(Self {
            connection: Mutex::new(admitted.connection.0.take()),
            database: database.clone(),
            entry: entry.clone(),
            context: admitted.context,
            role: admitted.role,
            claim: admitted.claim,
            stats,
            state: StdMutex::new(TxState {
                report,
                ..TxState::default()
            }),
            deferred_rows,
        })
    }

    async fn admit(database: &Database, entry: &Entry, admission: Admission) -> Result<Admitted> {
        let clock = database.clock();
        let requested_at = clock.instant();
        let mut key_found_at = None;
        loop {
            let acquired = match admission {
                Admission::First => database.acquire().await?,
                Admission::Again => database.acquire_again().await?,
            };
            let mut connection = Entering(Some(acquired));
            let began = clock.instant();
            let entered = match enter::enter(connection.get()?, entry, database).await {
                Ok(entered) => entered,
                Err(error) => {
                    report_not_entered(entry, clock.elapsed_since(began));
                    let dead = is_dead(&error);
                    connection.give_back().await;
                    // The pool doesn't ping, so this is the first place that notices a restart of the database.
                    // Nothing was done yet, and the next connection may be newer than the restart.
                    if dead && clock.elapsed_since(requested_at) < OUTCOME_TIMEOUT {
                        continue;
                    }
                    return Err(error);
                }
            };
            let waited = clock.elapsed_since(began);
            database.stats().add(waited);
            match entered {
                Entered::As { context, role, claimed } => {
                    return Ok(Admitted {
                        connection,
                        context: *context,
                        role,
                        claim: claimed,
                        waited,
                    });
                }
                Entered::KeyUsed { actor } => {
                    report_not_entered(entry, clock.elapsed_since(began));
                    let claim = entry
                        .request
                        .claim
                        .as_ref()
                        .ok_or_else(|| Error::internal("a claim without a key"))?;
                    let persistent = database.persistent();
                    let stored = stored_outcome(connection.get()?, entry.team_id, &actor, claim, persistent).await;
                    connection.give_back().await;
                    if stored.as_ref().is_err_and(Error::is_stale_plan) {
                        database.discard_plans();
                        continue;
                    }
                    if let Some(outcome) = stored? {
                        return Err(Error::Replay(outcome));
                    }
                    // The time counts from here, not from `requested_at`. This request has waited for the commit of the
                    // first one, which may have taken long, and the outcome is stored after that commit.
                    let key_found_at = *key_found_at.get_or_insert_with(|| clock.instant());
                    if clock.elapsed_since(key_found_at) >= OUTCOME_TIMEOUT {
                        return Err(Error::conflict(
                            "outcome-unknown",
                            "the first request with this Idempotency-Key did its work, but its answer was lost; \
                             look at the object before you send it again with a new key",
                        ));
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// Returns the team's id.
    pub fn team_id(&self) -> Uuid {
        self.context.team_id
    }

    /// Returns who acts and which story the transaction belongs to.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Returns the actor's role. The service itself may do everything.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Refuses actors with a role lower than `role`.
    ///
    /// # Errors
    /// [`Error::Forbidden`], which names both roles.
    pub fn require(&self, role: Role) -> Result<()> {
        if self.role >= role {
            return Ok(());
        }
        Err(Error::Forbidden {
            detail: format!("this needs the role {role}; yours is {}", self.role),
        })
    }

    /// Returns the clock of the service. A statement's `now()` is the database server's instead.
    pub fn clock(&self) -> &Clock {
        self.database.clock()
    }

    /// Publishes, once and only if this transaction commits, a signal that something in the team has changed.
    pub fn signal(&self, topic: SignalTopic) {
        let team_id = self.team_id();
        self.state.lock().signals.insert(Signal { team_id, topic });
    }

    /// Returns the counters of this transaction.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Commits. It completes even if the caller is dropped meanwhile (a client that disconnects), so that every commit
    /// is followed by its signals and its report.
    ///
    /// # Errors
    /// [`Error::Internal`] if a statement failed before (PostgreSQL would roll back without an error), if a statement
    /// or a savepoint was cancelled before its end, or if a consumer of mode `abort` refused.
    /// [`Error::Unavailable`] if the connection broke; the outcome is then unknown. Otherwise those of
    /// [`Error::from_database`], such as a serialization failure.
    pub async fn commit(mut self) -> Result<()> {
        let Some(mut connection) = self.connection.get_mut().take() else {
            return Err(Error::internal("the transaction has ended already"));
        };
        let deferred_rows = self.release_deferred_rows();
        if !self.can_commit() {
            self.release_claim();
            self.report_end(Ending::RolledBack);
            give_back(connection, deferred_rows).await;
            return Err(Error::internal(
                "the transaction can't commit: a statement failed or was cancelled, or a consumer refused",
            ));
        }
        let (mut signals, mut report) = {
            let mut state = self.state.lock();
            (std::mem::take(&mut state.signals), std::mem::take(&mut state.report))
        };
        let stats = std::mem::take(&mut self.stats);
        let all = self.database.clone();
        let publisher = self.database.signal_sink().cloned();
        let committing = async move {
            let began = all.clock().instant();
            let outcome = commit(&mut connection, deferred_rows.as_deref(), &mut signals).await;
            if outcome.is_err() {
                give_back(connection, deferred_rows).await;
            } else {
                if let Some(deferred_rows) = deferred_rows {
                    deferred_rows.closed(Some(&mut connection)).await;
                }
                if let Some(publisher) = publisher {
                    publisher.send(signals);
                }
            }
            let waited = all.clock().elapsed_since(began);
            stats.add(waited);
            all.stats().add(waited);
            // The end is reported here, so that it is also reported when the client disconnects.
            let ending = if outcome.is_ok() {
                Ending::Committed
            } else {
                Ending::RolledBack
            };
            report.report_end(ending, &stats);
            outcome
        };
        let outcome = RunToCompletion::new(committing).await;
        outcome.map_err(|error| {
            self.release_claim();
            Error::from_database(error)
        })?;
        Ok(())
    }

    /// Rolls the transaction back.
    ///
    /// # Errors
    /// None: a connection that can't roll back is closed, which rolls back, too.
    pub async fn rollback(mut self) -> Result<()> {
        self.release_claim();
        self.report_end(Ending::RolledBack);
        let deferred_rows = self.release_deferred_rows();
        if let Some(connection) = self.connection.get_mut().take() {
            give_back(connection, deferred_rows).await;
        }
        Ok(())
    }

    /// Runs `work` in a savepoint, so that its failure undoes only its own statements.
    ///
    /// # Errors
    /// The inner error is the one that `work` returned; the transaction can continue. The outer error is
    /// [`Error::Internal`] if `work` returned `Ok` although one of its statements failed (its work was undone, too), or
    /// if the transaction could only be rolled back before.
    pub async fn savepoint<T, E>(&self, work: impl Future<Output = Result<T, E>>) -> Result<Result<T, E>> {
        let (name, depth, counts) = {
            let mut state = self.state.lock();
            if state.aborted {
                // A rollback to this savepoint would not undo the earlier failure.
                return Err(Error::internal(
                    "no savepoint can begin: a statement failed or a consumer refused, so only a rollback is possible",
                ));
            }
            state.savepoints += 1;
            state.unfinished += 1;
            (
                format!("daybook_{}", state.savepoints),
                state.unfinished,
                state.report.counts(),
            )
        };
        self.run(&format!("SAVEPOINT {name}")).await?;
        let outcome = work.await;
        let can_commit = {
            let state = self.state.lock();
            !state.aborted && state.unfinished == depth
        };
        if can_commit && outcome.is_ok() {
            self.run(&format!("RELEASE SAVEPOINT {name}")).await?;
        } else {
            self.run(&format!("ROLLBACK TO SAVEPOINT {name}; RELEASE SAVEPOINT {name}"))
                .await?;
            let mut state = self.state.lock();
            state.aborted = false;
            state.report.truncate_to(counts);
        }
        self.state.lock().unfinished = depth - 1;
        if outcome.is_ok() && !can_commit {
            return Err(Error::internal(
                "a statement failed inside a savepoint, whose work was therefore undone",
            ));
        }
        Ok(outcome)
    }

    /// Runs `work` that must not be committed in part: if it is cancelled, the transaction can't commit.
    pub async fn all_or_nothing<T>(&self, work: impl Future<Output = T>) -> T {
        let depth = {
            let mut state = self.state.lock();
            state.unfinished += 1;
            state.unfinished
        };
        let outcome = work.await;
        let mut state = self.state.lock();
        // A higher number than at the beginning means that work inside was cancelled, which must stay counted.
        if state.unfinished == depth {
            state.unfinished -= 1;
        }
        outcome
    }

    /// Prevents the commit, or, inside a savepoint, the release of the savepoint.
    pub fn mark_rollback_only(&self) {
        self.state.lock().aborted = true;
    }

    /// Returns whether the transaction, or the innermost savepoint, can only be rolled back.
    pub fn is_rollback_only(&self) -> bool {
        self.state.lock().aborted
    }

    fn can_commit(&self) -> bool {
        let state = self.state.lock();
        !state.aborted && state.unfinished == 0
    }

    /// Takes the deferred rows out, and notes that the task has released this transaction's connection.
    fn release_deferred_rows(&mut self) -> Option<Box<DeferredRows>> {
        let mut deferred_rows = self.deferred_rows.take();
        if let Some(deferred_rows) = &mut deferred_rows {
            deferred_rows.release_task();
        }
        deferred_rows
    }

    fn release_claim(&self) {
        if let Some(claim) = &self.claim {
            claim.set_holder(None);
        }
    }
}

impl Drop for TeamTx {
    fn drop(&mut self) {
        let Some(connection) = self.connection.get_mut().take() else {
            abandon(self.release_deferred_rows());
            return;
        };
        self.release_claim();
        if !self.can_commit() {
            // It could not commit, so this is not a forgotten commit.
            self.state.lock().report.forget_writes();
        }
        self.report_end(Ending::Dropped);
        give_back_in_background(connection, self.release_deferred_rows());
    }
}
