//! Where a private database lies: its files, its socket, its log, and who owns them.
//!
//! | | as an ordinary user | as root |
//! |---|---|---|
//! | runs as | the same user | the cluster's owner; for a fresh one `postgres`, else `nobody` |
//! | home | `<data folder>/postgres` | `/var/lib/daybook/<hash of the data folder's path>` |
//! | fetched programs | `<home>/programs` | `/var/lib/daybook/programs` |
//!
//! As root the home is outside the data folder, since others can't enter folders below root's own. The
//! text file `postgres.location` in the data folder says where it is.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown, lchown};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use sha2::{Digest, Sha256};

use super::account::Account;
use super::error::StartError;

/// Where clusters of services that run as root are kept.
const ROOT_HOMES: &str = "/var/lib/daybook";
/// A socket's path must fit `sockaddr_un`: 104 bytes on macOS, 108 on Linux, `/.s.PGSQL.5432` included.
const SOCKET_FOLDER_MAX: usize = 80;
/// A longer log is emptied at the next start.
const LOG_MAX_BYTES: u64 = 10 * 1024 * 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Place {
    pub account: Account,
    /// Holds the cluster and the log; 0700, the account's.
    pub home: PathBuf,
    /// PostgreSQL's data directory.
    pub cluster: PathBuf,
    /// Holds the socket; 0700, the account's. See [`Place::make_socket_folder`].
    pub socket_dir: PathBuf,
    /// Where fetched programs are kept.
    pub programs: PathBuf,
}

impl Place {
    /// Decides where the database of `data_dir` (canonical) lies and makes the folders around it.
    pub fn settle(data_dir: &Path) -> Result<Self, StartError> {
        let hash: String = Sha256::digest(data_dir.as_os_str().as_bytes())
            .iter()
            .take(6)
            .map(|b| format!("{b:02x}"))
            .collect();
        let beside = data_dir.join("postgres");
        // A user's cluster stays where it is when root serves the folder once.
        let of_a_user = Account::owner_of(&beside.join("cluster")).is_some_and(|owner| owner.uid != 0);
        let (home, programs) = if geteuid().is_root() && !of_a_user {
            (
                Path::new(ROOT_HOMES).join(&hash),
                Path::new(ROOT_HOMES).join("programs"),
            )
        } else {
            (beside.clone(), beside.join("programs"))
        };
        let cluster = home.join("cluster");
        let account = Account::for_cluster(&cluster)?;

        let note = data_dir.join("postgres.location");
        let there = fs::read_to_string(&note).ok().map(|text| PathBuf::from(text.trim()));
        let is_new = there.is_none();
        if let Some(there) = there.filter(|there| *there != home && there.exists()) {
            return Err(StartError::Elsewhere {
                note,
                there,
                here: home,
            });
        }
        if home != beside {
            if is_new && cluster.exists() {
                tracing::warn!(home = %home.display(), "the data folder is new, its database is not; remove this folder to begin anew");
            }
            make_folder(Path::new(ROOT_HOMES), 0o755).map_err(StartError::file("create", ROOT_HOMES))?;
            open_own(&note, OpenOptions::new().write(true).truncate(true), data_dir)
                .and_then(|mut file| writeln!(file, "{}", home.display()))
                .map_err(StartError::file("write", &note))?;
        }
        make_folder(&home, 0o700).map_err(StartError::file("create", &home))?;
        if account.is_another() {
            lchown(&home, Some(account.uid), Some(account.gid)).map_err(StartError::file("hand over", &home))?;
        }
        let socket_dir = socket_path(account, &hash);
        Ok(Self {
            account,
            cluster,
            home,
            socket_dir,
            programs,
        })
    }

    /// Makes the folder for the socket, or takes it again, and sees to it that the account alone (and root) can
    /// enter it.
    pub fn make_socket_folder(&self) -> Result<(), StartError> {
        let folder = &self.socket_dir;
        let refuse = |reason: String| {
            Err(StartError::SocketFolder {
                folder: folder.clone(),
                reason,
            })
        };
        if folder.to_str().is_none_or(|text| text.contains(['\'', '"', ','])) {
            return refuse("PostgreSQL's settings can't name it".to_owned());
        }
        match DirBuilder::new().mode(0o700).create(folder) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(StartError::file("create", folder)(error)),
        }
        // Anybody may have made this name in a temporary folder before us, as a link or as a folder of theirs.
        // Once it is seen to be ours, the temporary folder's sticky bit keeps others from replacing it.
        let meta = folder.symlink_metadata().map_err(StartError::file("look at", folder))?;
        if !meta.is_dir() {
            return refuse("it is not a folder".to_owned());
        }
        if meta.uid() != self.account.uid && meta.uid() != geteuid().as_raw() {
            return refuse(format!("it belongs to the user with id {}", meta.uid()));
        }
        if self.account.is_another() {
            lchown(folder, Some(self.account.uid), Some(self.account.gid))
                .map_err(StartError::file("hand over", folder))?;
        }
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(StartError::file("close", folder))
    }

    /// The server's log.
    pub fn log_path(&self) -> PathBuf {
        self.home.join("postgres.log")
    }

    /// The log, opened for appending, and how long it is in bytes.
    pub fn open_log(&self) -> std::io::Result<(File, u64)> {
        let log = open_own(&self.log_path(), OpenOptions::new().append(true), &self.home)?;
        if log.metadata()?.len() > LOG_MAX_BYTES {
            log.set_len(0)?;
        }
        let length = log.metadata()?.len();
        Ok((log, length))
    }
}

/// The lock on a data folder. The kernel releases it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct FolderLock(File);

impl Drop for FolderLock {
    fn drop(&mut self) {
        // Closing the file is not enough: a program that another thread is starting has it open until its exec.
        let _ = self.0.unlock();
    }
}

/// Holds the data folder for one service.
pub(super) fn lock(data_dir: &Path) -> Result<FolderLock, StartError> {
    let path = data_dir.join("postgres.lock");
    let mut file = open_own(
        &path,
        OpenOptions::new().read(true).write(true).truncate(false),
        data_dir,
    )
    .map_err(StartError::file("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // Empty for the moment between the other's lock and its writing; only the message suffers.
            let _ = file.read_to_string(&mut pid);
            let pid = Some(pid.trim()).filter(|pid| !pid.is_empty()).unwrap_or("unknown");
            return Err(StartError::InUse {
                holder: format!("pid {pid}"),
                data_dir: data_dir.to_owned(),
            });
        }
        Err(TryLockError::Error(error)) => return Err(StartError::file("lock", &path)(error)),
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(StartError::file("write", &path))?;
    Ok(FolderLock(file))
}

/// Opens or makes a file of the service's own, for its user alone.
///
/// Root may be serving another user's folder. So a link is refused: that user must not choose which file root
/// writes to. And the file becomes the folder's owner's, who may be the one to serve it next time.
fn open_own(path: &Path, options: &mut OpenOptions, folder: &Path) -> std::io::Result<File> {
    let file = options
        .create(true)
        .mode(0o600)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(path)?;
    if let Some(owner) = Account::owner_of(folder).filter(|owner| owner.is_another()) {
        fchown(&file, Some(owner.uid), Some(owner.gid))?;
    }
    Ok(file)
}

fn make_folder(path: &Path, mode: u32) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(mode).create(path)
}

/// A short path in a temporary folder.
fn socket_path(account: Account, hash: &str) -> PathBuf {
    let name = format!("daybook-{}-{hash}", account.uid);
    // Root's TMPDIR may be closed to the account.
    let temp = if account.is_another() {
        PathBuf::from("/tmp")
    } else {
        std::env::temp_dir()
    };
    Some(temp.join(&name))
        .filter(|folder| folder.is_absolute() && folder.as_os_str().len() <= SOCKET_FOLDER_MAX)
        .unwrap_or_else(|| Path::new("/tmp").join(&name))
}
