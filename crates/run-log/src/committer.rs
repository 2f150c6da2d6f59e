//! The committer: a thread that commits the pending lines of all runs of this process together.
//!
//! Lines that arrive during a commit wait for the next one. So the size of a group adapts to the speed of the disk, and
//! no timer is needed.
//!
//! The thread also decides which logs have their files open: see `open_files`.
//!
//! **The order of a commit**: first, each run's bytes are written to its own file without a sync. If the disk is full,
//! this write fails, and only that run is affected. Next, all bytes are written to the write-ahead log with one fsync.
//! Only then are the lines published to readers and acknowledged to writers.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};

use super::file::sync_file;
use super::layout::RunKey;
use super::log::{LineBatch, Log};
use super::open_files::{OpenFiles, OpenFilesLimits, ToClose};
use super::wal::{Disk, Group, WalFolder};

/// The maximum number of segments. Commits wait while the run files of all segments are being synced.
const MAX_SEGMENTS: usize = 4;

/// Creates a segment.
pub(super) type MakeSegment = Box<dyn FnMut(&WalFolder, usize, u64) -> io::Result<Box<dyn Disk>> + Send>;

/// Returns whether this process may still write. It is called before each commit.
pub(super) type MayWrite = Box<dyn Fn() -> bool + Send>;

/// The committer thread and its queue.
#[derive(Debug)]
pub(super) struct Committer {
    shared: Arc<CommitterState>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct CommitterState {
    queue: Mutex<Queue>,
    wake: Condvar,
    broken: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    logs: Vec<Arc<Log>>,
    /// Logs whose files were opened by another thread.
    opened: Vec<Arc<Log>>,
    stop: bool,
}

impl Committer {
    /// Starts the thread, which owns `folder` until it stops.
    ///
    /// # Errors
    /// An error of the file system when the first segment is created.
    pub(super) fn start(
        folder: WalFolder,
        segment_bytes: u64,
        mut make: MakeSegment,
        may_write: MayWrite,
        open_files: OpenFilesLimits,
    ) -> io::Result<Self> {
        let shared = Arc::new(CommitterState::default());
        let first = make(&folder, 0, segment_bytes)?;
        let (full, to_sync) = mpsc::channel::<ToSync>();
        let (done, synced) = mpsc::channel();
        // Segments are synced one after the other, in their order. Otherwise the segments that recovery reads might
        // have a hole.
        thread::Builder::new().name("run-logs-sync".to_owned()).spawn(move || {
            for work in to_sync {
                let synced = match work {
                    ToSync::Segment(segment) => sync_all(segment.files.values()).map(|()| Some(segment.disk)),
                    ToSync::Files(files) => sync_all(&files).map(|()| None),
                };
                // The receiver is gone if the committer has given up.
                if let Some(done_or_failed) = synced.transpose() {
                    let _ = done.send(done_or_failed);
                }
            }
        })?;
        let working = CommitLoop {
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
            active: ActiveSegment::new(first, 1),
            group: Group::default(),
            open: OpenFiles::new(open_files),
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

    /// Queues a log that has pending lines.
    pub(super) fn queue(&self, log: Arc<Log>) {
        let mut queue = self.shared.lock();
        if queue.stop {
            drop(queue);
            log.fail("the service is stopping");
            return;
        }
        queue.logs.push(log);
        // A thread that is busy checks the queue again afterwards.
        self.shared.wake.notify_one();
    }

    /// Reports that the file of this log was opened, so that it counts as an open file.
    pub(super) fn opened(&self, log: Arc<Log>) {
        let mut queue = self.shared.lock();
        if !queue.stop {
            queue.opened.push(log);
            self.shared.wake.notify_one();
        }
    }

    /// Returns whether a commit has failed. Then no more lines are accepted.
    pub(super) fn is_broken(&self) -> bool {
        self.shared.broken.load(Ordering::Acquire)
    }

    /// Commits all pending lines, syncs the runs' own files, and removes the write-ahead log.
    pub(super) fn stop(&self) {
        self.shared.lock().stop = true;
        self.shared.wake.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // The thread logs its own errors.
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

impl CommitterState {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The segment that is being written, and the run files that it covers and that are not synced yet.
struct ActiveSegment {
    disk: Box<dyn Disk>,
    generation: u64,
    at: u64,
    files: HashMap<RunKey, Arc<File>>,
}

impl ActiveSegment {
    fn new(disk: Box<dyn Disk>, generation: u64) -> Self {
        Self {
            disk,
            generation,
            at: 0,
            files: HashMap::new(),
        }
    }
}

/// A request to the sync thread, which handles requests in order.
enum ToSync {
    /// Sync all files that a segment covers; then the segment can be reused.
    Segment(ActiveSegment),
    /// Sync files that were closed.
    Files(Vec<Arc<File>>),
}

fn sync_all<'a>(files: impl IntoIterator<Item = &'a Arc<File>>) -> io::Result<()> {
    files.into_iter().try_for_each(|file| sync_file(file))
}

struct Segments {
    folder: WalFolder,
    make: MakeSegment,
    bytes: u64,
    made: usize,
    /// The free segments, in the order in which they were written. So the segments that recovery reads are always the
    /// newest ones, without a hole.
    free: VecDeque<Box<dyn Disk>>,
    full: mpsc::Sender<ToSync>,
    synced: mpsc::Receiver<io::Result<Box<dyn Disk>>>,
}

impl Segments {
    /// Returns a segment that may be written, and sends the full one to the sync thread.
    fn next(&mut self, full: ActiveSegment) -> io::Result<ActiveSegment> {
        let generation = full.generation + 1;
        self.sync_later(ToSync::Segment(full))?;
        self.collect()?;
        if self.free.is_empty() && self.made >= MAX_SEGMENTS {
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
        Ok(ActiveSegment::new(disk, generation))
    }

    fn sync_later(&self, work: ToSync) -> io::Result<()> {
        let gone = |_| io::Error::other("the sync thread is gone");
        self.full.send(work).map_err(gone)
    }

    /// Collects the segments that are synced.
    fn collect(&mut self) -> io::Result<()> {
        while let Ok(segment) = self.synced.try_recv() {
            self.free.push_back(segment?);
        }
        Ok(())
    }
}

struct CommitLoop {
    shared: Arc<CommitterState>,
    segments: Segments,
    active: ActiveSegment,
    group: Group,
    open: OpenFiles,
    may_write: MayWrite,
}

impl CommitLoop {
    fn run(mut self) {
        loop {
            let (logs, opened, stop) = self.wait();
            opened.iter().for_each(|log| self.open.mark_used(log));
            let done = self.make_room(0);
            let done = done.and_then(|()| self.commit(&logs)).and_then(|()| self.close_idle());
            if let Err(error) = done {
                return self.give_up(&logs, &error);
            }
            if stop && logs.is_empty() {
                break;
            }
        }
        // When the runs' own files are synced, there is nothing to recover.
        let synced = sync_all(self.active.files.values());
        let synced = synced.and_then(|()| {
            drop(self.segments.full);
            self.segments.synced.iter().try_for_each(|synced| synced.map(drop))
        });
        if let Err(error) = synced.and_then(|()| self.segments.folder.remove()) {
            tracing::error!(
                "run logs: could not sync or remove the write-ahead log, which is kept for the next start: {error}"
            );
        }
    }

    /// Waits for work. Returns the queued logs, the logs whose files were opened, and whether the thread must stop.
    /// Both lists are empty if the thread must stop or if it is time to look for idle files.
    fn wait(&self) -> (Vec<Arc<Log>>, Vec<Arc<Log>>, bool) {
        let mut queue = self.shared.lock();
        while queue.logs.is_empty() && queue.opened.is_empty() && !queue.stop {
            queue = match self.open.next_sweep() {
                None => self.shared.wake.wait(queue).unwrap_or_else(PoisonError::into_inner),
                Some(pause) => {
                    let waited = self.shared.wake.wait_timeout(queue, pause);
                    let (queue, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                    if timeout.timed_out() {
                        return (Vec::new(), Vec::new(), queue.stop);
                    }
                    queue
                }
            };
        }
        (
            std::mem::take(&mut queue.logs),
            std::mem::take(&mut queue.opened),
            queue.stop,
        )
    }

    /// Closes the files of logs that have been idle for long. The sync thread syncs them before the segment that covers
    /// them is reused.
    fn close_idle(&mut self) -> io::Result<()> {
        self.segments.collect()?;
        let idle = self.open.take_idle();
        let files = self.close(idle);
        match files.is_empty() {
            true => Ok(()),
            false => self.segments.sync_later(ToSync::Files(files)),
        }
    }

    /// Closes the least recently used files if `more` files would exceed the limit.
    fn make_room(&mut self, more: usize) -> io::Result<()> {
        let closed = self.open.make_room(more);
        sync_all(&self.close(closed))
    }

    /// Closes files and returns those that must be synced.
    fn close(&mut self, logs: Vec<ToClose>) -> Vec<Arc<File>> {
        let mut files = Vec::new();
        for (run, log) in logs {
            files.extend(self.active.files.remove(&run));
            files.extend(log.upgrade().and_then(|log| log.close_file()));
        }
        files
    }

    /// Writes a log's lines to its own file. If too many files are open, it closes other files first.
    ///
    /// # Errors
    /// An error when another file that was closed could not be synced. The inner result is the error of this log's
    /// file.
    fn write(&mut self, log: &Arc<Log>, piece: &LineBatch) -> io::Result<io::Result<()>> {
        if log.file().is_none() {
            self.make_room(1)?;
        }
        let mut written = log.write_to_file(piece);
        if written.as_ref().is_err_and(no_descriptor_left) {
            let closed = self.open.take_half();
            sync_all(&self.close(closed))?;
            written = log.write_to_file(piece);
        }
        self.open.mark_used(log);
        Ok(written)
    }

    fn commit(&mut self, logs: &[Arc<Log>]) -> io::Result<()> {
        if !logs.is_empty() && !(self.may_write)() {
            return Err(io::Error::other("the lease of this process has expired"));
        }
        let most = usize::try_from(self.segments.bytes / 4).unwrap_or(usize::MAX);
        let mut taken = Vec::with_capacity(logs.len());
        self.group.clear();
        for log in logs {
            let Some(piece) = log.take() else { continue };
            if let Err(error) = self.write(log, &piece)? {
                tracing::warn!(
                    run = %log.key().run_id,
                    "run logs: could not write the run's file, so its log must be opened again: {error}"
                );
                log.give_up(&describe(&error));
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

    fn sync(&mut self, taken: &mut Vec<(&Arc<Log>, LineBatch)>) -> io::Result<()> {
        if self.group.is_empty() {
            return Ok(());
        }
        if self.active.at + self.group.len() as u64 > self.segments.bytes {
            let full = std::mem::replace(&mut self.active, ActiveSegment::new(Box::new(NoDisk), 0));
            self.active = self.segments.next(full)?;
        }
        let bytes = self.group.sealed(self.active.generation);
        self.active.disk.write_all_at(bytes, self.active.at)?;
        self.active.disk.sync()?;
        self.active.at += bytes.len() as u64;
        for (log, piece) in taken.drain(..) {
            // A file that was closed after the write is already synced.
            if let Some(file) = log.file() {
                self.active.files.entry(log.key()).or_insert(file);
            }
            log.committed(piece);
        }
        self.group.clear();
        Ok(())
    }

    /// Stops all writing. After a failed fsync the on-disk state is unknown, so a new writer node must recover the
    /// write-ahead log.
    fn give_up(self, logs: &[Arc<Log>], error: &io::Error) {
        tracing::error!(
            "run logs: could not commit lines, so this writer node stops, and a new one must recover its logs: {error}"
        );
        self.shared.broken.store(true, Ordering::Release);
        let reason = describe(error);
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

/// A placeholder while one segment replaces another.
struct NoDisk;

impl Disk for NoDisk {
    fn write_all_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::Error::other("no segment"))
    }

    fn sync(&self) -> io::Result<()> {
        Err(io::Error::other("no segment"))
    }
}

/// Describes an error of the file system without a path.
pub(super) fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "no space is left".to_owned(),
        _ if no_descriptor_left(error) => "too many files are open".to_owned(),
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            "the storage can't be written to".to_owned()
        }
        kind => kind.to_string(),
    }
}

fn no_descriptor_left(error: &io::Error) -> bool {
    use nix::errno::Errno;
    let number = error.raw_os_error();
    number == Some(Errno::EMFILE as i32) || number == Some(Errno::ENFILE as i32)
}
