//! A log as it is read: plain or sealed, at any place.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use zeekstd::Decoder;

use super::layout::{Layout, RunKey};

/// A log as it is read. Places are those of the plain text, also in a sealed one.
pub struct Source {
    inner: Inner,
    length: u64,
}

enum Inner {
    Plain(File),
    Sealed(Box<Decoder<'static, Box<dyn ReadSeek>>>),
}

/// What a sealed log can be read from.
pub trait ReadSeek: Read + Seek + Send {}

impl<T: Read + Seek + Send> ReadSeek for T {}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl Source {
    /// A plain log, as far as it goes now.
    ///
    /// # Errors
    /// What the file system says: `NotFound` for one that is not there, or is sealed.
    pub fn plain(layout: &Layout, run: RunKey) -> io::Result<Self> {
        let file = File::open(layout.plain(run))?;
        let length = file.metadata()?.len();
        Ok(Self {
            inner: Inner::Plain(file),
            length,
        })
    }

    /// A sealed one.
    ///
    /// # Errors
    /// What the file system says, and `InvalidData` for one that is damaged.
    pub fn sealed(from: Box<dyn ReadSeek>) -> io::Result<Self> {
        let decoder = Decoder::new(from).map_err(damaged)?;
        Ok(Self {
            length: decoder.seek_table().size_decomp(),
            inner: Inner::Sealed(Box::new(decoder)),
        })
    }

    /// How long the plain text is, or was when this was opened.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Fills `buffer` from a place on, as far as there is something.
    ///
    /// # Errors
    /// What the file system says, and `InvalidData`.
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
