//! The log registry of a process: it acquires a log when a client writes or reads it, maintains it while it is open,
//! and closes it.
//!
//! The registry starts its writer node only when it is needed. A process that writes no log has no write-ahead log in
//! the storage and no row in `run_homes`.

mod end_run;
mod node;
mod options;
mod slot;

pub(super) use self::end_run::EndOutcome;
pub use self::options::RunsOptions;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use daybook_run_log::{Appended, IncomingLine, Log, LogError, RunKey, Storage, Writer};
use parking_lot::{Mutex, MutexGuard};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use uuid::Uuid;

use self::node::NodeLease;
use self::slot::Slot;
use super::new_run::NewRun;
use super::readers::Readers;
use super::status::RunStatus;
use super::store::{self, LeaseOutcome, StorageEvidence};
use crate::error::{Error, Result};
use crate::runs::entity::Model;
use crate::runs::log_error::log_error;
use crate::tenancy::{Context, Database, TeamTx};

/// The time for which a successful check of the right to write a team's runs is cached.
const ADMISSION_CACHE_TTL: Duration = Duration::from_secs(1);

/// The log registry of a process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Runs(Arc<RegistryState>);

#[derive(Debug)]
struct RegistryState {
    options: RunsOptions,
    storage: Storage,
    readers: Readers,
    node_lease: tokio::sync::Mutex<Option<Arc<NodeLease>>>,
    slots: Mutex<HashMap<RunKey, Arc<Slot>>>,
    /// The time of the last check of each credential and team, and the team's access epoch at that time.
    admitted: Mutex<HashMap<[u8; 32], (Instant, u64)>>,
    /// Locked for writing during the recovery of a dead node. Meanwhile no task checks which nodes are alive, or opens
    /// an incomplete file.
    recovering: tokio::sync::RwLock<()>,
    closing: watch::Sender<bool>,
}

/// A log that this process writes.
#[derive(Debug, Clone)]
pub(super) struct OpenLog {
    node_lease: Arc<NodeLease>,
    pub(super) log: Arc<Log>,
}

/// The place of a run's log.
#[derive(Debug)]
pub(super) enum LogLocation {
    /// This process writes the log.
    Open(OpenLog),
    /// Another process writes the log; it is reached at this URL.
    Elsewhere(String),
    /// The run has ended, so the log is only read.
    Closed,
    /// The log is in the storage of a process that is gone, and this process does not share that storage.
    NotHere,
}

impl Runs {
    /// Creates a registry without open logs.
    pub fn new(options: RunsOptions) -> Self {
        Self(Arc::new(RegistryState {
            storage: Storage::new(&options.storage),
            readers: Readers::new(options.max_readers.0, options.max_readers.1),
            options,
            node_lease: tokio::sync::Mutex::default(),
            slots: Mutex::default(),
            admitted: Mutex::default(),
            recovering: tokio::sync::RwLock::default(),
            closing: watch::Sender::new(false),
        }))
    }

    /// Returns the storage of the log files.
    pub fn storage(&self) -> &Storage {
        &self.0.storage
    }

    /// Returns the open readers, to which the limits apply.
    pub(super) fn readers(&self) -> &Readers {
        &self.0.readers
    }

    /// Returns the number of open streams and downloads of logs.
    pub fn open_readers(&self) -> usize {
        self.0.readers.open()
    }

    /// Returns the maximum size of an incoming line, in bytes.
    pub(super) fn max_line_bytes(&self) -> usize {
        self.0.options.line_bytes
    }

    /// Returns a receiver that becomes true when the process shuts down. Streams of logs then end, and their clients
    /// continue at another process.
    pub(super) fn closing(&self) -> watch::Receiver<bool> {
        self.0.closing.subscribe()
    }

    /// Ends all streams to readers. Writers may finish their requests.
    pub fn begin_to_close(&self) {
        self.0.closing.send_replace(true);
    }

    /// Commits all waiting lines and releases the open logs, so that other processes can acquire them.
    pub async fn close(&self, database: &Database) {
        self.begin_to_close();
        let node_lease = self.0.node_lease.lock().await.take();
        if let Some(node_lease) = node_lease {
            node_lease.shut_down(database).await;
        }
        self.slots().clear();
    }

    /// Returns whether this credential was recently allowed to write this team's runs. `access_epoch` changes when any
    /// access to the team changes.
    pub(super) fn is_admitted(&self, credential: &str, team_id: Uuid, access_epoch: u64) -> bool {
        let key = admission(credential, team_id);
        let admitted = self.0.admitted.lock();
        admitted
            .get(&key)
            .is_some_and(|(at, epoch)| at.elapsed() < ADMISSION_CACHE_TTL && *epoch == access_epoch)
    }

    /// Records that this credential may write this team's runs. `access_epoch` was read before the check.
    pub(super) fn admit(&self, credential: &str, team_id: Uuid, access_epoch: u64) {
        let mut admitted = self.0.admitted.lock();
        if admitted.len() >= 10_000 {
            admitted.retain(|_, (at, _)| at.elapsed() < ADMISSION_CACHE_TTL);
        }
        admitted.insert(admission(credential, team_id), (Instant::now(), access_epoch));
    }

    /// Creates a run in a transaction: its row and its events. The first call of [`Runs::find`] creates its log.
    ///
    /// # Errors
    /// [`Error::Invalid`]; [`Error::Conflict`] when the team has too many unfinished runs; any database error.
    pub(super) async fn begin(&self, tx: &TeamTx, new: &NewRun) -> Result<Model> {
        store::check_open_run_limit(tx, self.0.options.open_runs).await?;
        let run = RunKey {
            team_id: tx.team_id(),
            run_id: Uuid::now_v7(),
        };
        let mut model = store::create(tx, run, new).await?;
        if new.start {
            model = store::advance(tx, run.run_id, RunStatus::Running).await?;
        }
        Ok(model)
    }

    /// Finds a run's log. If no process holds the log, this process acquires it.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Unavailable`] when the log can't be read or written; [`Error::Conflict`] when
    /// another process has locked its file and its address is not known.
    pub(super) async fn find(&self, database: &Database, run: RunKey) -> Result<LogLocation> {
        let slot = self.slot(run);
        let mut open = slot.open().await;
        if let Some(open) = open
            .as_ref()
            .filter(|open| !open.log.has_failed() && !open.node_lease.is_lost())
        {
            return Ok(LogLocation::Open(open.clone()));
        }
        if let Some(lost) = open.take() {
            slot.note_durable_bytes(lost.log.durable().borrow().bytes);
        }
        // Boxed: usually the log is open, and the caller's future should stay small.
        match Box::pin(self.acquire(database, run, &slot)).await {
            Ok(found) => {
                match &found {
                    LogLocation::Open(acquired) => *open = Some(acquired.clone()),
                    LogLocation::Elsewhere(_) | LogLocation::Closed | LogLocation::NotHere => {
                        drop(self.slots().remove(&run))
                    }
                }
                Ok(found)
            }
            Err(error) => {
                if matches!(error, Error::NotFound { .. }) {
                    self.slots().remove(&run);
                }
                Err(error)
            }
        }
    }

    /// Returns whether this process has a run's log open. Then lines can be appended without the database.
    pub(super) async fn is_open(&self, run: RunKey) -> bool {
        let slot = self.slots().get(&run).cloned();
        match slot {
            Some(slot) => slot
                .open()
                .await
                .as_ref()
                .is_some_and(|open| !open.log.has_failed() && !open.node_lease.is_lost()),
            None => false,
        }
    }

    async fn acquire(&self, database: &Database, run: RunKey, slot: &Slot) -> Result<LogLocation> {
        if *self.0.closing.borrow() {
            return Err(stopping());
        }
        // This check comes before the writer node is started, which is expensive. A request for an unknown run is
        // usually a mistake.
        let context = Context::system(run.team_id, "run logs");
        let tx = database.read(&context).await?;
        let row = store::get(&tx, run.run_id).await?;
        tx.commit().await?;
        if row.status.parse::<RunStatus>()?.is_final() {
            return Ok(LogLocation::Closed);
        }
        let node_lease = self.node_lease(database).await?;
        let lease = loop {
            match self.acquire_lease(database, run, node_lease.id()).await? {
                LeaseOutcome::Granted(lease) => break lease,
                LeaseOutcome::RunEnded => return Ok(LogLocation::Closed),
                LeaseOutcome::LogNotHere => return Ok(LogLocation::NotHere),
                // Another process has the URL of this one, so it is about to stop.
                LeaseOutcome::Elsewhere { url } if url == self.0.options.url => return Err(recovery_under_way()),
                LeaseOutcome::Elsewhere { url } => return Ok(LogLocation::Elsewhere(url)),
                LeaseOutcome::RecoveryUnderWay => return Err(recovery_under_way()),
                // The lines of the dead node must be in the file before the run moves to another node. Afterwards
                // nothing would recover them.
                LeaseOutcome::NeedsRecovery { node } => self.recover_node(database, node).await?,
            }
        };
        let opening = node_lease.clone();
        let (epoch, configuration) = (lease.epoch, lease.configuration_id.clone());
        let opened = tokio::task::spawn_blocking(move || opening.node().open(run, epoch, configuration.as_deref()))
            .await
            .map_err(Error::internal)?;
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.report_degraded(database, run);
                return Err(log_error(error));
            }
        };
        slot.acquired(&lease);
        if opened.completed {
            self.end_from_log(database, run, &opened.log).await?;
            return Ok(LogLocation::Closed);
        }
        if let Err(error) = slot.append_opening_lines(&node_lease, &opened, &lease).await {
            self.report_degraded(database, run);
            return Err(log_error(error));
        }
        Ok(LogLocation::Open(OpenLog {
            node_lease,
            log: opened.log,
        }))
    }

    async fn acquire_lease(&self, database: &Database, run: RunKey, node: Uuid) -> Result<LeaseOutcome> {
        let _no_recovery = self.0.recovering.read().await;
        let storage = self.storage().clone();
        let evidence = StorageEvidence {
            is_alive: &|node| storage.is_alive(node).ok().flatten(),
            has_log: storage.is_here(run),
        };
        let tx = database.begin(&Context::system(run.team_id, "run logs")).await?;
        let outcome = store::acquire_lease(&tx, run.run_id, node, self.0.options.lease, &evidence).await?;
        tx.commit().await?;
        Ok(outcome)
    }

    /// Appends lines to a run's log, and waits until they are durable.
    ///
    /// # Errors
    /// The errors of [`Runs::find`], and [`LogError`] as an [`Error`].
    pub(super) async fn append(
        &self,
        database: &Database,
        run: RunKey,
        open: &OpenLog,
        lines: &[IncomingLine<'_>],
        source: &str,
        writer: Option<&Writer>,
    ) -> Result<Appended> {
        let slot = self.slot(run);
        slot.record_activity();
        let appended = open.node_lease.node().append(&open.log, lines, source, writer).await;
        if let Err(LogError::Unwritable(_)) = &appended {
            if writer.is_none() {
                slot.count_refused(lines.len());
            }
            self.report_degraded(database, run);
        }
        appended.map_err(log_error)
    }

    /// Counts lines that were refused because the log can't be written, and whose writer does not number them and send
    /// them again.
    pub(super) fn count_refused(&self, run: RunKey, lines: usize) {
        self.slot(run).count_refused(lines);
    }

    /// Returns the number of durable bytes of a log that this process had open and can't write now. So much of it can
    /// be read.
    pub(super) fn durable_bytes(&self, run: RunKey) -> Option<u64> {
        self.slot(run).durable_bytes()
    }

    /// Records that the run's writer is active.
    pub(super) fn record_activity(&self, run: RunKey) {
        self.slot(run).record_activity();
    }

    /// Moves a run to the status of a line that is about to be appended.
    ///
    /// # Errors
    /// [`Error::Conflict`] for a transition that is not allowed.
    pub(super) async fn advance(&self, tx: &TeamTx, run: RunKey, next: RunStatus) -> Result<Model> {
        let model = store::advance(tx, run.run_id, next).await?;
        self.slot(run).set_status(next);
        Ok(model)
    }

    /// Marks the run as degraded in the database, because its log could not be written. This happens in the background:
    /// the caller receives the error anyway.
    fn report_degraded(&self, database: &Database, run: RunKey) {
        if !self.slot(run).mark_degraded() {
            return;
        }
        let database = database.clone();
        tokio::spawn(async move {
            let context = Context::system(run.team_id, "run logs");
            let recorded = async {
                let tx = database.begin(&context).await?;
                store::set_degraded(&tx, run.run_id).await?;
                tx.commit().await
            };
            if let Err(error) = recorded.await {
                tracing::warn!(run = %run.run_id, "could not mark a run's log as degraded: {error}");
            }
        });
    }

    fn slot(&self, run: RunKey) -> Arc<Slot> {
        self.slots().entry(run).or_default().clone()
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<RunKey, Arc<Slot>>> {
        self.0.slots.lock()
    }
}

fn admission(credential: &str, team_id: Uuid) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(team_id);
    hash.update(credential);
    hash.finalize().into()
}

pub(super) fn not_here() -> Error {
    Error::Unavailable {
        detail: "the run's log is in the storage of a process that is gone: start that process, or share its folder"
            .into(),
        source: None,
    }
}

fn recovery_under_way() -> Error {
    Error::Unavailable {
        detail: "the run's log is being recovered from a process that is gone; try again in a moment".into(),
        source: None,
    }
}

fn stopping() -> Error {
    Error::Unavailable {
        detail: "the service is stopping; try again in a moment".into(),
        source: None,
    }
}
