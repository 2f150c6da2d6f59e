//! Tests the private PostgreSQL: its guarantees for data and access. [`crashes`] has the ways in which a service or a
//! server can be killed, [`refusals`] the errors when it can't start.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests; a failure here is the test's failure"
)]

mod crashes;
mod harness;
mod refusals;

use std::os::unix::fs::{MetadataExt, chown};

use daybook::postgres::PrivatePostgres;
use nix::unistd::geteuid;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection};

use self::harness::{Folder, NOBODY, Service, is_alive, note, notes, owner_of_process, show};

#[tokio::test]
async fn acknowledged_data_is_on_disk() {
    let folder = Folder::new();
    let postgres = PrivatePostgres::start(folder.path()).await.unwrap();
    let mut connection = postgres.owner_options().connect().await.unwrap();
    assert_eq!(show(&mut connection, "fsync").await, "on");
    assert_eq!(show(&mut connection, "full_page_writes").await, "on");
    assert_eq!(show(&mut connection, "synchronous_commit").await, "on");
    assert_eq!(show(&mut connection, "data_checksums").await, "on");
    assert_eq!(show(&mut connection, "server_encoding").await, "UTF8");
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn the_only_access_is_a_socket_in_a_private_folder() {
    let folder = Folder::new();
    let postgres = PrivatePostgres::start(folder.path()).await.unwrap();
    let mut connection = postgres.owner_options().connect().await.unwrap();
    assert_eq!(show(&mut connection, "listen_addresses").await, "");
    assert_eq!(show(&mut connection, "unix_socket_permissions").await, "0700");

    let server_uid = owner_of_process(postgres.pid());
    assert_ne!(server_uid, 0, "PostgreSQL never runs as root");
    for closed in [
        postgres.socket_dir().to_owned(),
        postgres.home().to_owned(),
        postgres.home().join("cluster"),
    ] {
        let meta = closed.metadata().unwrap();
        assert_eq!(
            (meta.mode() & 0o777, meta.uid()),
            (0o700, server_uid),
            "{}",
            closed.display()
        );
    }
    assert!(
        postgres.socket_dir().as_os_str().len() <= 80,
        "a socket's path must fit sockaddr_un"
    );
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn the_owner_owns_the_database_and_is_no_superuser() {
    let folder = Folder::new();
    let postgres = PrivatePostgres::start(folder.path()).await.unwrap();
    // The URL has the same meaning as the options, for sqlx and for psql.
    let by_url: PgConnectOptions = postgres.url().parse().unwrap();
    let mut connection = by_url.connect().await.unwrap();
    let (user, database): (String, String) = sqlx::query_as("SELECT current_user::text, current_database()::text")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!((user.as_str(), database.as_str()), ("daybook_owner", "daybook"));

    let (is_super, bypasses, makes_roles, makes_databases): (bool, bool, bool, bool) = sqlx::query_as(
        "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = current_user",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert!(!is_super && !bypasses && !makes_roles && !makes_databases);

    let owns: bool = sqlx::query_scalar(
        "SELECT (SELECT datdba = current_user::regrole FROM pg_database WHERE datname = 'daybook')
            AND (SELECT nspowner = current_user::regrole FROM pg_namespace WHERE nspname = 'public')",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert!(owns);
    postgres.stop().await.unwrap();
}

/// Before PostgreSQL 16 a role with CREATEROLE could grant itself `pg_execute_server_program`.
#[tokio::test]
async fn the_owner_of_a_cluster_of_an_older_program_loses_what_it_no_longer_needs() {
    let folder = Folder::new();
    let postgres = PrivatePostgres::start(folder.path()).await.unwrap();
    let mut superuser = postgres.superuser_options().connect().await.unwrap();
    // As an older program left it.
    sqlx::raw_sql("ALTER ROLE daybook_owner CREATEROLE; GRANT TEMPORARY ON DATABASE daybook TO PUBLIC")
        .execute(&mut superuser)
        .await
        .unwrap();
    superuser.close().await.unwrap();
    postgres.stop().await.unwrap();

    let postgres = PrivatePostgres::start(folder.path()).await.unwrap();
    let mut owner = postgres.owner_options().connect().await.unwrap();
    for refused in [
        "CREATE ROLE mine",
        "GRANT pg_execute_server_program TO daybook_owner",
        "GRANT pg_read_server_files TO daybook_owner",
    ] {
        let error = sqlx::raw_sql(refused).execute(&mut owner).await.unwrap_err();
        let code = error.as_database_error().unwrap().code();
        assert_eq!(code.as_deref(), Some("42501"), "{refused}");
    }
    let temp: bool = sqlx::query_scalar("SELECT has_database_privilege('public', 'daybook', 'TEMPORARY')")
        .fetch_one(&mut owner)
        .await
        .unwrap();
    assert!(!temp);
    // It can do everything that a service needs, including the first migration.
    daybook::tenancy::Migrations::default()
        .up(&postgres.owner_options())
        .await
        .unwrap();
    daybook::tenancy::Database::connect(daybook::tenancy::DatabaseOptions::new(postgres.owner_options()))
        .await
        .unwrap()
        .close()
        .await;
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn the_next_start_finds_the_data() {
    let folder = Folder::new();
    let postgres = PrivatePostgres::start(folder.path()).await.unwrap();
    let first_pid = postgres.pid();
    note(&postgres, "kept").await;
    postgres.stop().await.unwrap();
    assert!(!is_alive(first_pid), "stop waits for the end");

    let postgres = PrivatePostgres::start(folder.path()).await.unwrap();
    assert_ne!(postgres.pid(), first_pid);
    assert_eq!(notes(&postgres).await, ["kept"]);
    postgres.stop().await.unwrap();
}

/// If the tests run as an ordinary user, all other tests have shown this already.
#[tokio::test]
async fn an_ordinary_user_keeps_the_cluster_in_the_data_folder() {
    if !geteuid().is_root() {
        daybook_tests::skip("the other tests of this module run as an ordinary user already");
        return;
    }
    let folder = Folder::new();
    chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let service = Service::start(folder.path(), Some(NOBODY));
    assert!(folder.path().join("postgres/cluster/PG_VERSION").exists());
    assert_eq!(owner_of_process(service.postgres_pid), NOBODY);
    let options: PgConnectOptions = service.url.parse().unwrap();
    let mut connection = options.connect().await.unwrap();
    assert_eq!(show(&mut connection, "fsync").await, "on");
    sqlx::query("CREATE TABLE notes (note text)")
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    service.stop();

    // Root may serve the folder once, as that user, and leaves no file that the user can't access.
    let postgres = PrivatePostgres::start(folder.path()).await.unwrap();
    assert_eq!(owner_of_process(postgres.pid()), NOBODY);
    assert!(notes(&postgres).await.is_empty());
    postgres.stop().await.unwrap();
    Service::start(folder.path(), Some(NOBODY)).stop();
}
