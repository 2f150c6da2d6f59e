//! The write-ahead log of a process: the lines of all its runs in one file, so that one fsync makes them all durable.
//!
//! A *group* is the result of one commit. It consists of records of runs, each with its offset in the run's own file.
//! The checksum shows whether a group is complete; an incomplete group is ignored. Segments are filled with zeros to
//! their full size when they are created, so that a commit changes no metadata. They are used in turn. A segment is
//! reused only after its content is durable in the run files.
//!
//! ```text
//! group  = magic, generation, length, crc32, records        record = team, run, epoch, offset, length, bytes
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use uuid::Uuid;

use super::layout::{RunKey, make_folder, sync_folder};

const MAGIC: u32 = 0x5741_4c31;
/// Magic, generation, length, checksum.
const HEAD: usize = 4 + 8 + 4 + 4;
/// Team, run, epoch, offset, length.
const RECORD_HEAD: usize = 16 + 16 + 8 + 8 + 4;
const LOCK: &str = "lock";

/// The file to which commits are written. It is a trait so that tests can simulate a failing disk.
pub(super) trait Disk: Send {
    /// Writes all bytes.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes the written bytes durable.
    fn sync(&self) -> io::Result<()>;
}

impl Disk for File {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(self, bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// A folder of segments, which this process keeps locked as long as it runs.
#[derive(Debug)]
pub(super) struct WalFolder {
    folder: PathBuf,
    _lock: Flock<File>,
}

impl WalFolder {
    /// Creates and locks the folder.
    ///
    /// # Errors
    /// An error of the file system.
    pub(super) fn create(folder: PathBuf) -> io::Result<Self> {
        make_folder(&folder)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join(LOCK))?;
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| io::Error::from(errno))?;
        Ok(Self { folder, _lock: lock })
    }

    /// Opens and locks the folder of a dead process. Returns `None` if the process is alive or the folder does not
    /// exist.
    ///
    /// # Errors
    /// An error of the file system.
    pub(super) fn open_abandoned(folder: PathBuf) -> io::Result<Option<Self>> {
        let lock = match OpenOptions::new().write(true).open(folder.join(LOCK)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        match Flock::lock(lock, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(Self { folder, _lock: lock })),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(errno.into()),
        }
    }

    /// Creates a segment of its full size.
    ///
    /// # Errors
    /// An error of the file system. A full disk is found here and not in the middle of a commit.
    pub(super) fn segment(&self, number: usize, bytes: u64) -> io::Result<File> {
        let path = self.folder.join(format!("{number:06}.wal"));
        let file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o640)
            .open(path)?;
        let zeros = vec![0; 1 << 20];
        let mut at = 0;
        while at < bytes {
            let piece = usize::try_from(bytes - at).unwrap_or(zeros.len()).min(zeros.len());
            Disk::write_all_at(&file, &zeros[..piece], at)?;
            at += piece as u64;
        }
        file.sync_all()?;
        sync_folder(&self.folder)?;
        Ok(file)
    }

    /// Reads the segments, the oldest first.
    ///
    /// # Errors
    /// An error of the file system.
    pub(super) fn segments(&self) -> io::Result<Vec<Segment>> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "wal")
                && let Some(segment) = Segment::read(&path)?
            {
                segments.push(segment);
            }
        }
        segments.sort_by_key(|segment| segment.generation);
        Ok(segments)
    }

    /// Removes the folder, after its content is durable in the run files.
    ///
    /// # Errors
    /// An error of the file system.
    pub(super) fn remove(self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            // The lock is removed last, so that no other process recovers an incomplete folder.
            if path.file_name().is_none_or(|name| name != LOCK) {
                fs::remove_file(path)?;
            }
        }
        fs::remove_file(self.folder.join(LOCK))?;
        fs::remove_dir(&self.folder)?;
        self.folder.parent().map_or(Ok(()), sync_folder)
    }
}

/// A group that is being built.
#[derive(Debug, Default)]
pub(super) struct Group(Vec<u8>);

impl Group {
    /// Starts a new group.
    pub(super) fn clear(&mut self) {
        self.0.clear();
        self.0.resize(HEAD, 0);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.len() <= HEAD
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds a record: bytes that a run's file has at `offset`.
    pub(super) fn add(&mut self, run: RunKey, epoch: u64, offset: u64, bytes: &[u8]) {
        self.0.extend_from_slice(run.team_id.as_bytes());
        self.0.extend_from_slice(run.run_id.as_bytes());
        self.0.extend_from_slice(&epoch.to_le_bytes());
        self.0.extend_from_slice(&offset.to_le_bytes());
        self.0
            .extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.0.extend_from_slice(bytes);
    }

    /// Returns the group's bytes with header and checksum, for a segment of this generation.
    pub(super) fn sealed(&mut self, generation: u64) -> &[u8] {
        let length = u32::try_from(self.0.len() - HEAD).unwrap_or(u32::MAX);
        let crc = checksum(generation, &self.0[HEAD..]);
        self.0[..4].copy_from_slice(&MAGIC.to_le_bytes());
        self.0[4..12].copy_from_slice(&generation.to_le_bytes());
        self.0[12..16].copy_from_slice(&length.to_le_bytes());
        self.0[16..20].copy_from_slice(&crc.to_le_bytes());
        &self.0
    }
}

fn checksum(generation: u64, records: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&generation.to_le_bytes());
    hasher.update(records);
    hasher.finalize()
}

/// A segment that is read for recovery. It consists of the complete groups of one generation, from the beginning of the
/// file.
#[derive(Debug)]
pub(super) struct Segment {
    generation: u64,
    bytes: Vec<u8>,
}

/// The bytes that a run's file must have at an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) run: RunKey,
    pub(super) epoch: u64,
    pub(super) offset: u64,
    pub(super) bytes: &'a [u8],
}

impl Segment {
    /// Reads a segment. Returns `None` if it has no group.
    fn read(path: &Path) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        File::open(path)?.read_to_end(&mut bytes)?;
        let Some((generation, _)) = group_at(&bytes, 0) else {
            return Ok(None);
        };
        Ok(Some(Self { generation, bytes }))
    }

    /// Returns the records in the order in which they were committed. An incomplete group was never acknowledged, so it
    /// is left out.
    pub(super) fn records(&self) -> Vec<Record<'_>> {
        let mut records = Vec::new();
        let mut at = 0;
        while let Some((generation, group)) = group_at(&self.bytes, at) {
            if generation != self.generation {
                break;
            }
            at += HEAD + group.len();
            let mut rest = group;
            while let Some((record, after)) = record_of(rest) {
                records.push(record);
                rest = after;
            }
        }
        records
    }
}

fn group_at(bytes: &[u8], at: usize) -> Option<(u64, &[u8])> {
    let head = bytes.get(at..at + HEAD)?;
    let number = |from: usize| Some(u32::from_le_bytes(head.get(from..from + 4)?.try_into().ok()?));
    let generation = u64::from_le_bytes(head.get(4..12)?.try_into().ok()?);
    let length = usize::try_from(number(12)?).ok()?;
    let records = bytes.get(at + HEAD..at + HEAD + length)?;
    (number(0)? == MAGIC && number(16)? == checksum(generation, records)).then_some((generation, records))
}

fn record_of(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let (head, rest) = bytes.split_at_checked(RECORD_HEAD)?;
    let length = u32::from_le_bytes(head.get(48..52)?.try_into().ok()?);
    let (line, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    let record = Record {
        run: RunKey {
            team_id: Uuid::from_slice(head.get(..16)?).ok()?,
            run_id: Uuid::from_slice(head.get(16..32)?).ok()?,
        },
        epoch: u64::from_le_bytes(head.get(32..40)?.try_into().ok()?),
        offset: u64::from_le_bytes(head.get(40..48)?.try_into().ok()?),
        bytes: line,
    };
    Some((record, rest))
}
