//! Finds PostgreSQL's programs on the machine, or downloads them.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::StartError;
use super::layout::Layout;

/// The oldest major version that is used.
pub(super) const MIN_MAJOR: u16 = 15;
/// The major version that is downloaded if the machine has none and no cluster needs another one.
const FETCHED_MAJOR: u16 = 17;
/// The URL from which `postgresql_embedded` downloads, with its feature `theseus`.
const RELEASES_URL: &str = "https://github.com/theseus-rs/postgresql-binaries";
/// How long the download may take. The archive is about 10 to 40 MB.
const FETCH_TIMEOUT: Duration = Duration::from_secs(300);

/// The folders in which PostgreSQL's programs are searched.
#[derive(Debug, Clone)]
pub struct SearchPath {
    folders: Vec<PathBuf>,
    fetch: bool,
}

impl SearchPath {
    /// Returns the search path for a program. If the environment variable `variable` is set, it has only that folder:
    /// an operator who names a folder wants that one, or an error. Otherwise it has `PATH`, `pg_config --bindir`, the
    /// usual folders of Debian, Homebrew and Red Hat (the highest version first), and finally a download.
    pub fn from_env(variable: &str) -> Self {
        if let Some(folder) = env::var_os(variable).filter(|value| !value.is_empty()) {
            return Self::only(folder);
        }
        let mut folders: Vec<PathBuf> = env::var_os("PATH").iter().flat_map(env::split_paths).collect();
        folders.extend(pg_config_bindir());
        for (parent, prefix, bin) in [
            ("/usr/lib/postgresql", "", "bin"),
            ("/opt/homebrew/opt", "postgresql", "bin"),
            ("/usr/local/opt", "postgresql", "bin"),
            ("/usr", "pgsql-", "bin"),
        ] {
            folders.extend(
                versions_in(Path::new(parent), prefix)
                    .into_iter()
                    .map(|folder| folder.join(bin)),
            );
        }
        Self {
            folders,
            fetch: cfg!(feature = "download"),
        }
    }

    /// Removes the download from the search path.
    #[must_use]
    pub fn without_download(mut self) -> Self {
        self.fetch = false;
        self
    }

    /// Returns a search path with only this folder.
    pub fn only(folder: impl Into<PathBuf>) -> Self {
        Self {
            folders: vec![folder.into()],
            fetch: false,
        }
    }
}

/// The programs of one version.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    pub postgres: PathBuf,
    pub initdb: PathBuf,
    pub major: u16,
}

impl Programs {
    /// Returns the first programs on the search path that the layout's account can run. If a cluster exists, they must
    /// be of its version `major`, because a cluster never changes its major version. Otherwise they must be
    /// [`MIN_MAJOR`] or newer.
    pub async fn find(search: &SearchPath, layout: &Layout, major: Option<u16>) -> Result<Self, StartError> {
        let mut searched = Vec::new();
        for folder in &search.folders {
            match Self::look_in(folder, layout).await {
                Ok(Some(found)) if found.serves(major) => return Ok(found),
                Ok(Some(other)) => searched.push(format!("{}: version {}", folder.display(), other.major)),
                // Most folders in PATH have nothing to do with PostgreSQL. They are left out of the message.
                Ok(None) if search.fetch => {}
                Ok(None) => searched.push(format!("{}: has no `postgres`", folder.display())),
                Err(reason) => searched.push(format!("{}: {reason}", folder.display())),
            }
        }
        if search.fetch {
            searched
                .push("PATH, pg_config, and the usual folders of Debian, Homebrew and Red Hat: nothing else".into());
            match fetch(&layout.programs, major.unwrap_or(FETCHED_MAJOR)).await {
                Ok(folder) => match Self::look_in(&folder, layout).await {
                    Ok(Some(found)) => return Ok(found),
                    Ok(None) => searched.push(format!("{}: downloaded, but has no `postgres`", folder.display())),
                    Err(reason) => searched.push(format!("{}: downloaded, but {reason}", folder.display())),
                },
                Err(reason) => searched.push(format!("download from {RELEASES_URL}: {reason}")),
            }
        }
        let wanted = match major {
            Some(major) => format!("{major} (the version that made this cluster)"),
            None => format!("{MIN_MAJOR} or newer"),
        };
        Err(StartError::NoPrograms {
            program: layout.name.to_string(),
            wanted,
            searched: format!("  {}", searched.join("\n  ")),
        })
    }

    fn serves(&self, major: Option<u16>) -> bool {
        major.map_or(self.major >= MIN_MAJOR, |major| self.major == major)
    }

    /// Returns the programs in `folder`; `None` if it has no `postgres`; a reason if they can't be used.
    async fn look_in(folder: &Path, layout: &Layout) -> Result<Option<Self>, String> {
        // Folders in PATH may contain links; initdb is in the folder that they point to.
        let Ok(postgres) = folder.join("postgres").canonicalize() else {
            return Ok(None);
        };
        let initdb = postgres.with_file_name("initdb");
        if !initdb.is_file() {
            return Err(format!("no `initdb` beside {}", postgres.display()));
        }
        // Run by the user that will run the server: other users may not be able to enter a home folder.
        let output = layout
            .account
            .command(&postgres, &layout.name)
            .arg("--version")
            .output()
            .await
            .map_err(|error| format!("could not run `postgres --version`: {error}"))?;
        let output = String::from_utf8_lossy(&output.stdout);
        let major = major_of(&output).ok_or_else(|| format!("`postgres --version` printed {:?}", output.trim()))?;
        Ok(Some(Self {
            postgres,
            initdb,
            major,
        }))
    }
}

/// Parses the major version: `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)` is 15; so are `15beta1` and
/// `15devel`.
fn major_of(version: &str) -> Option<u16> {
    let number = version.split("(PostgreSQL) ").nth(1)?;
    let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    number[..end].parse().ok()
}

fn pg_config_bindir() -> Option<PathBuf> {
    let output = std::process::Command::new("pg_config").arg("--bindir").output().ok()?;
    let folder = String::from_utf8(output.stdout).ok()?;
    Some(PathBuf::from(folder.trim())).filter(|folder| folder.is_absolute())
}

/// Returns the folders in `parent` whose names are `prefix` and a version, the highest version first.
fn versions_in(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut found: Vec<(u16, PathBuf)> = std::fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version = name.strip_prefix(prefix)?.trim_start_matches('@');
            // Homebrew's `postgresql` without a version is a link to one of the others, so it comes last.
            let major = if version.is_empty() {
                0
            } else {
                version.split('.').next()?.parse().ok()?
            };
            Some((major, entry.path()))
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, folder)| folder).collect()
}

/// Downloads the programs of `major` into `install_dir`, unless they are there, and returns their folder.
///
/// The crate is only used to download and unpack: its own `start` turns fsync off and considers any `postmaster.pid` a
/// running server. `setup` also runs initdb unless the data folder has a `postgresql.conf`, so it gets a folder with an
/// empty one.
#[cfg(feature = "download")]
async fn fetch(install_dir: &Path, major: u16) -> Result<PathBuf, String> {
    use postgresql_embedded::{PostgreSQL, Settings, VersionReq};

    let no_cluster = install_dir.join("no-cluster");
    let io = |error: std::io::Error| format!("{}: {error}", install_dir.display());
    std::fs::create_dir_all(&no_cluster).map_err(io)?;
    std::fs::File::create(no_cluster.join("postgresql.conf")).map_err(io)?;
    let settings = Settings {
        releases_url: RELEASES_URL.to_owned(),
        version: VersionReq::parse(&format!("={major}")).map_err(|error| error.to_string())?,
        installation_dir: install_dir.to_owned(),
        password_file: no_cluster.join("unused"),
        data_dir: no_cluster,
        host: String::new(),
        port: 0,
        username: String::new(),
        password: String::new(),
        temporary: false,
        timeout: Some(FETCH_TIMEOUT),
        configuration: std::collections::HashMap::new(),
        trust_installation_dir: false,
        socket_dir: None,
    };
    tracing::info!(major, into = %install_dir.display(), "no PostgreSQL on this machine: downloading its programs");
    let mut installation = PostgreSQL::new(settings);
    tokio::time::timeout(FETCH_TIMEOUT, installation.setup())
        .await
        .map_err(|_| format!("not finished within {} s", FETCH_TIMEOUT.as_secs()))?
        .map_err(|error| error.to_string())?;
    let folder = installation.settings().installation_dir.clone();
    // It was unpacked into a folder that only its owner can enter, but the server may run as another user.
    for folder in [install_dir, &folder] {
        std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755)).map_err(io)?;
    }
    Ok(folder.join("bin"))
}

#[cfg(not(feature = "download"))]
async fn fetch(_: &Path, _: u16) -> Result<PathBuf, String> {
    Err("the feature `download` is off".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_major_version() {
        assert_eq!(
            major_of("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n"),
            Some(15)
        );
        assert_eq!(major_of("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(major_of("postgres (PostgreSQL) 9.6.24\n"), Some(9));
        assert_eq!(major_of("postgres: not found"), None);
    }

    #[test]
    fn the_highest_version_comes_first() -> std::io::Result<()> {
        let parent = env::temp_dir().join(format!("private-postgres-versions-{}", std::process::id()));
        for name in [
            "postgresql",
            "postgresql@9.6",
            "postgresql@15",
            "postgresql@17",
            "postgresql-client",
            "redis",
        ] {
            std::fs::create_dir_all(parent.join(name))?;
        }
        let found = versions_in(&parent, "postgresql");
        std::fs::remove_dir_all(&parent)?;
        let expected = ["postgresql@17", "postgresql@15", "postgresql@9.6", "postgresql"];
        assert_eq!(found, expected.map(|name| parent.join(name)));
        Ok(())
    }
}
