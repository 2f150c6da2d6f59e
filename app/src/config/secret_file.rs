//! Reads files with a secret: `jwt.secret`, `token`, and the files that settings `…_FILE` name.
//!
//! A file that other users of the machine can read doesn't protect its secret, and an empty secret would admit
//! everybody. Therefore all secret files are read and checked here.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

/// Maximum size of a secret file, in bytes. The longest PEM is a tenth of it.
const MAX_SECRET_FILE_BYTES: u64 = 64 * 1024;
/// The permission bits of the group and of others.
const GROUP_AND_OTHERS: u32 = 0o077;

/// The error for a secret file that can't be used. The message has the file's path and what to do, and nothing of the
/// file's contents.
#[derive(Debug)]
pub(crate) struct SecretFileError {
    path: PathBuf,
    fault: SecretFileFault,
}

#[derive(Debug)]
enum SecretFileFault {
    Missing,
    Unreadable(io::Error),
    NotRegularFile,
    WrongOwner { owner: u32, us: u32 },
    ReadableByOthers { mode: u32 },
    TooLarge,
    NotText,
    Empty,
    TooShort { bytes: usize, min_bytes: usize },
}

impl SecretFileError {
    /// Returns whether the file doesn't exist.
    #[cfg(any(test, feature = "cli"))]
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self.fault, SecretFileFault::Missing)
    }
}

impl std::error::Error for SecretFileError {}

impl fmt::Display for SecretFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.fault {
            SecretFileFault::Missing => write!(f, "the secret file {path} does not exist"),
            SecretFileFault::Unreadable(error) => write!(f, "the secret file {path} can't be read: {error}"),
            SecretFileFault::NotRegularFile => write!(f, "the secret file {path} must be a regular file"),
            SecretFileFault::WrongOwner { owner, us } => write!(
                f,
                "the secret file {path} belongs to user {owner}; it must belong to the service's user or to root: \
                 run `chown {us} {path}`"
            ),
            SecretFileFault::ReadableByOthers { mode } => write!(
                f,
                "the secret file {path} has mode {mode:04o}, so that other users can read or change it: run \
                 `chmod 600 {path}`, and create a new secret if others may have read it"
            ),
            SecretFileFault::TooLarge => {
                write!(f, "the secret file {path} has more than {MAX_SECRET_FILE_BYTES} bytes")
            }
            SecretFileFault::NotText => write!(f, "the secret file {path} must be UTF-8 text"),
            SecretFileFault::Empty => write!(
                f,
                "the secret file {path} is empty: write the secret into it, or delete it"
            ),
            SecretFileFault::TooShort { bytes, min_bytes } => write!(
                f,
                "the secret file {path} has {bytes} bytes, and the secret must have at least {min_bytes}: \
                 `openssl rand -base64 48 > {path}` creates a good one; tokens signed with the old one become invalid"
            ),
        }
    }
}

/// Reads a secret from a regular file that belongs to this process's user or to root, and that gives no permissions to
/// the group and others. Whitespace around the secret is removed.
///
/// # Errors
/// [`SecretFileError`], also if the secret is empty or has fewer than `min_bytes` bytes.
pub(crate) fn read_secret_file(path: &Path, min_bytes: usize) -> Result<String, SecretFileError> {
    read(path, min_bytes).map_err(|fault| SecretFileError {
        path: path.to_owned(),
        fault,
    })
}

fn read(path: &Path, min_bytes: usize) -> Result<String, SecretFileFault> {
    // The open file is checked, and not its path, so that another file can't take its place before it is read. With
    // O_NONBLOCK a pipe doesn't block the start.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits())
        .open(path)
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => SecretFileFault::Missing,
            _ => SecretFileFault::Unreadable(error),
        })?;
    check(&file)?;
    let mut text = String::new();
    file.take(MAX_SECRET_FILE_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => SecretFileFault::NotText,
            _ => SecretFileFault::Unreadable(error),
        })?;
    if text.len() as u64 > MAX_SECRET_FILE_BYTES {
        return Err(SecretFileFault::TooLarge);
    }
    let secret = text.trim();
    match secret.len() {
        0 => Err(SecretFileFault::Empty),
        bytes if bytes < min_bytes => Err(SecretFileFault::TooShort { bytes, min_bytes }),
        _ => Ok(secret.to_owned()),
    }
}

fn check(file: &File) -> Result<(), SecretFileFault> {
    let metadata = file.metadata().map_err(SecretFileFault::Unreadable)?;
    if !metadata.is_file() {
        return Err(SecretFileFault::NotRegularFile);
    }
    let us = geteuid().as_raw();
    if metadata.uid() != us && metadata.uid() != 0 {
        return Err(SecretFileFault::WrongOwner {
            owner: metadata.uid(),
            us,
        });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & GROUP_AND_OTHERS != 0 {
        return Err(SecretFileFault::ReadableByOthers { mode });
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
    fn a_secret_file_must_be_private_and_long_enough() {
        let folder = tempfile::tempdir().unwrap();
        let secret = "0123456789abcdef0123456789abcdef";
        let good = file(&folder, &format!("{secret}\n"), 0o600);
        assert_eq!(read_secret_file(&good, 32).unwrap(), secret);
        assert_eq!(read_secret_file(&file(&folder, secret, 0o400), 32).unwrap(), secret);

        for (path, words) in [
            (file(&folder, "", 0o600), "is empty"),
            (file(&folder, " \n\n", 0o600), "is empty"),
            (file(&folder, "short\n", 0o600), "has 5 bytes"),
            (file(&folder, secret, 0o644), "chmod 600"),
            (file(&folder, secret, 0o620), "chmod 600"),
            (file(&folder, secret, 0o601), "chmod 600"),
            (file(&folder, &"x".repeat(70_000), 0o600), "more than"),
            (folder.path().to_owned(), "regular file"),
            (folder.path().join("nowhere"), "does not exist"),
        ] {
            let error = read_secret_file(&path, 32).unwrap_err();
            let message = error.to_string();
            assert!(
                message.contains(words) && message.contains(path.to_str().unwrap()),
                "{message}"
            );
            assert!(!message.contains(secret) && !message.contains("short"), "{message}");
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
    fn a_secret_file_of_another_user_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(&folder, "0123456789abcdef0123456789abcdef", 0o600);
        // Only root can change the owner of a file.
        if !geteuid().is_root() {
            return;
        }
        std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
        let message = read_secret_file(&path, 32).unwrap_err().to_string();
        assert!(message.contains("65534") && message.contains("chown 0"), "{message}");
    }
}
