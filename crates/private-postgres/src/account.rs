//! Chooses the user that runs the server. PostgreSQL refuses root, so a service that runs as root uses another user.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{User, getegid, geteuid};
use tokio::process::Command;

use super::error::StartError;
use super::settings::Name;

/// The operating system's user that runs the server and owns its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account {
    pub uid: u32,
    pub gid: u32,
}

impl Account {
    /// Returns the user that runs the server. This is the process's own user. If that is root, it is the owner of
    /// `cluster` if the cluster exists, else `postgres`, else `nobody`. So a cluster keeps its owner when, for example,
    /// a user `postgres` is added later.
    pub fn for_cluster(cluster: &Path, name: &Name) -> Result<Self, StartError> {
        let own = Self {
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
        };
        if own.uid != 0 {
            return Ok(own);
        }
        if let Some(owner) = Self::owner_of(cluster).filter(|owner| owner.uid != 0) {
            return Ok(owner);
        }
        ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| User::from_name(name).ok().flatten())
            .map(|user| Self {
                uid: user.uid.as_raw(),
                gid: user.gid.as_raw(),
            })
            .ok_or_else(|| StartError::NoAccount {
                program: name.to_string(),
            })
    }

    /// Returns the owner of `path`. Links are not followed.
    pub fn owner_of(path: &Path) -> Option<Self> {
        let meta = path.symlink_metadata().ok()?;
        Some(Self {
            uid: meta.uid(),
            gid: meta.gid(),
        })
    }

    /// Returns whether the server runs as another user than the service.
    pub fn is_other_user(self) -> bool {
        self.uid != geteuid().as_raw()
    }

    /// Returns a command that runs as this user, in a folder it can enter. Variables that would change PostgreSQL's
    /// behaviour (`PGDATA`, `PGPORT`, …) or the language of its messages are removed. So are the program's own settings
    /// with their secrets: a superuser can read the server's environment.
    ///
    /// When root changes to another user, `uid` makes the standard library drop root's other groups, too.
    pub fn command(self, program: &Path, name: &Name) -> Command {
        let own_settings = name.variable("");
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("PG") || text.starts_with(&own_settings) || text == "DATABASE_URL" {
                command.env_remove(&name);
            }
        }
        command
            .env("LC_ALL", "C")
            .current_dir("/")
            .stdin(std::process::Stdio::null());
        if self.is_other_user() {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }
}
