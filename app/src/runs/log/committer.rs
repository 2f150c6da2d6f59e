//! The thread that makes lines safe: it takes what has queued in all the runs of this process, and commits it together.
//!
//! What comes while a commit is on its way waits for the next one: a group is as large as the disk is slow, and nobody
//! waits for a clock.
//!
//! **The order of a commit**: each run's bytes into its own file (not synced: there a full disk is found, and only that
//! run fails), then all of them into the write-ahead log, one fsync, and only then do readers and writers hear of them.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};

use super::layout::RunKey;
use super::log::{Log, Taken};
use super::wal::{Disk, Group, WalFolder};

/// How many segments there are at most: while all are on their way into the runs' files, commits wait.
const MOST_SEGMENTS: usize = 4;

/// Makes segments.
pub(super) type MakeSegment = Box<dyn FnMut(&WalFolder, usize, u64) -> io::Result<Box<dyn Disk>> + Send>;

/// Whether this process may still write: asked before each commit.
pub(super) type MayWrite = Arc<dyn Fn() -> bool + Send + Sync>;

/// The committing thread, and what waits for it.
#[derive(Debug)]
pub(super) struct Committer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    broken: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    logs: Vec<Arc<Log>>,
    stop: bool,
}

impl Committer {
    /// Starts the thread, which keeps `folder` until it stops.
    ///
    /// # Errors
    /// What the file system says about the first segment.
    pub(super) fn start(
        folder: WalFolder,
        segment_bytes: u64,
        mut make: MakeSegment,
        may_write: MayWrite,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let first = make(&folder, 0, segment_bytes)?;
        let (full, to_sync) = mpsc::channel::<Active>();
        let (done, synced) = mpsc::channel();
        // One after the other, in their order: else what is left to read might have a hole.
        thread::Builder::new().name("run-logs-sync".to_owned()).spawn(move || {
            for segment in to_sync {
                let safe = segment.files.values().try_for_each(|file| file.sync_data());
                // Nobody waits for it once the committer has given up.
                let _ = done.send(safe.map(|()| segment.disk));
            }
        })?;
        let working = Working {
            shared: shared.clone(),
            segments: Segments {
                folder,
                make,
                bytes: segment_bytes,
                made: 1,
                free: VecDeque::new(),
                full,
                synced,
            },
            active: Active::new(first, 1),
            group: Group::default(),
            may_write,
        };
        let thread = thread::Builder::new()
            .name("run-logs".to_owned())
            .spawn(move || working.run())?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Something of this log waits to be committed.
    pub(super) fn queue(&self, log: Arc<Log>) {
        let mut queue = self.shared.lock();
        if queue.stop {
            drop(queue);
            log.fail("the service is stopping");
            return;
        }
        queue.logs.push(log);
        // Who is at work looks again anyway.
        self.shared.wake.notify_one();
    }

    /// A commit has failed: nothing more is taken.
    pub(super) fn is_broken(&self) -> bool {
        self.shared.broken.load(Ordering::Acquire)
    }

    /// Commits what waits, makes all of it safe in the runs' own files, and removes the write-ahead log.
    pub(super) fn stop(&self) {
        self.shared.lock().stop = true;
        self.shared.wake.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It has told what went wrong.
            let _ = thread.join();
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.wake.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A segment that is written, and the files that have what it has without being synced yet.
struct Active {
    disk: Box<dyn Disk>,
    generation: u64,
    at: u64,
    files: HashMap<RunKey, Arc<File>>,
}

impl Active {
    fn new(disk: Box<dyn Disk>, generation: u64) -> Self {
        Self {
            disk,
            generation,
            at: 0,
            files: HashMap::new(),
        }
    }
}

struct Segments {
    folder: WalFolder,
    make: MakeSegment,
    bytes: u64,
    made: usize,
    /// In the order in which they were written, so that those that are left to read are always the newest, without a hole.
    free: VecDeque<Box<dyn Disk>>,
    full: mpsc::Sender<Active>,
    synced: mpsc::Receiver<io::Result<Box<dyn Disk>>>,
}

impl Segments {
    /// One that may be written; the one that is full is on its way into the runs' files.
    fn next(&mut self, full: Active) -> io::Result<Active> {
        let generation = full.generation + 1;
        let gone = |_| io::Error::other("the thread that syncs is gone");
        self.full.send(full).map_err(gone)?;
        while let Ok(segment) = self.synced.try_recv() {
            self.free.push_back(segment?);
        }
        if self.free.is_empty() && self.made >= MOST_SEGMENTS {
            let segment = self.synced.recv().map_err(io::Error::other)?;
            self.free.push_back(segment?);
        }
        let disk = match self.free.pop_front() {
            Some(segment) => segment,
            None => {
                self.made += 1;
                (self.make)(&self.folder, self.made - 1, self.bytes)?
            }
        };
        Ok(Active::new(disk, generation))
    }
}

struct Working {
    shared: Arc<Shared>,
    segments: Segments,
    active: Active,
    group: Group,
    may_write: MayWrite,
}

impl Working {
    fn run(mut self) {
        loop {
            let (logs, stop) = self.wait();
            if let Err(error) = self.commit(&logs) {
                return self.give_up(&logs, &error);
            }
            if stop && logs.is_empty() {
                break;
            }
        }
        // Safe in the runs' own files: then nothing is left to take over.
        let synced = self.active.files.values().try_for_each(|file| file.sync_data());
        let synced = synced.and_then(|()| {
            drop(self.segments.full);
            self.segments.synced.iter().try_for_each(|synced| synced.map(drop))
        });
        if let Err(error) = synced.and_then(|()| self.segments.folder.remove()) {
            tracing::error!("run logs: the write-ahead log is kept for the next start: {error}");
        }
    }

    /// What has queued; nothing, once it is to stop.
    fn wait(&self) -> (Vec<Arc<Log>>, bool) {
        let mut queue = self.shared.lock();
        while queue.logs.is_empty() && !queue.stop {
            queue = self.shared.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        (std::mem::take(&mut queue.logs), queue.stop)
    }

    fn commit(&mut self, logs: &[Arc<Log>]) -> io::Result<()> {
        if !logs.is_empty() && !(self.may_write)() {
            return Err(io::Error::other("the lease of this process has run out"));
        }
        let most = usize::try_from(self.segments.bytes / 4).unwrap_or(usize::MAX);
        let mut taken = Vec::with_capacity(logs.len());
        self.group.clear();
        for log in logs {
            let Some(piece) = log.take() else { continue };
            if let Err(error) = log.write_to_file(&piece) {
                log.give_up(&words(&error));
                continue;
            }
            self.group.add(log.key(), log.epoch(), piece.offset, &piece.bytes);
            taken.push((log, piece));
            if self.group.len() >= most {
                self.sync(&mut taken)?;
            }
        }
        self.sync(&mut taken)
    }

    fn sync(&mut self, taken: &mut Vec<(&Arc<Log>, Taken)>) -> io::Result<()> {
        if self.group.is_empty() {
            return Ok(());
        }
        if self.active.at + self.group.len() as u64 > self.segments.bytes {
            let full = std::mem::replace(&mut self.active, Active::new(Box::new(Nowhere), 0));
            self.active = self.segments.next(full)?;
        }
        let bytes = self.group.sealed(self.active.generation);
        self.active.disk.write_all_at(bytes, self.active.at)?;
        self.active.disk.sync()?;
        self.active.at += bytes.len() as u64;
        for (log, piece) in taken.drain(..) {
            let files = &mut self.active.files;
            files.entry(log.key()).or_insert_with(|| log.file().clone());
            log.committed(piece);
        }
        self.group.clear();
        Ok(())
    }

    /// What a disk has kept after an fsync that failed, nobody knows. So nothing is written any more: who begins anew
    /// reads the write-ahead log again.
    fn give_up(self, logs: &[Arc<Log>], error: &io::Error) {
        tracing::error!("run logs: a commit failed: {error}");
        self.shared.broken.store(true, Ordering::Release);
        let reason = words(error);
        let waiting = {
            let mut queue = self.shared.lock();
            queue.stop = true;
            std::mem::take(&mut queue.logs)
        };
        for log in logs.iter().chain(&waiting) {
            log.give_up(&reason);
        }
    }
}

/// In place of a segment, while one follows another.
struct Nowhere;

impl Disk for Nowhere {
    fn write_all_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::Error::other("no segment"))
    }

    fn sync(&self) -> io::Result<()> {
        Err(io::Error::other("no segment"))
    }
}

/// A disk's error in words that name no path.
pub(super) fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "no space is left".to_owned(),
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            "the storage can't be written to".to_owned()
        }
        kind => kind.to_string(),
    }
}
