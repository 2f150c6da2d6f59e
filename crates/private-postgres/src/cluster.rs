//! Creates the cluster with initdb, and ensures its roles and its database at each start.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use nix::fcntl::OFlag;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor as _};

use super::error::StartError;
use super::last_lines;
use super::layout::Layout;
use super::machine_time;
use super::programs::Programs;
use super::settings::{Name, Settings};

/// Settings that are appended to the postgresql.conf of initdb. They are defaults: the operator may edit the file or
/// use `ALTER SYSTEM`. The settings that the crate relies on are given on the command line instead.
const FIRST_SETTINGS: &str = "
# The first values; change them as you like.
max_connections = 200
shared_buffers = 128MB
timezone = 'UTC'
log_timezone = 'UTC'
";

/// Returns the major version that made the cluster, or `None` if there is no cluster.
pub(super) fn major_version(cluster: &Path) -> Option<u16> {
    fs::read_to_string(cluster.join("PG_VERSION")).ok()?.trim().parse().ok()
}

/// Creates the cluster under another name and renames it when it is completely on disk. So a cluster that a crash or a
/// full disk left incomplete is never used.
pub(super) async fn create(layout: &Layout, programs: &Programs) -> Result<(), StartError> {
    remove_unfinished(&layout.home);
    // A new name each time: an initdb whose service was killed may still be writing into the last folder.
    let nanos = machine_time::time_of_day()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos();
    let unfinished = layout.home.join(format!("cluster.new-{nanos}"));
    tracing::info!(cluster = %layout.cluster.display(), major = programs.major, "creating a PostgreSQL cluster");

    let output = layout
        .account
        .command(&programs.initdb, &layout.name)
        .arg("--pgdata")
        .arg(&unfinished)
        // Byte order is the same on each machine and with each version of the C library, so that an upgrade of the
        // operating system never leaves an index out of order.
        .args([
            "--username=postgres",
            "--encoding=UTF8",
            "--locale=C",
            "--data-checksums",
        ])
        // The socket is the only access, in a folder that only the server's user (and root) can enter. Such a user
        // can read the files anyway, so a password would protect nothing.
        .args(["--auth-local=trust", "--auth-host=reject"])
        .process_group(0)
        .output()
        .await
        .map_err(StartError::file("run", &programs.initdb))?;
    if !output.status.success() {
        remove_unfinished(&layout.home);
        return Err(StartError::Initdb {
            output: last_lines(&output.stderr),
        });
    }
    finish(layout, &unfinished).map_err(StartError::file("finish", &unfinished))
}

fn finish(layout: &Layout, unfinished: &Path) -> std::io::Result<()> {
    let mut conf = OpenOptions::new()
        .append(true)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(unfinished.join("postgresql.conf"))?;
    conf.write_all(FIRST_SETTINGS.as_bytes())?;
    conf.sync_all()?;
    fs::rename(unfinished, &layout.cluster)?;
    File::open(&layout.home)?.sync_all()
}

/// Removes unfinished clusters, as far as possible. One that can't be removed only uses disk space.
fn remove_unfinished(home: &Path) {
    let entries = fs::read_dir(home).into_iter().flatten().flatten();
    let unfinished = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("cluster.new-"));
    for folder in unfinished.map(|entry| entry.path()).collect::<Vec<PathBuf>>() {
        if let Err(error) = fs::remove_dir_all(&folder) {
            tracing::warn!(folder = %folder.display(), %error, "could not remove an unfinished cluster");
        }
    }
}

/// Creates the owner role and the database, or corrects them, and runs the program's set-up.
///
/// The owner runs migrations. It is not a superuser and can't bypass row-level security, so that a mistake can't leave
/// the database. It may not create roles either: before PostgreSQL 16 that right allows a role to grant itself
/// `pg_execute_server_program`, which runs programs on this machine.
pub(super) async fn prepare(superuser: &PgConnectOptions, name: &Name, settings: &Settings) -> Result<(), StartError> {
    let failed = |action| move |source| StartError::Database { action, source };
    make_owner_and_database(superuser, name)
        .await
        .map_err(failed("create its owner role and database"))?;
    set_up(superuser, name, settings)
        .await
        .map_err(failed("run the program's set-up"))
}

async fn make_owner_and_database(superuser: &PgConnectOptions, name: &Name) -> Result<(), sqlx::Error> {
    let (owner, database) = (name.owner(), name.database());
    let mut connection = superuser.connect().await?;
    let has_role: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)")
        .bind(&owner)
        .fetch_one(&mut connection)
        .await?;
    if !has_role {
        let create = format!("CREATE ROLE \"{owner}\"");
        connection.execute(AssertSqlSafe(create)).await?;
    }
    let correct = format!("ALTER ROLE \"{owner}\" LOGIN NOCREATEROLE NOSUPERUSER NOCREATEDB NOREPLICATION NOBYPASSRLS");
    connection.execute(AssertSqlSafe(correct)).await?;
    let has_database: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
        .bind(database)
        .fetch_one(&mut connection)
        .await?;
    if !has_database {
        let create = format!("CREATE DATABASE \"{database}\" OWNER \"{owner}\" TEMPLATE template0");
        connection.execute(AssertSqlSafe(create)).await?;
    }
    let correct = format!(
        "ALTER DATABASE \"{database}\" OWNER TO \"{owner}\";
         REVOKE TEMPORARY ON DATABASE \"{database}\" FROM PUBLIC"
    );
    connection.execute(AssertSqlSafe(correct)).await?;
    connection.close().await
}

/// Lets the owner create tables, and runs the statements of [`Settings::set_up`].
async fn set_up(superuser: &PgConnectOptions, name: &Name, settings: &Settings) -> Result<(), sqlx::Error> {
    let mut connection = superuser.clone().database(name.database()).connect().await?;
    let own_schema = format!("ALTER SCHEMA public OWNER TO \"{}\"", name.owner());
    connection.execute(AssertSqlSafe(own_schema)).await?;
    for sql in &settings.set_up {
        connection.execute(AssertSqlSafe(sql.as_str())).await?;
    }
    connection.close().await
}
