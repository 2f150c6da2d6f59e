//! Tests starts that must fail: each error says what to do.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{chown, symlink};

use daybook::postgres::{PrivatePostgres, SearchPath, StartError};
use nix::unistd::geteuid;
use tempfile::TempDir;

use super::harness::{Folder, NOBODY, Service, programs_of_version};

#[tokio::test]
async fn a_second_service_is_refused_by_name() {
    let folder = Folder::new();
    let service = Service::start(folder.path(), None);
    let refused = PrivatePostgres::start(folder.path()).await.unwrap_err();
    assert!(matches!(refused, StartError::InUse { .. }), "{refused}");
    let message = refused.to_string();
    for expected in [
        &*format!("pid {}", service.process.id()),
        "DAYBOOK_DATA_DIR",
        "DATABASE_URL",
    ] {
        assert!(message.contains(expected), "{expected} in: {message}");
    }
    service.stop();
}

#[tokio::test]
async fn another_users_folder_is_never_used_for_the_socket() {
    let folder = Folder::new();
    let postgres = PrivatePostgres::start(folder.path()).await.unwrap();
    let socket_dir = postgres.socket_dir().to_owned();
    postgres.stop().await.unwrap();

    let trap = TempDir::new().unwrap();
    symlink(trap.path(), &socket_dir).unwrap();
    let refused = PrivatePostgres::start(folder.path()).await;
    fs::remove_file(&socket_dir).unwrap();
    assert!(matches!(refused, Err(StartError::SocketFolder { .. })), "{refused:?}");

    if geteuid().is_root() {
        fs::create_dir(&socket_dir).unwrap();
        chown(&socket_dir, Some(NOBODY - 1), None).unwrap();
        let refused = PrivatePostgres::start(folder.path()).await;
        fs::remove_dir(&socket_dir).unwrap();
        assert!(matches!(refused, Err(StartError::SocketFolder { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn without_programs_the_error_says_what_to_do() {
    let folder = Folder::new();
    let empty = TempDir::new().unwrap();
    let error = PrivatePostgres::start_with(folder.path(), &SearchPath::only(empty.path()))
        .await
        .unwrap_err();
    assert!(matches!(error, StartError::NoPrograms { .. }), "{error}");
    let message = error.to_string();
    let looked = empty.path().to_str().unwrap();
    for expected in [
        "15 or newer",
        looked,
        "apt-get install postgresql",
        "brew install",
        "DATABASE_URL",
        "DAYBOOK_PG_BIN",
    ] {
        assert!(message.contains(expected), "{expected} in: {message}");
    }
}

#[tokio::test]
async fn programs_that_are_too_old_are_named() {
    let folder = Folder::new();
    let old = programs_of_version("14.9");
    let error = PrivatePostgres::start_with(folder.path(), &SearchPath::only(old.path()))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("version 14"), "{error}");
}

#[tokio::test]
async fn a_cluster_is_run_by_the_version_that_made_it() {
    let folder = Folder::new();
    PrivatePostgres::start(folder.path())
        .await
        .unwrap()
        .stop()
        .await
        .unwrap();
    let made_by = fs::read_to_string(folder.cluster().join("PG_VERSION")).unwrap();
    let newer = programs_of_version("99.1");
    let error = PrivatePostgres::start_with(folder.path(), &SearchPath::only(newer.path()))
        .await
        .unwrap_err();
    for expected in [
        "version 99",
        &format!("{} (the version that made this cluster)", made_by.trim()),
    ] {
        assert!(error.to_string().contains(expected), "{expected} in: {error}");
    }
}

/// As root the cluster is outside the data folder and named after its path. A data folder that was moved must not
/// silently start with an empty database.
#[tokio::test]
async fn a_data_folder_that_was_moved_is_refused_with_its_databases_path() {
    if !geteuid().is_root() {
        daybook_tests::skip("only root keeps the cluster outside the data folder");
        return;
    }
    let folder = Folder::new();
    PrivatePostgres::start(folder.path())
        .await
        .unwrap()
        .stop()
        .await
        .unwrap();
    let moved = Folder::new();
    fs::copy(
        folder.path().join("postgres.location"),
        moved.path().join("postgres.location"),
    )
    .unwrap();
    let error = PrivatePostgres::start(moved.path()).await.unwrap_err();
    assert!(matches!(error, StartError::Elsewhere { .. }), "{error}");
    assert!(error.to_string().contains(folder.home().to_str().unwrap()), "{error}");
}

#[tokio::test]
async fn a_setting_that_postgres_refuses_is_shown() {
    let folder = Folder::new();
    PrivatePostgres::start(folder.path())
        .await
        .unwrap()
        .stop()
        .await
        .unwrap();
    let conf = folder.cluster().join("postgresql.conf");
    fs::OpenOptions::new()
        .append(true)
        .open(&conf)
        .unwrap()
        .write_all(b"shared_buffers = plenty\n")
        .unwrap();
    let error = PrivatePostgres::start(folder.path()).await.unwrap_err();
    assert!(matches!(error, StartError::Ended { .. }), "{error}");
    assert!(error.to_string().contains("shared_buffers"), "{error}");
}
