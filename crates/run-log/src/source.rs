//! Reads a log at any offset, plain or sealed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use zeekstd::Decoder;

use super::layout::{Layout, RunKey};

/// A log that is opened for reading, see [`Storage::open`](super::Storage::open). Offsets refer to the plain text, also
/// for a sealed log.
pub struct Source {
    inner: Inner,
    length: u64,
}

enum Inner {
    Plain(File),
    Sealed(Box<Decoder<'static, Box<dyn ReadSeek>>>),
}

/// A seekable file or object from which a sealed log is read.
pub(super) trait ReadSeek: Read + Seek + Send {}

impl<T: Read + Seek + Send> ReadSeek for T {}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl Source {
    /// Opens a plain log up to its current length.
    ///
    /// # Errors
    /// An error of the file system; `NotFound` for a log that does not exist or is sealed.
    pub(super) fn plain(layout: &Layout, run: RunKey) -> io::Result<Self> {
        let file = File::open(layout.plain(run))?;
        let length = file.metadata()?.len();
        Ok(Self {
            inner: Inner::Plain(file),
            length,
        })
    }

    /// Opens a sealed log.
    ///
    /// # Errors
    /// An error of the file system; `InvalidData` for a damaged log.
    pub(super) fn sealed(from: Box<dyn ReadSeek>) -> io::Result<Self> {
        let decoder = Decoder::new(from).map_err(damaged)?;
        Ok(Self {
            length: decoder.seek_table().size_decomp(),
            inner: Inner::Sealed(Box::new(decoder)),
        })
    }

    /// Returns the length of the plain text when the log was opened.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Reads from an offset until `buffer` is full or the log ends. Returns the number of bytes.
    ///
    /// # Errors
    /// An error of the file system; `InvalidData` for a damaged log.
    pub fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        match &mut self.inner {
            Inner::Plain(file) => {
                while filled < buffer.len() {
                    let at = offset + filled as u64;
                    match std::os::unix::fs::FileExt::read_at(file, &mut buffer[filled..], at) {
                        Ok(0) => break,
                        Ok(read) => filled += read,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            Inner::Sealed(decoder) => {
                if offset >= self.length {
                    return Ok(0);
                }
                if decoder.offset() != offset {
                    decoder.seek(SeekFrom::Start(offset))?;
                }
                while filled < buffer.len() {
                    match decoder.read(&mut buffer[filled..])? {
                        0 => break,
                        read => filled += read,
                    }
                }
            }
        }
        Ok(filled)
    }
}

fn damaged(error: zeekstd::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}
