//! What is in the cluster: made once by initdb, its role and database looked after at every start.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use daybook_migration::rls::{APP_ROLE, RELAY_ROLE, WORKER_ROLE};
use nix::fcntl::OFlag;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor as _};

use super::error::StartError;
use super::place::Place;
use super::programs::Programs;
use super::{DATABASE, last_lines};

/// Written below what initdb wrote. These are a start, not a law: whoever keeps the data may edit
/// postgresql.conf or use `ALTER SYSTEM`. What the service relies on is given on the command line instead.
const FIRST_SETTINGS: &str = "
# Daybook's first values; change them as you like.
max_connections = 200
shared_buffers = 128MB
timezone = 'UTC'
log_timezone = 'UTC'
";

/// The major version that made the cluster; `None` when there is no cluster.
pub(super) fn major_version(cluster: &Path) -> Option<u16> {
    fs::read_to_string(cluster.join("PG_VERSION")).ok()?.trim().parse().ok()
}

/// Makes the cluster under another name and renames it when all of it is on disk, so that a cluster that
/// was cut short, by a crash or a full disk, is never taken for a whole one.
pub(super) async fn create(place: &Place, programs: &Programs) -> Result<(), StartError> {
    remove_unfinished(&place.home);
    // A name of its own: an initdb whose service was killed may still be writing into the last one.
    let nanos = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos();
    let unfinished = place.home.join(format!("cluster.new-{nanos}"));
    tracing::info!(cluster = %place.cluster.display(), major = programs.major, "making a PostgreSQL cluster");

    let output = place
        .account
        .command(&programs.initdb)
        .arg("--pgdata")
        .arg(&unfinished)
        // Byte order is the same on every machine and under every version of the C library, so no index
        // is ever out of order after an upgrade of the operating system.
        .args([
            "--username=postgres",
            "--encoding=UTF8",
            "--locale=C",
            "--data-checksums",
        ])
        // The socket is the only door, in a folder that the server's user (and root) alone can enter: who
        // gets that far could read the files themselves, so a password would guard nothing.
        .args(["--auth-local=trust", "--auth-host=reject"])
        .process_group(0)
        .output()
        .await
        .map_err(StartError::file("run", &programs.initdb))?;
    if !output.status.success() {
        remove_unfinished(&place.home);
        return Err(StartError::Initdb {
            said: last_lines(&output.stderr),
        });
    }
    finish(place, &unfinished).map_err(StartError::file("finish", &unfinished))
}

fn finish(place: &Place, unfinished: &Path) -> std::io::Result<()> {
    let mut conf = OpenOptions::new()
        .append(true)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(unfinished.join("postgresql.conf"))?;
    conf.write_all(FIRST_SETTINGS.as_bytes())?;
    conf.sync_all()?;
    fs::rename(unfinished, &place.cluster)?;
    File::open(&place.home)?.sync_all()
}

/// Best effort: what can't be removed costs disk space only.
fn remove_unfinished(home: &Path) {
    let entries = fs::read_dir(home).into_iter().flatten().flatten();
    let unfinished = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("cluster.new-"));
    for folder in unfinished.map(|entry| entry.path()).collect::<Vec<PathBuf>>() {
        if let Err(error) = fs::remove_dir_all(&folder) {
            tracing::warn!(folder = %folder.display(), %error, "could not remove an unfinished cluster");
        }
    }
}

/// Makes the owner role, the run-time roles and the database, or puts them right, also in a cluster that an older program
/// made.
///
/// The owner migrates. It is no superuser and bypasses no row security, so that a mistake in its hands stays in the
/// database. It may not make roles either: before PostgreSQL 16 that right includes granting oneself
/// `pg_execute_server_program`, which runs programs on this machine.
pub(super) async fn ensure_owner(superuser: &PgConnectOptions) -> Result<(), StartError> {
    make_role_and_database(superuser)
        .await
        .map_err(|source| StartError::Database {
            doing: "make its owner role and database",
            source,
        })
}

async fn make_role_and_database(superuser: &PgConnectOptions) -> Result<(), sqlx::Error> {
    let mut connection = superuser.connect().await?;
    let has_role: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'daybook_owner')")
        .fetch_one(&mut connection)
        .await?;
    if !has_role {
        sqlx::query("CREATE ROLE daybook_owner")
            .execute(&mut connection)
            .await?;
    }
    connection
        .execute("ALTER ROLE daybook_owner LOGIN NOCREATEROLE NOSUPERUSER NOCREATEDB NOREPLICATION NOBYPASSRLS")
        .await?;
    make_run_time_roles(&mut connection).await?;
    let has_database: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = 'daybook')")
        .fetch_one(&mut connection)
        .await?;
    if !has_database {
        sqlx::query("CREATE DATABASE daybook OWNER daybook_owner TEMPLATE template0")
            .execute(&mut connection)
            .await?;
    }
    connection
        .execute(
            "ALTER DATABASE daybook OWNER TO daybook_owner;
             REVOKE TEMPORARY ON DATABASE daybook FROM PUBLIC",
        )
        .await?;
    connection.close().await?;

    let mut connection = superuser.clone().database(DATABASE).connect().await?;
    sqlx::query("ALTER SCHEMA public OWNER TO daybook_owner")
        .execute(&mut connection)
        .await?;
    connection.close().await
}

/// The roles that the first migration would make, had its login the right to.
async fn make_run_time_roles(superuser: &mut PgConnection) -> Result<(), sqlx::Error> {
    for role in [APP_ROLE, RELAY_ROLE, WORKER_ROLE] {
        let has_role: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)")
            .bind(role)
            .fetch_one(&mut *superuser)
            .await?;
        if !has_role {
            let make = format!("CREATE ROLE {role} NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE");
            superuser.execute(AssertSqlSafe(make)).await?;
        }
    }
    let grant = format!("GRANT {APP_ROLE}, {WORKER_ROLE} TO daybook_owner; GRANT {RELAY_ROLE} TO {WORKER_ROLE}");
    superuser.execute(AssertSqlSafe(grant)).await?;
    Ok(())
}
