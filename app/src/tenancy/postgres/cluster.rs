//! Creates the cluster with initdb, and ensures its roles and its database at each start.

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
use super::layout::Layout;
use super::programs::Programs;
use super::{DATABASE, last_lines};

/// Settings that are appended to the postgresql.conf of initdb. They are defaults: the operator may edit the file or
/// use `ALTER SYSTEM`. The settings that the service relies on are given on the command line instead.
const FIRST_SETTINGS: &str = "
# Daybook's first values; change them as you like.
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
    let nanos = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos();
    let unfinished = layout.home.join(format!("cluster.new-{nanos}"));
    tracing::info!(cluster = %layout.cluster.display(), major = programs.major, "creating a PostgreSQL cluster");

    let output = layout
        .account
        .command(&programs.initdb)
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

/// Creates the owner role, the run-time roles and the database, or corrects them, for example in a cluster of an older
/// version of this program.
///
/// The owner runs migrations. It is not a superuser and can't bypass row-level security, so that a mistake can't leave
/// the database. It may not create roles either: before PostgreSQL 16 that right allows a role to grant itself
/// `pg_execute_server_program`, which runs programs on this machine.
pub(super) async fn ensure_owner(superuser: &PgConnectOptions) -> Result<(), StartError> {
    make_role_and_database(superuser)
        .await
        .map_err(|source| StartError::Database {
            action: "create its owner role and database",
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

/// Creates the roles that the first migration would create if its login had the right.
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
