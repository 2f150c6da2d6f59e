//! Tests services and servers that were killed, and how the next start handles what they left.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::process::Command;

use daybook::postgres::PrivatePostgres;
use daybook_tests::eventually;
use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use sqlx::ConnectOptions;

use super::harness::{Folder, Service, is_alive, note, notes, send};

#[tokio::test]
async fn a_server_whose_service_was_killed_is_adopted() {
    let folder = Folder::new();
    let mut service = Service::start(folder.path(), None);
    service.process.kill().unwrap();
    service.process.wait().unwrap();

    let postgres = PrivatePostgres::start(folder.path()).await.unwrap();
    assert_eq!(postgres.pid(), service.postgres_pid, "the same server");
    note(&postgres, "after").await;
    postgres.stop().await.unwrap();
    assert!(
        !is_alive(service.postgres_pid),
        "an adopted server is stopped like one that this service started"
    );

    let postgres = PrivatePostgres::start(folder.path()).await.unwrap();
    assert_eq!(notes(&postgres).await, ["after"]);
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_killed_server_is_started_again_with_its_data() {
    let folder = Folder::new();
    let postgres = PrivatePostgres::start(folder.path()).await.unwrap();
    let killed = postgres.pid();
    note(&postgres, "acknowledged").await;
    send(killed, Signal::SIGKILL);
    drop(postgres);
    assert!(
        folder.cluster().join("postmaster.pid").exists(),
        "the file is stale: nothing has removed it"
    );

    let postgres = PrivatePostgres::start(folder.path()).await.unwrap();
    assert_ne!(postgres.pid(), killed);
    assert_eq!(notes(&postgres).await, ["acknowledged"]);
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn the_number_in_a_stale_pid_file_may_be_another_program() {
    let folder = Folder::new();
    let postgres = PrivatePostgres::start(folder.path()).await.unwrap();
    let socket_dir = postgres.socket_dir().to_owned();
    let pid_file = folder.cluster().join("postmaster.pid");
    let text = fs::read_to_string(&pid_file).unwrap();
    let owner = folder.cluster().metadata().unwrap();
    postgres.stop().await.unwrap();

    // As after a reboot. The program runs as the server's user; otherwise PostgreSQL would detect the stale file
    // itself.
    let mut command = Command::new("sleep");
    command.arg("600").current_dir("/");
    if geteuid().is_root() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    let mut other = command.spawn().unwrap();
    let stale = text.replacen(text.lines().next().unwrap(), &other.id().to_string(), 1);
    fs::create_dir_all(&socket_dir).unwrap();
    let socket_lock = socket_dir.join(".s.PGSQL.5432.lock");
    for path in [&pid_file, &socket_lock] {
        fs::write(path, &stale).unwrap();
        chown(path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }

    let started = PrivatePostgres::start(folder.path()).await;
    let survived = other.try_wait().unwrap().is_none();
    other.kill().unwrap();
    other.wait().unwrap();
    started.unwrap().stop().await.unwrap();
    assert!(survived, "the other program still runs");
}

#[tokio::test]
async fn children_that_outlive_their_server_are_waited_for() {
    let folder = Folder::new();
    let postgres = PrivatePostgres::start(folder.path()).await.unwrap();
    let mut connection = postgres.superuser_options().connect().await.unwrap();
    let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    // While it computes, it doesn't check whether its postmaster is alive.
    let busy = tokio::spawn(async move {
        let counting: Result<i64, _> = sqlx::query_scalar("SELECT count(*) FROM generate_series(1, 100000000000)")
            .fetch_one(&mut connection)
            .await;
        counting
    });
    let mut watch = postgres.superuser_options().connect().await.unwrap();
    eventually("the backend computes", async || {
        let state: Option<String> = sqlx::query_scalar("SELECT state FROM pg_stat_activity WHERE pid = $1")
            .bind(backend)
            .fetch_one(&mut watch)
            .await
            .unwrap();
        state.as_deref() == Some("active")
    })
    .await;
    send(postgres.pid(), Signal::SIGKILL);
    drop(postgres);

    let data_dir = folder.path().to_owned();
    let starting = tokio::spawn(async move { PrivatePostgres::start(&data_dir).await });
    let log = folder.home().join("postgres.log");
    eventually("PostgreSQL refuses to run beside the backend", async || {
        fs::read_to_string(&log)
            .unwrap()
            .contains("pre-existing shared memory block")
    })
    .await;
    send(u32::try_from(backend).unwrap(), Signal::SIGKILL);
    starting.await.unwrap().unwrap().stop().await.unwrap();
    assert!(busy.await.unwrap().is_err());
}

#[tokio::test]
async fn an_incomplete_cluster_is_not_used() {
    let folder = Folder::new();
    let postgres = PrivatePostgres::start(folder.path()).await.unwrap();
    postgres.stop().await.unwrap();
    let unfinished = folder.home().join("cluster.new-1");
    fs::rename(folder.cluster(), &unfinished).unwrap();
    fs::remove_file(unfinished.join("global/pg_control")).unwrap();

    let postgres = PrivatePostgres::start(folder.path()).await.unwrap();
    assert!(!unfinished.exists());
    postgres.stop().await.unwrap();
}
