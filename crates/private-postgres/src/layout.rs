//! Decides where a private database keeps its files, its socket and its log, and who owns them.
//!
//! | | as an ordinary user | as root |
//! |---|---|---|
//! | runs as | the same user | the cluster's owner; for a fresh one `postgres`, else `nobody` |
//! | home | `<data folder>/postgres` | `/var/lib/<name>/<hash of the data folder's path>` |
//! | fetched programs | `<home>/programs` | `/var/lib/<name>/programs` |
//!
//! As root the home is outside the data folder, because other users can't enter folders below root's own. The text file
//! `postgres.location` in the data folder contains its path.

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
use super::settings::Name;

/// The folder with the folders of programs that run as root.
const ROOT_HOMES_DIR: &str = "/var/lib";
/// A socket's path must fit `sockaddr_un`: 104 bytes on macOS, 108 on Linux, `/.s.PGSQL.5432` included.
const MAX_SOCKET_DIR_BYTES: usize = 80;
/// The size above which the log is emptied at the next start.
const MAX_LOG_BYTES: u64 = 10 * 1024 * 1024;

/// The paths of a private database and the user that owns them. The module comment has a table of them.
#[derive(Debug)]
pub(super) struct Layout {
    pub name: Name,
    pub account: Account,
    /// The folder with the cluster and the log: mode 0700, owned by the account.
    pub home: PathBuf,
    /// PostgreSQL's data directory.
    pub cluster: PathBuf,
    /// The folder with the socket: mode 0700, owned by the account. See [`Layout::make_socket_folder`].
    pub socket_dir: PathBuf,
    /// The folder for downloaded programs.
    pub programs: PathBuf,
}

impl Layout {
    /// Decides where the database of `data_dir` (a canonical path) is kept, and creates the folders around it.
    pub fn prepare(data_dir: &Path, name: &Name) -> Result<Self, StartError> {
        let hash: String = Sha256::digest(data_dir.as_os_str().as_bytes())
            .iter()
            .take(6)
            .map(|b| format!("{b:02x}"))
            .collect();
        let root_homes = Path::new(ROOT_HOMES_DIR).join(name.as_str());
        let default_home = data_dir.join("postgres");
        // If root serves the folder of another user once, the cluster stays where it is.
        let belongs_to_user = Account::owner_of(&default_home.join("cluster")).is_some_and(|owner| owner.uid != 0);
        let (home, programs) = if geteuid().is_root() && !belongs_to_user {
            (root_homes.join(&hash), root_homes.join("programs"))
        } else {
            (default_home.clone(), default_home.join("programs"))
        };
        let cluster = home.join("cluster");
        let account = Account::for_cluster(&cluster, name)?;

        let location_file = data_dir.join("postgres.location");
        let recorded = fs::read_to_string(&location_file)
            .ok()
            .map(|text| PathBuf::from(text.trim()));
        let is_new = recorded.is_none();
        if let Some(recorded) = recorded.filter(|recorded| *recorded != home && recorded.exists()) {
            return Err(StartError::Elsewhere {
                program: name.to_string(),
                location_file,
                recorded,
                expected: home,
            });
        }
        if home != default_home {
            if is_new && cluster.exists() {
                tracing::warn!(
                    home = %home.display(),
                    "the data folder is new, but its database exists already; remove this folder to start with an \
                     empty database"
                );
            }
            make_folder(&root_homes, 0o755).map_err(StartError::file("create", &root_homes))?;
            open_private_file(&location_file, OpenOptions::new().write(true).truncate(true), data_dir)
                .and_then(|mut file| writeln!(file, "{}", home.display()))
                .map_err(StartError::file("write", &location_file))?;
        }
        make_folder(&home, 0o700).map_err(StartError::file("create", &home))?;
        if account.is_other_user() {
            lchown(&home, Some(account.uid), Some(account.gid)).map_err(StartError::file("hand over", &home))?;
        }
        let socket_dir = socket_path(account, name, &hash);
        Ok(Self {
            name: name.clone(),
            account,
            cluster,
            home,
            socket_dir,
            programs,
        })
    }

    /// Creates the folder for the socket, or reuses it, and makes sure that only the account (and root) can enter it.
    pub fn make_socket_folder(&self) -> Result<(), StartError> {
        let folder = &self.socket_dir;
        let refuse = |reason: String| {
            Err(StartError::SocketFolder {
                folder: folder.clone(),
                reason,
            })
        };
        if folder.to_str().is_none_or(|text| text.contains(['\'', '"', ','])) {
            return refuse("PostgreSQL's settings can't contain its path".to_owned());
        }
        match DirBuilder::new().mode(0o700).create(folder) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(StartError::file("create", folder)(error)),
        }
        // In a temporary folder another user may have created this name before, as a link or as a folder. Once the
        // check has shown that it is ours, the temporary folder's sticky bit keeps other users from replacing it.
        let meta = folder.symlink_metadata().map_err(StartError::file("inspect", folder))?;
        if !meta.is_dir() {
            return refuse("it is not a folder".to_owned());
        }
        if meta.uid() != self.account.uid && meta.uid() != geteuid().as_raw() {
            return refuse(format!("it belongs to the user with id {}", meta.uid()));
        }
        if self.account.is_other_user() {
            lchown(folder, Some(self.account.uid), Some(self.account.gid))
                .map_err(StartError::file("hand over", folder))?;
        }
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(StartError::file("close", folder))
    }

    /// Returns the path of the server's log.
    pub fn log_path(&self) -> PathBuf {
        self.home.join("postgres.log")
    }

    /// Opens the log for appending. Returns it with its length in bytes.
    pub fn open_log(&self) -> std::io::Result<(File, u64)> {
        let log = open_private_file(&self.log_path(), OpenOptions::new().append(true), &self.home)?;
        if log.metadata()?.len() > MAX_LOG_BYTES {
            log.set_len(0)?;
        }
        let length = log.metadata()?.len();
        Ok((log, length))
    }
}

/// The lock on a data folder. The kernel releases it when the process ends for any reason.
#[derive(Debug)]
pub(super) struct FolderLock(File);

impl Drop for FolderLock {
    fn drop(&mut self) {
        // Closing the file is not enough: a process that another thread is starting has the file open until its exec.
        let _ = self.0.unlock();
    }
}

/// Locks the data folder for one service.
pub(super) fn lock(data_dir: &Path, name: &Name) -> Result<FolderLock, StartError> {
    let path = data_dir.join("postgres.lock");
    let mut file = open_private_file(
        &path,
        OpenOptions::new().read(true).write(true).truncate(false),
        data_dir,
    )
    .map_err(StartError::file("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // The file is empty between the other process's lock and its write; then the message has no pid.
            let _ = file.read_to_string(&mut pid);
            let pid = Some(pid.trim()).filter(|pid| !pid.is_empty()).unwrap_or("unknown");
            return Err(StartError::InUse {
                program: name.to_string(),
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

/// Opens or creates a file that only the folder's owner can access.
///
/// Root may serve another user's folder. Therefore links are refused: that user must not choose which file root writes
/// to. And the file gets the folder's owner, who may serve the folder the next time.
fn open_private_file(path: &Path, options: &mut OpenOptions, folder: &Path) -> std::io::Result<File> {
    let file = options
        .create(true)
        .mode(0o600)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(path)?;
    if let Some(owner) = Account::owner_of(folder).filter(|owner| owner.is_other_user()) {
        fchown(&file, Some(owner.uid), Some(owner.gid))?;
    }
    Ok(file)
}

fn make_folder(path: &Path, mode: u32) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(mode).create(path)
}

/// Returns a short path in a temporary folder.
fn socket_path(account: Account, name: &Name, hash: &str) -> PathBuf {
    let name = format!("{name}-{}-{hash}", account.uid);
    // The account may not be able to enter root's TMPDIR.
    let temp = if account.is_other_user() {
        PathBuf::from("/tmp")
    } else {
        std::env::temp_dir()
    };
    Some(temp.join(&name))
        .filter(|folder| folder.is_absolute() && folder.as_os_str().len() <= MAX_SOCKET_DIR_BYTES)
        .unwrap_or_else(|| Path::new("/tmp").join(&name))
}
