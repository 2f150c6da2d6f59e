//! Sealed logs: seekable zstd, so that any offset can be read without the data before it. Any zstd tool can read the
//! whole file.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use zeekstd::{EncodeOptions, FrameSizePolicy};

use super::file::sync_file;
use super::layout::{Layout, RunKey, sync_folder};
use super::source::{ReadSeek, Source};

/// The uncompressed size of a frame. Reading starts at the beginning of a frame, so this limits the bytes that are
/// decompressed only to reach an offset.
const FRAME_BYTES: u32 = 256 << 10;
const COMPRESSION_LEVEL: i32 = 3;

/// Stores sealed logs. [`Layout`] stores them in its folders; the trait lets tests simulate a store that fails.
pub(super) trait SealedLogs: Send + Sync + std::fmt::Debug {
    /// Moves a complete temporary file to the store. The operation is atomic: the log is stored durably, or not at
    /// all.
    ///
    /// # Errors
    /// An error of the store.
    fn put(&self, run: RunKey, file: &Path) -> io::Result<()>;

    /// Opens a sealed log.
    ///
    /// # Errors
    /// `NotFound` if it does not exist; an error of the store.
    fn open(&self, run: RunKey) -> io::Result<Box<dyn ReadSeek>>;

    /// Deletes a sealed log. A missing log is not an error.
    ///
    /// # Errors
    /// An error of the store.
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

/// The result of sealing a log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sealed {
    /// The size of the plain text, in bytes.
    pub plain_bytes: u64,
    /// The size of the sealed file, in bytes.
    pub sealed_bytes: u64,
}

/// Seals a complete log: compresses it into a temporary file, verifies that file by reading all of it, moves it to the
/// store, and then removes the plain file. Readers that have the plain file open can continue. Returns `None` if there
/// is no plain file here.
///
/// # Errors
/// An error of the file system; `InvalidData` if the compressed file's content differs; then the plain file stays.
pub(super) fn seal(layout: &Layout, store: &dyn SealedLogs, run: RunKey) -> io::Result<Option<Sealed>> {
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
        .compression_level(COMPRESSION_LEVEL);
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
    sync_file(&file)?;

    // The check: the compressed file, read as readers will read it, has the same content.
    let mut sealed_copy = Source::sealed(Box::new(File::open(&temporary)?))?;
    let mut hash_of_copy = Sha256::new();
    let mut at = 0;
    loop {
        let read = sealed_copy.read_at(at, &mut block)?;
        if read == 0 {
            break;
        }
        hash_of_copy.update(&block[..read]);
        at += read as u64;
    }
    if at != plain_bytes || hash.finalize() != hash_of_copy.finalize() {
        remove(&temporary)?;
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the sealed log differs from the plain one",
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

/// Removes a file durably. A missing file is not an error.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => {
            removed?;
            path.parent().map_or(Ok(()), sync_folder)
        }
    }
}
