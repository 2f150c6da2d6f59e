//! What commands say when they can't do what they were asked.

use std::io::Read;
use std::process::Stdio;

use super::harness::{Folder, Service, exported};

#[test]
fn commands_say_that_migrations_are_pending() {
    let folder = Folder::new();
    let said = folder.refusal(&["team", "list"]);
    for words in ["migrations are pending", "daybook migrate", "make db-migrate"] {
        assert!(said.contains(words), "{words} is not in: {said}");
    }
    assert!(!said.contains("internal error"), "{said}");
    folder.lines(&["migrate"]);
    folder.lines(&["team", "list"]);
}

#[test]
fn a_token_is_signed_with_a_secret_that_is_there_or_not_at_all() {
    let folder = Folder::new();
    let said = folder.refusal(&["token", "ada"]);
    for words in ["DAYBOOK_JWT_SECRET", ".daybook/jwt.secret"] {
        assert!(said.contains(words), "{words} is not in: {said}");
    }
    assert!(!said.contains("internal error"), "{said}");
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
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(said.contains("DAYBOOK_LOG") && said.contains("daybook=loud"), "{said}");
}

#[test]
fn a_reader_who_leaves_is_no_error_and_a_sample_team_is_found_by_its_people() {
    let folder = Folder::new();
    let mut service = Service::start(&folder, "dev");
    let team = exported(&folder, "DAYBOOK_TEAM");

    let mut command = folder.command(&["activity"]);
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Closed before a line is written: opening the database takes longer than this.
    drop(process.stdout.take());
    let mut said = String::new();
    process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(process.wait().unwrap().success(), "{said}");
    assert!(!said.contains("panicked"), "{said}");

    // Another team that comes first by name is not the sample people's.
    folder.lines(&["team", "create", "Aardvark", "--subject", "bob", "--name", "Bob"]);
    assert!(service.end(nix::sys::signal::Signal::SIGTERM).success());
    let _again = Service::start(&folder, "dev");
    assert_eq!(exported(&folder, "DAYBOOK_TEAM"), team);
}
