//! A transaction inside one team.

mod beside;
mod cause;
mod connection;
mod connection_trait;
mod report;
mod statements;

use std::collections::HashSet;
use std::sync::{Mutex as StdMutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::postgres::Postgres;
use tokio::sync::Mutex;
use uuid::Uuid;

use self::beside::Beside;
pub(super) use self::connection::{Entering, ToItsEnd, give_back};
use self::connection::{abandon, commit, is_dead, let_go};
use self::report::{Report, not_entered};
use super::enter::{self, Claim, Entered, Entry};
use super::hints::{Hint, Hints, Moved};
use super::observer::Ending;
use super::{Context, Database, Role, Stats};
use crate::error::{Error, Result};

/// How long a repeated request waits for the first one's answer to be stored.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);

/// A transaction inside one team: the only way to a connection that can read or write team rows.
///
/// It is a SeaORM connection (`Entity::find().all(&tx)`), and takes sqlx's queries by [`fetch_all`] and its
/// like. Dropped without [`commit`], it is rolled back before its connection serves anybody else.
///
/// [`fetch_all`]: TeamTx::fetch_all
/// [`commit`]: TeamTx::commit
pub struct TeamTx {
    connection: Mutex<Option<PoolConnection<Postgres>>>,
    database: Database,
    /// How it was entered, to enter again.
    entry: Entry,
    context: Context,
    role: Role,
    claim: Option<Claim>,
    stats: Stats,
    state: StdMutex<State>,
    /// Of work whose rows wait for this transaction's end.
    beside: Option<Box<Beside>>,
}

#[derive(Default)]
struct State {
    /// A statement failed since the last savepoint, so that PostgreSQL would answer COMMIT with a silent
    /// ROLLBACK; or its outcome is unknown, because its caller gave up on it; or a consumer refused.
    aborted: bool,
    /// Statements sent so far, savepoints included.
    statements: u32,
    /// Savepoints made so far, for their names.
    savepoints: u32,
    /// Savepoints and recordings whose work hasn't come to its end. One whose caller gave up stays, and bars
    /// the commit.
    unfinished: u32,
    /// The events whose consumers are running, outermost first.
    causes: Vec<Uuid>,
    /// What to say once it has committed.
    hints: HashSet<Hint>,
    /// What its observer is told at its end.
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

/// Which connection a transaction is admitted on.
#[derive(Debug, Clone, Copy)]
enum Admission {
    /// The first that it holds.
    First,
    /// Another one, in the place of one that it has given back.
    Again,
}

/// A connection that is inside a team, and whom it was entered for.
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
        let beside = Beside::of(database, entry).await;
        Ok(Self {
            connection: Mutex::new(admitted.connection.0.take()),
            database: database.clone(),
            entry: entry.clone(),
            context: admitted.context,
            role: admitted.role,
            claim: admitted.claim,
            stats,
            state: StdMutex::new(State {
                report,
                ..State::default()
            }),
            beside,
        })
    }

    async fn admit(database: &Database, entry: &Entry, admission: Admission) -> Result<Admitted> {
        let asked = Instant::now();
        let mut met_key_at = None;
        loop {
            let acquired = match admission {
                Admission::First => database.acquire().await?,
                Admission::Again => database.acquire_again().await?,
            };
            let mut connection = Entering(Some(acquired));
            let began = Instant::now();
            let entered = match enter::enter(connection.get()?, entry, database).await {
                Ok(entered) => entered,
                Err(error) => {
                    not_entered(entry, began.elapsed());
                    let dead = is_dead(&error);
                    connection.give_back().await;
                    // The pool doesn't ping, so a restart of the database shows here first. Nothing has
                    // happened yet: the next connection may be younger than the restart.
                    if dead && asked.elapsed() < ANSWER_PATIENCE {
                        continue;
                    }
                    return Err(error);
                }
            };
            let waited = began.elapsed();
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
                    not_entered(entry, began.elapsed());
                    let claim = entry
                        .request
                        .claim
                        .as_ref()
                        .ok_or_else(|| Error::internal("a claim without a key"))?;
                    let persistent = database.persistent();
                    let stored =
                        enter::stored_answer(connection.get()?, entry.team_id, &actor, claim, persistent).await;
                    connection.give_back().await;
                    if stored.as_ref().is_err_and(Error::is_stale_plan) {
                        database.discard_plans();
                        continue;
                    }
                    if let Some(answer) = stored? {
                        return Err(Error::Replay(Box::new(answer)));
                    }
                    // From here on, not from `asked`: the first request may have worked for long, and this one
                    // has waited for its commit, after which the answer is stored.
                    if met_key_at.get_or_insert_with(Instant::now).elapsed() >= ANSWER_PATIENCE {
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

    /// The team.
    pub fn team_id(&self) -> Uuid {
        self.context.team_id
    }

    /// Who acts, and what it belongs to.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// What the actor may do. The service itself may do everything.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Refuses actors with less than `role`.
    ///
    /// # Errors
    /// [`Error::Forbidden`] that names both.
    pub fn require(&self, role: Role) -> Result<()> {
        if self.role >= role {
            return Ok(());
        }
        Err(Error::Forbidden {
            detail: format!("this needs the role {role}; yours is {}", self.role),
        })
    }

    /// A value that was added to the [`Database`].
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.database.extension()
    }

    /// Says, once and only if this transaction commits, that something of the team has moved.
    pub fn hint(&self, moved: Moved) {
        let team_id = self.team_id();
        self.state().hints.insert(Hint { team_id, moved });
    }

    /// What this transaction has cost so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Makes everything permanent. Runs to its end even if the caller is dropped meanwhile (a client that
    /// hangs up), so that what follows a commit follows every commit.
    ///
    /// # Errors
    /// [`Error::Internal`] if a statement had failed before (PostgreSQL would roll back and say nothing), if a
    /// statement or a savepoint was given up before it had ended, or if a consumer of mode `abort` had refused.
    /// [`Error::Unavailable`] if the connection broke; the outcome is then unknown.
    pub async fn commit(mut self) -> Result<()> {
        let Some(mut connection) = self.connection.get_mut().take() else {
            return Err(Error::internal("the transaction has ended already"));
        };
        let beside = self.end_beside();
        if !self.is_whole() {
            self.release_claim();
            self.tell(Ending::RolledBack);
            give_back(connection, beside).await;
            return Err(Error::internal(
                "the transaction can't commit: a statement failed or was given up midway, or a consumer refused",
            ));
        }
        let (mut hints, mut report) = {
            let mut state = self.state();
            (std::mem::take(&mut state.hints), std::mem::take(&mut state.report))
        };
        let stats = std::mem::take(&mut self.stats);
        let all = self.database.clone();
        let hear = self.database.extension::<Hints>().cloned();
        let committing = async move {
            let began = Instant::now();
            let outcome = commit(&mut connection, beside.as_deref(), &mut hints).await;
            if outcome.is_err() {
                give_back(connection, beside).await;
            } else {
                if let Some(beside) = beside {
                    beside.closed(Some(&mut connection)).await;
                }
                if let Some(hear) = hear {
                    hear.send(hints);
                }
            }
            stats.add(began.elapsed());
            all.stats().add(began.elapsed());
            // Here, since a client that hangs up must not make it untold.
            let ending = if outcome.is_ok() {
                Ending::Committed
            } else {
                Ending::RolledBack
            };
            report.tell(ending, &stats);
            outcome
        };
        let outcome = ToItsEnd::new(committing).await;
        outcome.map_err(|error| {
            self.release_claim();
            Error::from_database(error)
        })?;
        Ok(())
    }

    /// Undoes everything.
    ///
    /// # Errors
    /// None that matter: a connection that can't roll back is closed, which rolls back.
    pub async fn rollback(mut self) -> Result<()> {
        self.release_claim();
        self.tell(Ending::RolledBack);
        let beside = self.end_beside();
        if let Some(connection) = self.connection.get_mut().take() {
            give_back(connection, beside).await;
        }
        Ok(())
    }

    /// Runs `work` so that its failure undoes only its own statements.
    ///
    /// # Errors
    /// The inner one is what `work` failed with; the transaction goes on. The outer one is
    /// [`Error::Internal`] if `work` says `Ok` although a statement of it failed (it was undone, too), or if
    /// the transaction was past saving before.
    pub async fn savepoint<T, E>(&self, work: impl Future<Output = Result<T, E>>) -> Result<Result<T, E>> {
        let (name, depth, noted) = {
            let mut state = self.state();
            if state.aborted {
                // What is undone here can't make good what failed before.
                return Err(Error::internal(
                    "a savepoint after a statement failed or a consumer refused: the transaction can only roll back",
                ));
            }
            state.savepoints += 1;
            state.unfinished += 1;
            (
                format!("daybook_{}", state.savepoints),
                state.unfinished,
                state.report.noted(),
            )
        };
        self.run(&format!("SAVEPOINT {name}")).await?;
        let outcome = work.await;
        let is_whole = {
            let state = self.state();
            !state.aborted && state.unfinished == depth
        };
        if is_whole && outcome.is_ok() {
            self.run(&format!("RELEASE SAVEPOINT {name}")).await?;
        } else {
            self.run(&format!("ROLLBACK TO SAVEPOINT {name}; RELEASE SAVEPOINT {name}"))
                .await?;
            let mut state = self.state();
            state.aborted = false;
            state.report.forget_after(noted);
        }
        self.state().unfinished = depth - 1;
        if outcome.is_ok() && !is_whole {
            return Err(Error::internal(
                "a statement failed inside a savepoint, whose work was therefore undone",
            ));
        }
        Ok(outcome)
    }

    /// Runs `work` that must not be committed by halves: should its caller give up on it, the commit is barred.
    pub(crate) async fn whole<T>(&self, work: impl Future<Output = T>) -> T {
        let depth = {
            let mut state = self.state();
            state.unfinished += 1;
            state.unfinished
        };
        let outcome = work.await;
        let mut state = self.state();
        // More than at its beginning: something inside was given up, and stays so.
        if state.unfinished == depth {
            state.unfinished -= 1;
        }
        outcome
    }

    /// Bars the commit, up to the savepoint that is open, if one is.
    pub(crate) fn doom(&self) {
        self.state().aborted = true;
    }

    /// Whether something has happened that bars the commit, or the release of the innermost savepoint.
    pub(crate) fn is_doomed(&self) -> bool {
        self.state().aborted
    }

    fn is_whole(&self) -> bool {
        let state = self.state();
        !state.aborted && state.unfinished == 0
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing panics while it is held, and its fields are whole after every assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on this transaction holds its task's connection no more.
    fn end_beside(&mut self) -> Option<Box<Beside>> {
        let mut beside = self.beside.take();
        if let Some(beside) = &mut beside {
            beside.let_go();
        }
        beside
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
            abandon(self.end_beside());
            return;
        };
        self.release_claim();
        if !self.is_whole() {
            // It could not have committed, so no commit was forgotten.
            self.state().report.forget_writes();
        }
        self.tell(Ending::Dropped);
        let_go(connection, self.end_beside());
    }
}
