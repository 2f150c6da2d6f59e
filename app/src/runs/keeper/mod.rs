//! Who keeps the logs of a process: it takes them up when somebody writes or reads them, looks after them while they are
//! open, and closes them.
//!
//! Nothing is made before it is needed: a process that keeps no log has no home in the storage.

mod ending;
mod home;
mod options;
mod slot;

pub(super) use self::ending::Over;
pub use self::options::RunsOptions;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use uuid::Uuid;

use self::home::Settled;
use self::slot::Slot;
use super::log::{Appended, Limits, Log, LogError, RunKey, Said, Storage, Writer};
use super::new_run::NewRun;
use super::readers::Readers;
use super::status::RunStatus;
use super::store::{self, Seen, Taken};
use crate::error::{Error, Result};
use crate::tenancy::{Context, Database, TeamTx};
use daybook_entity::run::Model;

/// How long it is believed that somebody may write a team's runs, once that was seen.
const ADMITTED: Duration = Duration::from_secs(1);

/// The logs of a process: an extension of the [`Database`]. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Runs(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: RunsOptions,
    storage: Storage,
    readers: Readers,
    home: tokio::sync::Mutex<Option<Arc<Settled>>>,
    slots: Mutex<HashMap<RunKey, Arc<Slot>>>,
    /// When, and in which state of access to the team.
    admitted: Mutex<HashMap<[u8; 32], (Instant, u64)>>,
    /// Written while it is taken over what a dead process left: nobody then asks who lives, or opens what isn't whole.
    recovering: tokio::sync::RwLock<()>,
    closing: watch::Sender<bool>,
}

/// A log that this process writes.
#[derive(Debug, Clone)]
pub(super) struct OpenLog {
    settled: Arc<Settled>,
    pub(super) log: Arc<Log>,
}

/// A run's log, where it is.
#[derive(Debug)]
pub(super) enum Found {
    /// This process writes it.
    Open(OpenLog),
    /// Another process does: there.
    Elsewhere(String),
    /// The run has ended: it is a file.
    Closed,
    /// It is in the storage of a process that is gone, which is not this one's.
    NotHere,
}

impl Runs {
    /// The logs that the process of this database keeps.
    ///
    /// # Errors
    /// [`Error::Unavailable`] in a process that keeps none.
    pub(crate) fn of(database: &Database) -> Result<&Self> {
        database.extension().ok_or_else(|| Error::Unavailable {
            detail: "this process keeps no run logs".into(),
            source: None,
        })
    }

    /// The logs of a process, none of which is open yet.
    pub fn new(options: RunsOptions) -> Self {
        Self(Arc::new(Shared {
            storage: Storage::new(&options.storage),
            readers: Readers::new(options.max_readers.0, options.max_readers.1),
            options,
            home: tokio::sync::Mutex::default(),
            slots: Mutex::default(),
            admitted: Mutex::default(),
            recovering: tokio::sync::RwLock::default(),
            closing: watch::Sender::new(false),
        }))
    }

    /// The files.
    pub fn storage(&self) -> &Storage {
        &self.0.storage
    }

    /// The open readers of logs, which the limits count.
    pub(super) fn readers(&self) -> &Readers {
        &self.0.readers
    }

    /// How many streams and downloads of logs there are.
    pub fn open_readers(&self) -> usize {
        self.0.readers.open()
    }

    /// How large logs and lines may be.
    pub(super) fn limits(&self) -> Limits {
        self.0.options.limits
    }

    /// Turns true when the process is to stop: who reads a log is let go, and reads on elsewhere.
    pub(super) fn closing(&self) -> watch::Receiver<bool> {
        self.0.closing.subscribe()
    }

    /// Lets readers go. Writers may end what they are at.
    pub fn begin_to_close(&self) {
        self.0.closing.send_replace(true);
    }

    /// Commits what waits, and leaves the open logs to whoever takes them up next.
    pub async fn close(&self, database: &Database) {
        self.begin_to_close();
        let settled = self.0.home.lock().await.take();
        if let Some(settled) = settled {
            settled.leave(database).await;
        }
        self.slots().clear();
    }

    /// Whether this credential was seen to be allowed to write this team's runs a moment ago.
    /// `access_epoch` is another number once somebody's access to the team has changed.
    pub(super) fn is_admitted(&self, credential: &str, team_id: Uuid, access_epoch: u64) -> bool {
        let key = admission(credential, team_id);
        let admitted = self.0.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        admitted
            .get(&key)
            .is_some_and(|(at, epoch)| at.elapsed() < ADMITTED && *epoch == access_epoch)
    }

    /// It was seen now, and `access_epoch` was read before.
    pub(super) fn admit(&self, credential: &str, team_id: Uuid, access_epoch: u64) {
        let mut admitted = self.0.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        if admitted.len() >= 10_000 {
            admitted.retain(|_, (at, _)| at.elapsed() < ADMITTED);
        }
        admitted.insert(admission(credential, team_id), (Instant::now(), access_epoch));
    }

    /// Begins a run in a transaction: its row and its events. Its log is begun by who looks for it first.
    ///
    /// # Errors
    /// [`Error::Invalid`]; [`Error::Conflict`] when the team has too many unfinished runs; as any statement.
    pub(super) async fn begin(&self, tx: &TeamTx, new: &NewRun) -> Result<Model> {
        store::make_sure_one_more_may_begin(tx, self.0.options.open_runs).await?;
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

    /// A run's log, taken up if nobody has it.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Unavailable`] when the log can't be read or written; [`Error::Conflict`] when another
    /// process has its file and doesn't say where it is.
    pub(super) async fn find(&self, database: &Database, run: RunKey) -> Result<Found> {
        let slot = self.slot(run);
        let mut open = slot.open().await;
        if let Some(open) = open
            .as_ref()
            .filter(|open| !open.log.has_failed() && !open.settled.is_over())
        {
            return Ok(Found::Open(open.clone()));
        }
        if let Some(over) = open.take() {
            slot.was_safe(over.log.durable().borrow().bytes);
        }
        // In a box: most who ask find it open, and should not carry room for this.
        match Box::pin(self.take_up(database, run, &slot)).await {
            Ok(found) => {
                match &found {
                    Found::Open(taken) => *open = Some(taken.clone()),
                    Found::Elsewhere(_) | Found::Closed | Found::NotHere => drop(self.slots().remove(&run)),
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

    /// Whether this process has a run's log open, so that lines need no question to the database.
    pub(super) async fn is_open(&self, run: RunKey) -> bool {
        let slot = self.slots().get(&run).cloned();
        match slot {
            Some(slot) => slot
                .open()
                .await
                .as_ref()
                .is_some_and(|open| !open.log.has_failed() && !open.settled.is_over()),
            None => false,
        }
    }

    async fn take_up(&self, database: &Database, run: RunKey, slot: &Slot) -> Result<Found> {
        if *self.0.closing.borrow() {
            return Err(stopping());
        }
        // Before the home is settled, which costs: most that is asked for and isn't there is a mistake.
        let context = Context::system(run.team_id, "run logs");
        let tx = database.read(&context).await?;
        let known = store::get(&tx, run.run_id).await?;
        tx.commit().await?;
        if known.status.parse::<RunStatus>()?.is_final() {
            return Ok(Found::Closed);
        }
        let settled = self.settled(database).await?;
        let lease = loop {
            match self.ask_for_lease(database, run, settled.id()).await? {
                Taken::Here(lease) => break lease,
                Taken::Ended => return Ok(Found::Closed),
                Taken::NotHere => return Ok(Found::NotHere),
                // Another process on our address: it is on its way out.
                Taken::Elsewhere { url } if url == self.0.options.url => return Err(in_a_moment()),
                Taken::Elsewhere { url } => return Ok(Found::Elsewhere(url)),
                Taken::InAMoment => return Err(in_a_moment()),
                // What it left has to be in the file before the run has another home: nobody would look for it then.
                Taken::LeftBehind { home } => self.take_over(database, home).await?,
            }
        };
        let opening = settled.clone();
        let (epoch, configuration) = (lease.epoch, lease.configuration_id.clone());
        let opened = tokio::task::spawn_blocking(move || opening.home().open(run, epoch, configuration.as_deref()))
            .await
            .map_err(Error::internal)?;
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.degraded(database, run);
                return Err(error.into());
            }
        };
        slot.taken_up(&lease);
        if opened.completed {
            self.end_as_the_log_says(database, run, &opened.log).await?;
            return Ok(Found::Closed);
        }
        if let Err(error) = slot.first_lines(&settled, &opened, &lease).await {
            self.degraded(database, run);
            return Err(error.into());
        }
        Ok(Found::Open(OpenLog {
            settled,
            log: opened.log,
        }))
    }

    async fn ask_for_lease(&self, database: &Database, run: RunKey, home: Uuid) -> Result<Taken> {
        let _quiet = self.0.recovering.read().await;
        let storage = self.storage().clone();
        let seen = Seen {
            lives: &|home| storage.is_alive(home).ok().flatten(),
            has_log: storage.is_here(run),
        };
        let tx = database.begin(&Context::system(run.team_id, "run logs")).await?;
        let taken = store::take_lease(&tx, run.run_id, home, self.0.options.lease, &seen).await?;
        tx.commit().await?;
        Ok(taken)
    }

    /// Appends lines to a run's log, and waits until they are safe.
    ///
    /// # Errors
    /// As [`Runs::find`], and as [`LogError`] says.
    pub(super) async fn append(
        &self,
        database: &Database,
        run: RunKey,
        open: &OpenLog,
        lines: &[Said<'_>],
        source: &str,
        writer: Option<&Writer>,
    ) -> Result<Appended> {
        let slot = self.slot(run);
        slot.heard();
        let appended = open.settled.home().append(&open.log, lines, source, writer).await;
        if let Err(LogError::Unwritable(_)) = &appended {
            if writer.is_none() {
                slot.refused(lines.len());
            }
            self.degraded(database, run);
        }
        Ok(appended?)
    }

    /// Lines were refused because the log can't be written, and nobody sends them again by their numbers.
    pub(super) fn refused(&self, run: RunKey, lines: usize) {
        self.slot(run).refused(lines);
    }

    /// How far a log is safe that this process can't write now, but had: so far it can be read.
    pub(super) fn safe_part(&self, run: RunKey) -> Option<u64> {
        self.slot(run).safe_part()
    }

    /// Its writer has said that it lives.
    pub(super) fn heard(&self, run: RunKey) {
        self.slot(run).heard();
    }

    /// Moves a run on, as a line of its log is about to say.
    ///
    /// # Errors
    /// [`Error::Conflict`] for what may not come next.
    pub(super) async fn advance(&self, tx: &TeamTx, run: RunKey, next: RunStatus) -> Result<Model> {
        let model = store::advance(tx, run.run_id, next).await?;
        self.slot(run).moved(next);
        Ok(model)
    }

    /// Tells who looks at runs that this one's log could not be written. In the background: it is told as a refusal, too.
    fn degraded(&self, database: &Database, run: RunKey) {
        if !self.slot(run).becomes_degraded() {
            return;
        }
        let database = database.clone();
        tokio::spawn(async move {
            let context = Context::system(run.team_id, "run logs");
            let told = async {
                let tx = database.begin(&context).await?;
                store::set_degraded(&tx, run.run_id).await?;
                tx.commit().await
            };
            if let Err(error) = told.await {
                tracing::warn!(run = %run.run_id, "that a run's log is degraded could not be told: {error}");
            }
        });
    }

    fn slot(&self, run: RunKey) -> Arc<Slot> {
        self.slots().entry(run).or_default().clone()
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<RunKey, Arc<Slot>>> {
        self.0.slots.lock().unwrap_or_else(PoisonError::into_inner)
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
        detail: "the run's log is in the storage of a process that is gone: start it again, or share its folder".into(),
        source: None,
    }
}

fn in_a_moment() -> Error {
    Error::Unavailable {
        detail: "the run's log is about to be taken over from a process that is gone; try again in a moment".into(),
        source: None,
    }
}

fn stopping() -> Error {
    Error::Unavailable {
        detail: "the service is stopping; try again in a moment".into(),
        source: None,
    }
}

impl From<LogError> for Error {
    fn from(error: LogError) -> Self {
        let detail = error.to_string();
        match error {
            LogError::Ended => Self::conflict("run-ended", detail),
            LogError::Held => Self::conflict("log-held", detail),
            LogError::Full { .. } => Self::conflict("log-full", detail),
            LogError::Fenced { .. } => Self::conflict("writer-fenced", detail),
            LogError::SequenceGap { .. } => Self::conflict("writer-gap", detail),
            LogError::TooManyWriters { .. } => Self::conflict("too-many-writers", detail),
            LogError::Unwritable(_) => Self::Unavailable {
                detail: detail.into(),
                source: None,
            },
        }
    }
}
