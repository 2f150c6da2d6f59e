//! The home of a process in the storage: settling, saying that it lives, looking after what dead ones left.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit};
use tokio::task::AbortHandle;
use uuid::Uuid;

use super::{Found, Over, Runs, Shared, stopping};
use crate::error::{Error, Result};
use crate::runs::log::{Home, HomeOptions, OpenFilesLimits, RunKey};
use crate::runs::new_run::Ending;
use crate::runs::store;
use crate::tenancy::{Context, Database, WorkerDatabase};

/// A home, and until when others believe that it lives.
#[derive(Debug)]
pub(super) struct Settled {
    home: Arc<Home>,
    until: Arc<Mutex<Instant>>,
    renewing: Mutex<Option<AbortHandle>>,
}

impl Settled {
    pub(super) fn id(&self) -> Uuid {
        self.home.id()
    }

    pub(super) fn home(&self) -> &Home {
        &self.home
    }

    /// It can't write any more: its lease has run out, or its disk has failed.
    pub(super) fn is_over(&self) -> bool {
        self.home.is_broken() || !is_before(&self.until)
    }

    /// Leaves nothing behind.
    pub(super) async fn leave(&self, database: &Database) {
        if let Some(renewing) = self.renewing.lock().unwrap_or_else(PoisonError::into_inner).take() {
            renewing.abort();
        }
        let home = self.home.clone();
        // Its thread has told what went wrong.
        let _ = tokio::task::spawn_blocking(move || home.leave()).await;
        if let Err(error) = forget(database, self.id()).await {
            tracing::warn!("run logs: that this process leaves could not be told: {error}");
        }
    }
}

impl Drop for Settled {
    fn drop(&mut self) {
        if let Some(renewing) = self.renewing.lock().unwrap_or_else(PoisonError::into_inner).take() {
            renewing.abort();
        }
    }
}

/// At most a quarter of the descriptors that the process may have, and a few in any case.
fn within_descriptors(wanted: OpenFilesLimits) -> OpenFilesLimits {
    let descriptors = getrlimit(Resource::RLIMIT_NOFILE).map_or(1_024, |(soft, _)| soft);
    let quarter = usize::try_from(descriptors / 4).unwrap_or(usize::MAX);
    OpenFilesLimits {
        max: wanted.max.min(quarter).max(8),
        ..wanted
    }
}

fn is_before(until: &Mutex<Instant>) -> bool {
    Instant::now() < *until.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is left of a lease that was renewed at `at`, with room for a commit that is under way.
fn holds_until(at: Instant, lease: Duration) -> Instant {
    at + lease - lease / 5
}

impl Runs {
    /// This process's home, settled at first need, and anew when it is over.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the storage can't be written.
    pub(super) async fn settled(&self, database: &Database) -> Result<Arc<Settled>> {
        let mut held = self.0.home.lock().await;
        if let Some(settled) = held.as_ref().filter(|settled| !settled.is_over()) {
            return Ok(settled.clone());
        }
        if *self.0.closing.borrow() {
            return Err(stopping());
        }
        if let Some(over) = held.take() {
            tracing::warn!("run logs: this process begins anew, and takes over what it had");
            self.slots().values().for_each(|slot| slot.let_go());
            over.leave(database).await;
        }
        let lease = self.0.options.lease;
        let until = Arc::new(Mutex::new(holds_until(Instant::now(), lease)));
        let options = HomeOptions {
            limits: self.0.options.limits,
            segment_bytes: self.0.options.segment_bytes,
            open_files: within_descriptors(self.0.options.open_files),
        };
        let (storage, clock) = (self.storage().clone(), until.clone());
        let home =
            tokio::task::spawn_blocking(move || Home::settle(&storage, options, Arc::new(move || is_before(&clock))))
                .await
                .map_err(Error::internal)??;
        let tx = store::begin_of_no_team(database).await?;
        store::enter_home(&tx, home.id(), &self.0.options.url).await?;
        tx.commit().await?;
        let settled = Arc::new(Settled {
            home: Arc::new(home),
            until: until.clone(),
            renewing: Mutex::default(),
        });
        let keeping = keep(Arc::downgrade(&self.0), database.clone(), settled.id(), until, lease);
        let renewing = tokio::spawn(keeping).abort_handle();
        *settled.renewing.lock().unwrap_or_else(PoisonError::into_inner) = Some(renewing);
        *held = Some(settled.clone());
        drop(held);
        self.look_after_the_dead(database).await;
        Ok(settled)
    }

    /// Takes over what dead processes have left in this storage.
    async fn look_after_the_dead(&self, database: &Database) {
        let homes = self.storage().homes().unwrap_or_default();
        for home in homes {
            if let Err(error) = self.take_over(database, home).await {
                tracing::warn!("run logs: what a process left could not be taken over: {error}");
            }
        }
    }

    /// Takes over what a dead process has left, if it is dead and left something.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: then it is kept.
    pub(super) async fn take_over(&self, database: &Database, home: Uuid) -> Result<()> {
        let _alone = self.0.recovering.write().await;
        let storage = self.storage().clone();
        let left = tokio::task::spawn_blocking(move || storage.left_by(home)).await;
        let Some(runs) = left.map_err(Error::internal)?.map_err(Error::internal)? else {
            return Ok(());
        };
        // It is dead, as nobody would believe while its row is there.
        forget(database, home).await?;
        let mut by_team: BTreeMap<Uuid, Vec<Uuid>> = BTreeMap::new();
        for run in runs {
            by_team.entry(run.team_id).or_default().push(run.run_id);
        }
        let mut own: Vec<RunKey> = Vec::new();
        for (team_id, runs) in by_team {
            let tx = database.read(&Context::system(team_id, "run logs")).await?;
            own.extend(store::homes_runs(&tx, home, &runs).await?);
            tx.commit().await?;
        }
        let storage = self.storage().clone();
        tokio::task::spawn_blocking(move || storage.take_over(home, &own))
            .await
            .map_err(Error::internal)??;
        Ok(())
    }

    /// Ends the runs whose writers are silent, and returns how many of them this call has ended. A run that somebody else ends
    /// at the same time, in this process or another, is theirs to report.
    pub async fn end_silent(&self, database: &Database) -> usize {
        let mut ended = 0;
        let silent: Vec<_> = self
            .slots()
            .iter()
            .filter(|(_, slot)| slot.silent().is_some())
            .map(|(run, slot)| (*run, slot.clone()))
            .collect();
        for (run, slot) in silent {
            // Its writer may have come back while others were ended.
            let Some(silence) = slot.silent() else { continue };
            let words = format!("its writer said nothing for {} s", silence.as_secs());
            ended += usize::from(self.end_lost(database, run, words).await);
        }
        // And those that no process holds, where that can be seen.
        let Some(workers) = database.extension::<WorkerDatabase>() else {
            return ended;
        };
        match store::lost(workers, self.0.options.lease).await {
            Ok(lost) => {
                for run in lost {
                    if self.slots().get(&run).is_some_and(|slot| slot.has_writer()) {
                        continue;
                    }
                    let words = "the process that wrote its log is gone, and nobody has written since".to_owned();
                    ended += usize::from(self.end_lost(database, run, words).await);
                }
            }
            Err(error) => tracing::warn!("run logs: runs that nobody ends could not be looked for: {error}"),
        }
        ended
    }

    /// Ends a run whose writer is lost. Returns whether this call has ended it, and reports only that: a run that has ended
    /// before, or that another process holds, is reported there.
    async fn end_lost(&self, database: &Database, run: RunKey, words: String) -> bool {
        let context = Context::system(run.team_id, "run logs");
        let ending = Ending::failed("writer-lost", words);
        let ended = match self.find(database, run).await {
            Ok(Found::NotHere) => self.end_without_log(database, run, &ending).await,
            _ => {
                let over = self.end(database, &context, run, ending).await;
                over.map(|over| matches!(over, Over::Now(_)))
            }
        };
        match &ended {
            Ok(true) => tracing::warn!(run = %run.run_id, "a run was ended: its writer is lost"),
            Ok(false) => {}
            Err(error) => tracing::warn!(run = %run.run_id, "a run whose writer is lost could not be ended: {error}"),
        }
        matches!(ended, Ok(true))
    }

    /// Looks after runs that nobody ends, from a process that has workers.
    pub async fn look_after(self, database: Database) {
        let mut turns = tokio::time::interval(self.0.options.lease / 3);
        loop {
            turns.tick().await;
            if *self.0.closing.borrow() {
                return;
            }
            self.end_silent(&database).await;
        }
    }
}

/// Says that the process lives, and looks around, for as long as it does.
fn keep(
    runs: Weak<Shared>,
    database: Database,
    home: Uuid,
    until: Arc<Mutex<Instant>>,
    lease: Duration,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    // In a box: looking after runs may settle anew, and a future can't hold itself.
    Box::pin(keep_for(runs, database, home, until, lease))
}

async fn keep_for(runs: Weak<Shared>, database: Database, home: Uuid, until: Arc<Mutex<Instant>>, lease: Duration) {
    let mut turns = tokio::time::interval(lease / 5);
    turns.tick().await;
    let mut turn: u32 = 0;
    loop {
        turns.tick().await;
        let at = Instant::now();
        let renewed = async {
            let tx = store::begin_of_no_team(&database).await?;
            let renewed = store::renew_home(&tx, home, lease).await?;
            tx.commit().await?;
            Ok::<_, Error>(renewed)
        };
        match renewed.await {
            Ok(true) => *until.lock().unwrap_or_else(PoisonError::into_inner) = holds_until(at, lease),
            Ok(false) => {
                // Others may have its runs by now.
                *until.lock().unwrap_or_else(PoisonError::into_inner) = at;
                tracing::warn!("run logs: this process was taken for dead: its lease is gone");
                return;
            }
            Err(error) => tracing::warn!("run logs: that this process lives could not be told: {error}"),
        }
        let Some(runs) = runs.upgrade().map(Runs) else { return };
        turn = turn.wrapping_add(1);
        runs.end_silent(&database).await;
        if turn.is_multiple_of(5) {
            runs.look_after_the_dead(&database).await;
        }
    }
}

async fn forget(database: &Database, home: Uuid) -> Result<()> {
    let tx = store::begin_of_no_team(database).await?;
    store::leave_home(&tx, home).await?;
    tx.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_stops_to_write_before_others_may_take_its_runs() {
        let (renewed, lease) = (Instant::now(), Duration::from_secs(15));
        let until = holds_until(renewed, lease);
        assert!(until < renewed + lease, "a commit that has begun has a moment left");
        assert!(until > renewed + lease / 5, "a renewal comes before that");
    }
}
