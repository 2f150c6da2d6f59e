//! Tests the error messages of commands.

use std::io::Read;
use std::process::Stdio;

use super::harness::{Folder, Service, exported};

#[test]
fn commands_say_that_migrations_are_pending() {
    let folder = Folder::new();
    let message = folder.refusal(&["team", "list"]);
    for words in ["migrations are pending", "daybook migrate", "make db-migrate"] {
        assert!(message.contains(words), "{words} is not in: {message}");
    }
    assert!(!message.contains("internal error"), "{message}");
    folder.lines(&["migrate"]);
    folder.lines(&["team", "list"]);
}

#[test]
fn a_token_is_signed_only_with_an_existing_secret() {
    let folder = Folder::new();
    let message = folder.refusal(&["token", "ada"]);
    for words in ["DAYBOOK_JWT_SECRET", ".daybook/jwt.secret"] {
        assert!(message.contains(words), "{words} is not in: {message}");
    }
    assert!(!message.contains("internal error"), "{message}");
    assert!(!folder.file("").exists(), "nothing was made");
}

#[test]
fn a_log_filter_that_cannot_be_read_is_named() {
    let folder = Folder::new();
    let output = folder
        .command(&["migrate", "status"])
        .env("DAYBOOK_LOG", "daybook=loud")
        .output()
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(
        message.contains("DAYBOOK_LOG") && message.contains("daybook=loud"),
        "{message}"
    );
}

#[test]
fn a_closed_pipe_is_no_error_and_a_sample_team_is_found_by_its_people() {
    let folder = Folder::new();
    let mut service = Service::start(&folder, "dev");
    let team = exported(&folder, "DAYBOOK_TEAM");

    let mut command = folder.command(&["activity"]);
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Closed before a line is written: opening the database takes longer than this.
    drop(process.stdout.take());
    let mut message = String::new();
    process.stderr.take().unwrap().read_to_string(&mut message).unwrap();
    assert!(process.wait().unwrap().success(), "{message}");
    assert!(!message.contains("panicked"), "{message}");

    // Another team whose name sorts first is not the team of the sample people.
    folder.lines(&["team", "create", "Aardvark", "--subject", "bob", "--name", "Bob"]);
    assert!(service.end(nix::sys::signal::Signal::SIGTERM).success());
    let _again = Service::start(&folder, "dev");
    assert_eq!(exported(&folder, "DAYBOOK_TEAM"), team);
}

#[test]
fn a_secret_file_that_others_can_read_or_that_is_invalid_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = Folder::new();
    let file = folder.file("jwt.secret");
    std::fs::create_dir_all(folder.file("")).unwrap();
    let write = |text: &str, mode: u32| {
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let long = "a-secret-of-at-least-thirty-two-bytes";
    for (text, mode, words) in [
        ("", 0o600, "is empty"),
        ("short\n", 0o600, "at least 32"),
        (long, 0o644, "chmod 600"),
    ] {
        write(text, mode);
        for command in [&["token", "ada"][..], &["serve"], &["dev"]] {
            let message = folder.refusal(command);
            assert!(
                message.contains(words) && message.contains("jwt.secret"),
                "{command:?}: {message}"
            );
            assert!(
                !message.contains(long) && !message.contains("internal error"),
                "{message}"
            );
        }
        assert_eq!(folder.postgres_pid(), None, "nothing was started");
    }
    write(long, 0o600);
    assert_eq!(folder.lines(&["token", "ada"]).len(), 1);

    // Files that settings name are checked in the same way, as are the tokens that commands send.
    write(long, 0o644);
    for (setting, named) in [
        ("DAYBOOK_JWT_SECRET_FILE", &file),
        ("DAYBOOK_REDACTION_KEY_FILE", &file),
        ("DATABASE_URL_FILE", &file),
    ] {
        let output = folder.command(&["token", "ada"]).env(setting, named).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{setting}");
        for words in [setting, "chmod 600", "jwt.secret"] {
            assert!(message.contains(words), "{words} is not in: {message}");
        }
    }
    write(long, 0o600);
    std::fs::write(folder.file("token"), "a-token").unwrap();
    std::fs::set_permissions(folder.file("token"), std::fs::Permissions::from_mode(0o640)).unwrap();
    let message = folder.refusal(&["story", "01930000-0000-7000-8000-000000000000"]);
    assert!(message.contains("chmod 600") && message.contains("token"), "{message}");
    // A valid one is accepted.
    let output = folder
        .command(&["token", "ada"])
        .env("DAYBOOK_JWT_SECRET_FILE", &file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let both = folder
        .command(&["token", "ada"])
        .env("DAYBOOK_JWT_SECRET_FILE", &file)
        .env("DAYBOOK_JWT_SECRET", long)
        .output()
        .unwrap();
    assert!(String::from_utf8(both.stderr).unwrap().contains("set only one of them"));
}

#[test]
fn a_service_with_its_own_database_creates_no_secret() {
    for role in [
        &["serve"][..],
        &["serve", "--role", "web"],
        &["serve", "--role", "worker"],
    ] {
        let folder = Folder::new();
        let output = folder
            .command(role)
            .env("DATABASE_URL", "postgres://daybook:hunter2@127.0.0.1:1/daybook")
            .output()
            .unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success());
        for words in [
            "DAYBOOK_JWT_SECRET",
            "DAYBOOK_JWT_SECRET_FILE",
            "DAYBOOK_JWT_PUBLIC_KEY",
            "DATABASE_URL",
        ] {
            assert!(message.contains(words), "{words} is not in: {message}");
        }
        assert!(!message.contains("hunter2"), "{message}");
        assert!(!folder.file("").exists(), "nothing was made");
    }
}
