//! Sealed logs: seekable zstd, so that any place can be read without what comes before, and any zstd tool reads the whole.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use zeekstd::{EncodeOptions, FrameSizePolicy};

use super::layout::{Layout, RunKey, sync_folder};
use super::source::{ReadSeek, Source};

/// So much plain text is a frame: what is decompressed to get at one line, at most.
const FRAME_BYTES: u32 = 256 << 10;
const LEVEL: i32 = 3;

/// Where sealed logs are kept: the storage's own folders, or another store.
pub trait SealedLogs: Send + Sync + std::fmt::Debug {
    /// Takes in a whole file that was written aside. It is there afterwards, safe, or it isn't.
    ///
    /// # Errors
    /// What the store says.
    fn put(&self, run: RunKey, file: &Path) -> io::Result<()>;

    /// Opens one.
    ///
    /// # Errors
    /// `NotFound` for one that is not there; what the store says.
    fn open(&self, run: RunKey) -> io::Result<Box<dyn ReadSeek>>;

    /// Deletes one; one that is not there is no error.
    ///
    /// # Errors
    /// What the store says.
    fn delete(&self, run: RunKey) -> io::Result<()>;
}

impl SealedLogs for Layout {
    fn put(&self, run: RunKey, file: &Path) -> io::Result<()> {
        let sealed = self.sealed(run);
        fs::rename(file, &sealed)?;
        sealed.parent().map_or(Ok(()), sync_folder)
    }

    fn open(&self, run: RunKey) -> io::Result<Box<dyn ReadSeek>> {
        Ok(Box::new(File::open(self.sealed(run))?))
    }

    fn delete(&self, run: RunKey) -> io::Result<()> {
        let sealed = self.sealed(run);
        remove(&sealed)
    }
}

/// What sealing came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    /// The plain text, in bytes.
    pub plain_bytes: u64,
    /// What is kept of it.
    pub sealed_bytes: u64,
}

/// Seals a log that is complete: compresses it aside, reads that again to the last byte, puts it into its place, and then
/// removes the plain one. Who reads the plain one reads on. None if there is no plain one here.
///
/// # Errors
/// What the file system says; `InvalidData` if what was written reads differently, and then the plain one stays.
pub fn seal(layout: &Layout, store: &dyn SealedLogs, run: RunKey) -> io::Result<Option<Sealed>> {
    let plain = layout.plain(run);
    let mut from = match File::open(&plain) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let temporary = temporary_path(&plain);
    let mut hash = Sha256::new();
    let file = File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o640)
        .open(&temporary)?;
    let options = EncodeOptions::new()
        .frame_size_policy(FrameSizePolicy::Uncompressed(FRAME_BYTES))
        .checksum_flag(true)
        .compression_level(LEVEL);
    let mut encoder = options.into_encoder(&file).map_err(io::Error::other)?;
    let mut block = vec![0; 1 << 18];
    let mut plain_bytes = 0;
    loop {
        let read = from.read(&mut block)?;
        if read == 0 {
            break;
        }
        hash.update(&block[..read]);
        encoder.write_all(&block[..read])?;
        plain_bytes += read as u64;
    }
    let sealed_bytes = encoder.finish().map_err(io::Error::other)?;
    file.sync_all()?;

    let mut again = Source::sealed(Box::new(File::open(&temporary)?))?;
    let mut hash_again = Sha256::new();
    let mut at = 0;
    loop {
        let read = again.read_at(at, &mut block)?;
        if read == 0 {
            break;
        }
        hash_again.update(&block[..read]);
        at += read as u64;
    }
    if at != plain_bytes || hash.finalize() != hash_again.finalize() {
        remove(&temporary)?;
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the sealed log reads differently from the plain one",
        ));
    }
    store.put(run, &temporary)?;
    remove(&plain)?;
    Ok(Some(Sealed {
        plain_bytes,
        sealed_bytes,
    }))
}

fn temporary_path(plain: &Path) -> PathBuf {
    plain.with_extension("ndjson.zst.new")
}

/// Removes a file for good; one that is not there is no error.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => {
            removed?;
            path.parent().map_or(Ok(()), sync_folder)
        }
    }
}
