//! The handle of the log registry: its state, the credentials that may write, and the lines that are appended.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::runs::entity::Model;
use crate::runs::log_error::log_error;
use daybook_run_log::{Appended, IncomingLine, LogError, RunKey, Storage, Writer};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use uuid::Uuid;

use super::admissions::Admissions;
use super::node_lease::NodeLease;
use super::open_log::OpenLog;
use super::options::RunsOptions;
use super::slot::Slot;
use crate::clock::Clock;
use crate::error::Result;
use crate::runs::new_run::NewRun;
use crate::runs::readers::Readers;
use crate::runs::status::RunStatus;
use crate::runs::store;
use crate::tenancy::{Context, Database, TeamTx};

/// The log registry of a process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Runs(pub(super) Arc<RegistryState>);

/// The state of the registry.
#[derive(Debug)]
pub(super) struct RegistryState {
    pub(super) options: RunsOptions,
    /// Measures leases and the silence of writers.
    pub(super) clock: Clock,
    storage: Storage,
    readers: Readers,
    pub(super) node_lease: tokio::sync::Mutex<Option<Arc<NodeLease>>>,
    slots: Mutex<HashMap<RunKey, Arc<Slot>>>,
    admissions: Admissions,
    /// Locked for writing during the recovery of a dead node. Meanwhile no task checks which nodes are alive, or opens
    /// an incomplete file.
    pub(super) recovering: tokio::sync::RwLock<()>,
    pub(super) closing: watch::Sender<bool>,
}

impl Runs {
    /// Creates a registry without open logs. Leases and the silence of writers are measured with `clock`, usually the
    /// database's.
    pub fn new(options: RunsOptions, clock: Clock) -> Self {
        Self(Arc::new(RegistryState {
            storage: Storage::new(&options.storage),
            readers: Readers::new(options.max_readers.0, options.max_readers.1),
            options,
            admissions: Admissions::new(clock.clone()),
            clock,
            node_lease: tokio::sync::Mutex::default(),
            slots: Mutex::default(),
            recovering: tokio::sync::RwLock::default(),
            closing: watch::Sender::new(false),
        }))
    }

    /// Returns the storage of the log files.
    pub fn storage(&self) -> &Storage {
        &self.0.storage
    }

    /// Returns the open readers, to which the limits apply.
    pub(in crate::runs) fn readers(&self) -> &Readers {
        &self.0.readers
    }

    /// Returns the number of open streams and downloads of logs.
    pub fn open_readers(&self) -> usize {
        self.0.readers.open()
    }

    /// Returns the maximum size of an incoming line, in bytes.
    pub(in crate::runs) fn max_line_bytes(&self) -> usize {
        self.0.options.line_bytes
    }

    /// Returns a receiver whose value becomes true when the process shuts down. Streams of logs then end, and their
    /// clients continue at another process.
    pub(in crate::runs) fn closing(&self) -> watch::Receiver<bool> {
        self.0.closing.subscribe()
    }

    /// Ends the streams of all readers. Writers may finish their requests.
    pub fn start_closing(&self) {
        self.0.closing.send_replace(true);
    }

    /// Commits all waiting lines and releases the open logs, so that other processes can acquire them.
    pub async fn close(&self, database: &Database) {
        self.start_closing();
        let node_lease = self.0.node_lease.lock().await.take();
        if let Some(node_lease) = node_lease {
            node_lease.shut_down(database).await;
        }
        self.slots().clear();
    }

    /// Returns whether this credential was recently allowed to write this team's runs. `access_epoch` changes when any
    /// access to the team changes.
    pub(in crate::runs) fn is_admitted(&self, credential: &str, team_id: Uuid, access_epoch: u64) -> bool {
        self.0.admissions.contain(credential, team_id, access_epoch)
    }

    /// Records that this credential may write this team's runs. `access_epoch` was read before the check.
    pub(in crate::runs) fn admit(&self, credential: &str, team_id: Uuid, access_epoch: u64) {
        self.0.admissions.add(credential, team_id, access_epoch);
    }

    /// Creates a run in a transaction: its row and its events. The first call of [`Runs::find`] creates its log.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid); [`Error::Conflict`](crate::Error::Conflict) when the team has too many
    /// unfinished runs; any database error.
    pub(in crate::runs) async fn begin(&self, tx: &TeamTx, new: &NewRun) -> Result<Model> {
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

    /// Returns whether this process has a run's log open. Then lines can be appended without the database.
    pub(in crate::runs) async fn is_open(&self, run: RunKey) -> bool {
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

    /// Appends lines to a run's log, and waits until they are durable.
    ///
    /// # Errors
    /// A [`LogError`], as the error that a client receives for it.
    pub(in crate::runs) async fn append(
        &self,
        database: &Database,
        run: RunKey,
        open: &OpenLog,
        lines: &[IncomingLine<'_>],
        source: &str,
        writer: Option<&Writer>,
    ) -> Result<Appended> {
        let slot = self.slot(run);
        slot.record_activity(self.now());
        let appended = open.node_lease.node().append(&open.log, lines, source, writer).await;
        if let Err(LogError::Unwritable(_)) = &appended {
            if writer.is_none() {
                slot.count_refused(lines.len());
            }
            self.report_degraded(database, run);
        }
        appended.map_err(log_error)
    }

    /// Counts lines that were refused because the log can't be written, if their writer does not number its lines. Such
    /// a writer does not send the lines again.
    pub(in crate::runs) fn count_refused(&self, run: RunKey, lines: usize) {
        self.slot(run).count_refused(lines);
    }

    /// Returns the number of durable bytes of a log that this process had open and can't write now. Readers may read
    /// these bytes.
    pub(in crate::runs) fn durable_bytes(&self, run: RunKey) -> Option<u64> {
        self.slot(run).durable_bytes()
    }

    /// Records that the run's writer is active.
    pub(in crate::runs) fn record_activity(&self, run: RunKey) {
        self.slot(run).record_activity(self.now());
    }

    /// Moves a run to the status of a line that is about to be appended.
    ///
    /// # Errors
    /// [`Error::Conflict`](crate::Error::Conflict) for a transition that is not allowed.
    pub(in crate::runs) async fn advance(&self, tx: &TeamTx, run: RunKey, next: RunStatus) -> Result<Model> {
        let model = store::advance(tx, run.run_id, next).await?;
        self.slot(run).set_status(next);
        Ok(model)
    }

    /// Marks the run as degraded in the database, because its log could not be written. A background task does this,
    /// because the caller already has an error to return.
    pub(super) fn report_degraded(&self, database: &Database, run: RunKey) {
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

    pub(super) fn now(&self) -> Instant {
        self.0.clock.instant()
    }

    pub(super) fn slot(&self, run: RunKey) -> Arc<Slot> {
        self.slots().entry(run).or_default().clone()
    }

    pub(super) fn slots(&self) -> MutexGuard<'_, HashMap<RunKey, Arc<Slot>>> {
        self.0.slots.lock()
    }
}
