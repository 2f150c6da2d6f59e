//! The PostgreSQL server for all tests of a process.

use std::collections::HashMap;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, Row};
use tokio::sync::{Mutex, OnceCell};

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::postgres::PrivatePostgres;
use crate::tenancy::Migrations;

const URL_VARIABLE: &str = "DAYBOOK_TEST_DATABASE_URL";
/// The age, in seconds, from which the databases of another run count as left behind.
const LEFT_BEHIND_AFTER_S: i64 = 6 * 3_600;

/// A script that stops the server and removes its files when its stdin is closed, which happens whenever this process
/// ends. It reads `postmaster.pid` only then, because the server may have stopped before.
const WATCHER: &str = r#"
    read -r _
    home=$1; data_dir=$2; socket_dir=$3
    pid_file=$home/cluster/postmaster.pid
    if [ -e "$pid_file" ]; then kill -QUIT "$(head -n 1 "$pid_file")"; fi
    tries=0
    while [ -e "$pid_file" ] && [ "$tries" -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
    rm -rf "$home" "$data_dir" "$socket_dir"
"#;

static SERVER: OnceCell<TestServer> = OnceCell::const_new();
static NEXT_NAME: AtomicU32 = AtomicU32::new(1);

/// The server, and the template databases on it.
pub(super) struct TestServer {
    /// Options to connect as the owner, to the database from which others are created and dropped.
    pub owner: PgConnectOptions,
    /// Options to connect as the superuser. Only a private server has one.
    pub superuser: Option<PgConnectOptions>,
    /// The templates' names by their migrations. Locked while a database is created, because a template in use can't be
    /// copied.
    templates: Mutex<HashMap<String, String>>,
    _private: Option<(PrivatePostgres, Child)>,
}

impl TestServer {
    /// Returns the process's server. The first call starts it.
    pub async fn get() -> Result<&'static Self> {
        SERVER
            .get_or_try_init(|| async {
                match std::env::var(URL_VARIABLE) {
                    Ok(url) if !url.is_empty() => Self::configured(&url).await,
                    _ => Self::private().await,
                }
            })
            .await
    }

    async fn configured(url: &str) -> Result<Self> {
        let owner: PgConnectOptions = url.parse()?;
        let owner = owner.disable_statement_logging();
        let mut connection = owner.connect().await?;
        let row = connection
            .fetch_one(
                "SELECT rolsuper, rolcreatedb AND rolcreaterole AS may FROM pg_roles WHERE rolname = current_user",
            )
            .await?;
        if row.try_get("rolsuper")? {
            return Err(Error::internal(format!(
                "the login of {URL_VARIABLE} is a superuser, to whom policies don't apply, so the tests would prove \
                 nothing; CREATE ROLE daybook_owner LOGIN CREATEDB CREATEROLE and use that role"
            )));
        }
        if !row.try_get::<bool, _>("may")? {
            return Err(Error::internal(format!(
                "the login of {URL_VARIABLE} must create roles and databases for the tests: grant it CREATEDB and \
                 CREATEROLE"
            )));
        }
        drop_left_behind(&mut connection).await?;
        connection.close().await?;
        Ok(Self {
            owner,
            superuser: None,
            templates: Mutex::default(),
            _private: None,
        })
    }

    async fn private() -> Result<Self> {
        let data_dir = std::env::temp_dir().join(format!("{}-cluster", new_name()));
        let postgres = PrivatePostgres::start(&data_dir).await.map_err(Error::internal)?;
        let watcher = start_watcher(&postgres, data_dir).map_err(Error::internal)?;
        let superuser = postgres.superuser_options().disable_statement_logging();
        let mut connection = superuser.connect().await?;
        // The data is needed only while the process runs, so no commit waits for the disk.
        for sql in [
            "ALTER ROLE daybook_owner CREATEDB",
            "ALTER SYSTEM SET synchronous_commit = off",
            "ALTER SYSTEM SET autovacuum = off",
            "ALTER SYSTEM SET checkpoint_timeout = '1h'",
            "ALTER SYSTEM SET max_wal_size = '4GB'",
            "SELECT pg_reload_conf()",
        ] {
            connection.execute(sql).await?;
        }
        connection.close().await?;
        Ok(Self {
            owner: postgres.owner_options().disable_statement_logging(),
            superuser: Some(superuser),
            templates: Mutex::default(),
            _private: Some((postgres, watcher)),
        })
    }

    /// Creates a database to which `migrations` are applied, and returns its name.
    pub async fn create_database(&self, migrations: &Migrations) -> Result<String> {
        let mut templates = self.templates.lock().await;
        let mut owner = self.owner.connect().await?;
        // The debug format of a set contains the types of its migrators.
        let key = format!("{migrations:?}");
        let template = match templates.get(&key) {
            Some(template) => template,
            None => {
                let template = new_name();
                create(&mut owner, &template, "template0").await?;
                migrations.up(&self.owner.clone().database(&template)).await?;
                // A template with a connection can't be copied.
                let close = format!("ALTER DATABASE {template} ALLOW_CONNECTIONS false");
                owner.execute(AssertSqlSafe(close)).await?;
                templates.entry(key).or_insert(template)
            }
        };
        let name = new_name();
        create(&mut owner, &name, template).await?;
        owner.close().await?;
        Ok(name)
    }

    /// Drops a database. On a private server this is done in the background and may be cut off by the end of the
    /// process, because the server's files are removed in any case.
    pub fn drop_database(&self, name: String) {
        let owner = self.owner.clone();
        let dropping = std::thread::spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
                return;
            };
            // An error is ignored, because a later run drops a database that stays, or the server is removed with it.
            let _ = runtime.block_on(async {
                let mut connection = owner.connect().await?;
                drop_now(&mut connection, &name).await?;
                connection.close().await
            });
        });
        if self.superuser.is_none() {
            let _ = dropping.join();
        }
    }
}

/// Returns a new name, which contains the time and the process: `daybook_test_<unix seconds>_<pid>_<n>`.
fn new_name() -> String {
    let n = NEXT_NAME.fetch_add(1, Ordering::Relaxed);
    format!("daybook_test_{}_{}_{n}", unix_s(), std::process::id())
}

fn unix_s() -> i64 {
    Clock::system().now().timestamp()
}

async fn create(owner: &mut PgConnection, name: &str, template: &str) -> Result<()> {
    owner
        .execute(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE {template}")))
        .await?;
    // A copy has the default privileges of a new database, and not those of its template.
    owner
        .execute(AssertSqlSafe(format!(
            "REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC"
        )))
        .await?;
    Ok(())
}

async fn drop_now(owner: &mut PgConnection, name: &str) -> Result<(), sqlx::Error> {
    owner
        .execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")))
        .await?;
    Ok(())
}

async fn drop_left_behind(owner: &mut PgConnection) -> Result<()> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT datname::text FROM pg_database
         WHERE datname ~ '^daybook_test_[0-9]+_[0-9]+_[0-9]+$' AND split_part(datname, '_', 3)::bigint < $1
           AND pg_has_role(datdba, 'USAGE')",
    )
    .bind(unix_s().saturating_sub(LEFT_BEHIND_AFTER_S))
    .fetch_all(&mut *owner)
    .await?;
    for name in names {
        // An error is ignored, because another run may drop the same database.
        let _ = drop_now(owner, &name).await;
    }
    Ok(())
}

fn start_watcher(postgres: &PrivatePostgres, data_dir: PathBuf) -> std::io::Result<Child> {
    Command::new("sh")
        .args(["-c", WATCHER, "daybook-test-watcher"])
        .arg(postgres.home())
        .arg(data_dir)
        .arg(postgres.socket_dir())
        .stdin(Stdio::piped())
        // The watcher must not inherit stdout, because a reader of the tests' output waits until every process has
        // closed it.
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // In its own process group, so that Ctrl-C does not stop it: it must clean up afterwards.
        .process_group(0)
        .spawn()
}
