//! Files that hold a secret: `jwt.secret`, `token`, and whatever a setting `…_FILE` names.
//!
//! A file that others on the machine can read keeps no secret, and an empty secret admits everybody: so each is checked before it
//! is believed, in this one place.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

/// The largest secret file, in bytes: the longest PEM is a tenth of it.
const MAX_SECRET_FILE_BYTES: u64 = 64 * 1024;
/// Rights of the group and of others.
const RIGHTS_OF_OTHERS: u32 = 0o077;

/// Why a secret file is not used. It names the file and what to do, and nothing of its contents.
#[derive(Debug)]
pub(crate) struct SecretFileError {
    path: PathBuf,
    problem: Problem,
}

#[derive(Debug)]
enum Problem {
    Missing,
    Unreadable(io::Error),
    NoRegularFile,
    ForeignOwner { owner: u32, us: u32 },
    ReadableByOthers { mode: u32 },
    TooLarge,
    NotText,
    Empty,
    TooShort { bytes: usize, min_bytes: usize },
}

impl SecretFileError {
    /// Whether there is no such file.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self.problem, Problem::Missing)
    }
}

impl std::error::Error for SecretFileError {}

impl fmt::Display for SecretFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.problem {
            Problem::Missing => write!(f, "the secret file {path} is not there"),
            Problem::Unreadable(error) => write!(f, "the secret file {path} can't be read: {error}"),
            Problem::NoRegularFile => write!(f, "the secret file {path} must be a regular file"),
            Problem::ForeignOwner { owner, us } => write!(
                f,
                "the secret file {path} belongs to user {owner}; it must belong to the service's user or to root: \
                 `chown {us} {path}`"
            ),
            Problem::ReadableByOthers { mode } => write!(
                f,
                "the secret file {path} has mode {mode:04o}, so that others can read or change it: `chmod 600 {path}`, \
                 and make a new secret if others may have read it"
            ),
            Problem::TooLarge => write!(f, "the secret file {path} has more than {MAX_SECRET_FILE_BYTES} bytes"),
            Problem::NotText => write!(f, "the secret file {path} must be UTF-8 text"),
            Problem::Empty => write!(
                f,
                "the secret file {path} is empty: write the secret into it, or delete it"
            ),
            Problem::TooShort { bytes, min_bytes } => write!(
                f,
                "the secret file {path} holds {bytes} bytes, and the secret must have at least {min_bytes}: \
                 `openssl rand -base64 48 > {path}` makes a good one; tokens that were signed with the old one end"
            ),
        }
    }
}

/// Reads a secret from a file that is regular, belongs to this process's user or to root, and gives the group and others no
/// right. Whitespace around the secret is not part of it.
///
/// # Errors
/// [`SecretFileError`], also for fewer than `min_bytes` bytes, or none.
pub(crate) fn read_secret_file(path: &Path, min_bytes: usize) -> Result<String, SecretFileError> {
    read(path, min_bytes).map_err(|problem| SecretFileError {
        path: path.to_owned(),
        problem,
    })
}

fn read(path: &Path, min_bytes: usize) -> Result<String, Problem> {
    // What is asked of the open file is true of what is read; and a pipe must not keep the start waiting.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits())
        .open(path)
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Problem::Missing,
            _ => Problem::Unreadable(error),
        })?;
    check(&file)?;
    let mut text = String::new();
    file.take(MAX_SECRET_FILE_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => Problem::NotText,
            _ => Problem::Unreadable(error),
        })?;
    if text.len() as u64 > MAX_SECRET_FILE_BYTES {
        return Err(Problem::TooLarge);
    }
    let secret = text.trim();
    match secret.len() {
        0 => Err(Problem::Empty),
        bytes if bytes < min_bytes => Err(Problem::TooShort { bytes, min_bytes }),
        _ => Ok(secret.to_owned()),
    }
}

fn check(file: &File) -> Result<(), Problem> {
    let metadata = file.metadata().map_err(Problem::Unreadable)?;
    if !metadata.is_file() {
        return Err(Problem::NoRegularFile);
    }
    let us = geteuid().as_raw();
    if metadata.uid() != us && metadata.uid() != 0 {
        return Err(Problem::ForeignOwner {
            owner: metadata.uid(),
            us,
        });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & RIGHTS_OF_OTHERS != 0 {
        return Err(Problem::ReadableByOthers { mode });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn file(folder: &tempfile::TempDir, text: &str, mode: u32) -> PathBuf {
        let path = folder.path().join(uuid::Uuid::now_v7().to_string());
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_secret_file_is_its_owners_alone_and_long_enough() {
        let folder = tempfile::tempdir().unwrap();
        let secret = "0123456789abcdef0123456789abcdef";
        let good = file(&folder, &format!("{secret}\n"), 0o600);
        assert_eq!(read_secret_file(&good, 32).unwrap(), secret);
        assert_eq!(read_secret_file(&file(&folder, secret, 0o400), 32).unwrap(), secret);

        for (path, words) in [
            (file(&folder, "", 0o600), "is empty"),
            (file(&folder, " \n\n", 0o600), "is empty"),
            (file(&folder, "short\n", 0o600), "holds 5 bytes"),
            (file(&folder, secret, 0o644), "chmod 600"),
            (file(&folder, secret, 0o620), "chmod 600"),
            (file(&folder, secret, 0o601), "chmod 600"),
            (file(&folder, &"x".repeat(70_000), 0o600), "more than"),
            (folder.path().to_owned(), "regular file"),
            (folder.path().join("nowhere"), "is not there"),
        ] {
            let error = read_secret_file(&path, 32).unwrap_err();
            let said = error.to_string();
            assert!(said.contains(words) && said.contains(path.to_str().unwrap()), "{said}");
            assert!(!said.contains(secret) && !said.contains("short"), "{said}");
            assert_eq!(error.is_missing(), path.ends_with("nowhere"));
        }
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(
            read_secret_file(&pipe, 0)
                .unwrap_err()
                .to_string()
                .contains("regular file")
        );
    }

    #[test]
    fn a_secret_file_of_somebody_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(&folder, "0123456789abcdef0123456789abcdef", 0o600);
        // Only root can give a file away.
        if !geteuid().is_root() {
            return;
        }
        std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
        let said = read_secret_file(&path, 32).unwrap_err().to_string();
        assert!(said.contains("65534") && said.contains("chown 0"), "{said}");
    }
}
