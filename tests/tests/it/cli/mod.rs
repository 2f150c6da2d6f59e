//! The `daybook` command as people run it: in an empty folder, with nothing set up.

pub mod harness;
mod refusals;
mod stopping;
mod tail;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use self::harness::{Folder, Service, exported, is_postgres};

#[test]
fn dev_needs_nothing_and_other_commands_work_while_it_runs() {
    let folder = Folder::new();
    let mut service = Service::start(&folder, "dev");
    assert_eq!(
        service.request("GET", "/healthz", "", None),
        (200, json!({"status": "ok"}))
    );
    assert_eq!(
        service.request("GET", "/readyz", "", None),
        (200, json!({"status": "ok"}))
    );

    // The files for a shell work, and only their owner can read them.
    for file in ["dev.env", "token", "jwt.secret", "database.url"] {
        let mode = fs::metadata(folder.file(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    assert_eq!(exported(&folder, "DAYBOOK_URL"), format!("http://{}", service.address));
    let team = exported(&folder, "DAYBOOK_TEAM");
    let threads = format!("/v1/teams/{team}/threads");
    for person in ["ADA", "GRACE", "LINUS"] {
        let (status, page) = service.request("GET", &threads, &exported(&folder, person), None);
        assert_eq!((status, page["items"].as_array().unwrap().len()), (200, 3), "{person}");
    }
    printed_commands_use_exported_names(&folder, &service.printed);
    let new = json!({"name": "By hand", "budget": "1"});
    let campaigns = format!("/v1/teams/{team}/campaigns");
    let (status, made) = service.request("POST", &campaigns, &exported(&folder, "LINUS"), Some(new));
    assert_eq!(status, 201);

    activity_is_printed_and_filtered(&folder, made["id"].as_str().unwrap());
    consumers_are_listed_and_replayed(&folder, &service);
    people_and_teams_are_listed_and_added(&folder, &service);
    let status = folder.lines(&["migrate", "status"]);
    assert!(
        status.len() > 4 && status.iter().all(|line| line.starts_with("applied ")),
        "{status:?}"
    );

    let postgres = folder.postgres_pid().unwrap();
    assert!(is_postgres(postgres));
    let server_uid = fs::metadata(format!("/proc/{postgres}")).unwrap().uid();
    assert_ne!(server_uid, 0, "also for root, PostgreSQL runs as another user");
    assert!(service.end(Signal::SIGTERM).success());
    assert!(!is_postgres(postgres), "its PostgreSQL ends with it");
    let stdout_text = fs::read_to_string(&service.stdout).unwrap();
    stdout_has_wide_events_and_nothing_else(&stdout_text, made["id"].as_str().unwrap());
    assert!(!folder.file("database.url").exists());
}

/// A shell replaces an unknown name by nothing, and then runs another command than the printed one.
fn printed_commands_use_exported_names(folder: &Folder, printed: &str) {
    let names: Vec<_> = printed
        .split('$')
        .skip(1)
        .map(|after| {
            let end = after.find(|c: char| !c.is_ascii_uppercase() && c != '_');
            &after[..end.unwrap_or(after.len())]
        })
        .filter(|name| !name.is_empty())
        .collect();
    assert!(names.contains(&"ADA"), "{printed}");
    for name in names {
        exported(folder, name);
    }
}

fn stdout_has_wide_events_and_nothing_else(stdout_text: &str, by_hand: &str) {
    let events: Vec<Value> = stdout_text
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    assert!(
        events
            .iter()
            .all(|event| (event["kind"] == "request" || event["kind"] == "job") && event["schema_errors"].is_null()),
        "{stdout_text}"
    );
    let made: Vec<_> = events.iter().filter(|event| event["status_code"] == 201).collect();
    let [made] = made.as_slice() else {
        panic!("not one event for the campaign {by_hand}: {stdout_text}");
    };
    assert_eq!(made["route"], "/v1/teams/{team_id}/campaigns");
    assert_eq!(
        (&made["actor"]["kind"], &made["events"]["count"]),
        (&json!("user"), &json!(1))
    );
    assert_eq!(made["ip"], "127.0.0.***");
}

fn activity_is_printed_and_filtered(folder: &Folder, by_hand: &str) {
    let all = folder.lines(&["activity"]);
    assert!(all[0].ends_with("daybook team create added member “@ada”"), "{all:?}");
    assert!(
        all.iter()
            .any(|line| line.ends_with("Ada Lovelace created campaign “Spring launch”")),
        "{all:?}"
    );
    assert!(
        all.last()
            .unwrap()
            .ends_with("Linus Pauling created campaign “By hand”"),
        "{all:?}"
    );
    assert_eq!(folder.lines(&["activity", "--limit", "2"]), all[all.len() - 2..]);

    let object = format!("campaign/{by_hand}");
    let one = folder.lines(&[
        "activity", "--json", "--object", &object, "--actor", "@Linus", "--since", "1h",
    ]);
    assert_eq!(one.len(), 1);
    let event: Value = serde_json::from_str(&one[0]).unwrap();
    assert_eq!(
        (&event["event_type"], &event["object_id"]),
        (&json!("CREATED"), &json!(by_hand))
    );
    let by_grace = folder.lines(&["activity", "--actor", "grace"]);
    assert!(
        !by_grace.is_empty() && by_grace.iter().all(|line| line.contains("Grace Hopper ")),
        "{by_grace:?}"
    );
    let nobody = "01930000-0000-7000-8000-000000000000";
    for nothing in [["--object", "invoice"], ["--since", "2099-01-01"], ["--actor", nobody]] {
        assert!(
            folder.lines(&[&["activity"][..], &nothing].concat()).is_empty(),
            "{nothing:?}"
        );
    }
    assert!(folder.refusal(&["activity", "--since", "yesterday"]).contains("7d"));
    for wrong in ["nobody", "aaaa--------------------------------"] {
        let message = folder.refusal(&["activity", "--actor", wrong]);
        for words in ["--actor", wrong, "handle", "UUID"] {
            assert!(message.contains(words), "{words} is not in: {message}");
        }
    }
    assert!(folder.refusal(&["activity", "--team", "Nobody's"]).contains("Acme"));
}

fn consumers_are_listed_and_replayed(folder: &Folder, service: &Service) {
    let listed = folder.lines(&["consumers", "list"]);
    assert!(
        listed
            .iter()
            .any(|line| line.starts_with("analytics ") && line.contains(" durable ")),
        "{listed:?}"
    );
    // Its progress is printed below it.
    let at = listed.iter().position(|line| line.starts_with("analytics ")).unwrap();
    assert!(
        listed[at + 1].contains("up to date") || listed[at + 1].contains(" events behind"),
        "{listed:?}"
    );
    let began = std::time::Instant::now();
    while !folder
        .lines(&["consumers", "lag"])
        .iter()
        .any(|line| line.starts_with("analytics ") && line.ends_with("up to date"))
    {
        assert!(
            began.elapsed() < daybook_tests::WAIT_LIMIT,
            "{:?}",
            folder.lines(&["consumers", "lag"])
        );
    }
    let events = folder.lines(&["activity", "--json"]);
    let would = folder.lines(&["consumers", "replay", "analytics", "--since", "1d", "--dry-run"]);
    assert_eq!(
        would,
        [format!("{} events would be delivered to analytics", events.len())]
    );
    let will = folder.lines(&["consumers", "replay", "analytics", "--since", "1d"]);
    assert_eq!(
        will,
        [format!(
            "{} events will be delivered to analytics, jobs: 1",
            events.len()
        )]
    );
    let unknown = folder.refusal(&["consumers", "replay", "crm", "--since", "1d"]);
    assert!(unknown.contains("crm") && unknown.contains("analytics"), "{unknown}");
    let within = folder.refusal(&["consumers", "replay", "daybook.post_to_thread", "--since", "1d"]);
    assert!(within.contains("is not durable"), "{within}");
    assert_eq!(
        folder.lines(&["analytics", "rebuild"]),
        [format!("counted {} events", events.len())]
    );

    let event: Value = serde_json::from_str(events.last().unwrap()).unwrap();
    let id = event["correlation_id"].as_str().unwrap();
    let mut command = folder.command(&["story", id]);
    command.env("DAYBOOK_URL", format!("http://{}", service.address));
    let output = command.output().unwrap();
    let stdout_text = String::from_utf8(output.stdout).unwrap();
    assert!(
        stdout_text
            .lines()
            .next()
            .unwrap()
            .ends_with("Linus Pauling created campaign “By hand”"),
        "{stdout_text} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        stdout_text.contains("└─ ") && stdout_text.contains("Started giving an event to analytics (succeeded)"),
        "{stdout_text}"
    );
}

fn people_and_teams_are_listed_and_added(folder: &Folder, service: &Service) {
    let token = folder.lines(&["token", "ada", "--hours", "1"]);
    let (status, me) = service.request("GET", "/v1/me", &token[0], None);
    assert_eq!((status, &me["teams"][0]["name"]), (200, &json!("Acme")));
    assert!(
        folder
            .lines(&["team", "list"])
            .iter()
            .any(|line| line.ends_with("  Acme"))
    );
    let people = folder.lines(&["user", "list"]);
    assert_eq!(people.len(), 3);
    assert!(people[0].ends_with("  @ada  owner  Ada Lovelace"), "{people:?}");

    let mia = folder.lines(&["user", "add", "--subject", "mia", "--name", "Mia", "--role", "viewer"]);
    assert!(
        folder
            .lines(&["user", "list"])
            .contains(&format!("{}  @mia  viewer  Mia", mia[0]))
    );
    let again = folder.refusal(&["user", "add", "--subject", "mia", "--name", "Mia"]);
    assert!(again.contains("member already"), "{again}");
    let nobody = folder.refusal(&["user", "erase", "--subject", "nobody"]);
    assert!(nobody.contains("no person has the subject"), "{nobody}");
    let king = folder.refusal(&["user", "add", "--subject", "k", "--name", "K", "--role", "king"]);
    assert!(king.contains("viewer") && king.contains("owner"), "{king}");

    let beta = folder.lines(&["team", "create", "Beta", "--subject", "bob", "--name", "Bob"]);
    assert!(folder.lines(&["team", "list"]).contains(&format!("{}  Beta", beta[0])));
    let which = folder.refusal(&["user", "list"]);
    assert!(which.contains("--team") && which.contains("Beta"), "{which}");
    assert_eq!(folder.lines(&["user", "list", "--team", "Beta"]).len(), 1);
    for (subcommand, lines) in [(&["user", "list"][..], 1), (&["activity"][..], 0)] {
        let output = folder.command(subcommand).env("DAYBOOK_TEAM", "Beta").output().unwrap();
        assert!(output.status.success(), "{subcommand:?}");
        let message = String::from_utf8(output.stdout).unwrap();
        assert_eq!(
            message
                .lines()
                .filter(|line| line.contains("@ada") || line.contains("campaign"))
                .count(),
            0
        );
        assert!(message.lines().count() >= lines, "{message}");
    }
    // From here on, commands must name the team; the other checks ran before.
}

#[test]
fn acknowledged_data_survives_a_kill() {
    let folder = Folder::new();
    let mut service = Service::start(&folder, "dev");
    let team = exported(&folder, "DAYBOOK_TEAM");
    let ada = exported(&folder, "ADA");
    let campaigns = format!("/v1/teams/{team}/campaigns");
    let new = json!({"name": "Kept", "budget": "1"});
    let (status, made) = service.request("POST", &campaigns, &ada, Some(new));
    assert_eq!(status, 201);
    service.end(Signal::SIGKILL);

    let again = Service::start(&folder, "serve");
    let path = format!("{campaigns}/{}", made["id"].as_str().unwrap());
    // The token from before the kill works, too.
    assert_eq!(again.request("GET", &path, &ada, None), (200, made));
    let lines = folder.lines(&["activity", "--limit", "1"]);
    assert!(lines[0].ends_with("Ada Lovelace created campaign “Kept”"), "{lines:?}");
    assert_eq!(
        folder
            .lines(&["team", "list"])
            .iter()
            .filter(|line| line.ends_with("  Acme"))
            .count(),
        1
    );
}

#[test]
fn migrations_are_listed_applied_and_reverted_with_nothing_running() {
    let folder = Folder::new();
    let pending = folder.lines(&["migrate", "status"]);
    assert!(
        pending.len() > 4 && pending.iter().all(|line| line.starts_with("pending ")),
        "{pending:?}"
    );
    assert_eq!(
        folder.postgres_pid(),
        None,
        "what was started for the moment is stopped"
    );
    let applied = folder.lines(&["migrate"]);
    assert_eq!(applied.len(), pending.len());
    assert_eq!(folder.lines(&["migrate", "up"]), ["nothing to do"]);
    let back = folder.lines(&["migrate", "down", "--steps", "2"]);
    assert_eq!(back.len(), 2);
    assert!(back.iter().all(|line| line.starts_with("reverted ")), "{back:?}");

    // A service that may not migrate reports that it isn't ready, and the pending migrations.
    let mut command = folder.command(&["serve"]);
    command.env("DAYBOOK_MIGRATE", "off");
    let service = Service::start_command(&folder, command);
    let (status, ready) = service.request("GET", "/readyz", "", None);
    assert_eq!(
        (status, ready["pending_migrations"].as_array().unwrap().len()),
        (503, 2)
    );
    assert_eq!(service.request("GET", "/healthz", "", None).0, 200);
}

#[test]
fn bad_settings_are_all_named_before_anything_is_created() {
    let folder = Folder::new();
    let mut command = folder.command(&["serve"]);
    let output = command
        .env("DAYBOOK_BIND", "nowhere")
        .env("DAYBOOK_POOL_SIZE", "many")
        .env("DAYBOOK_JWT_SECRET", "short-secret")
        .output()
        .unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
    let message = String::from_utf8(output.stderr).unwrap();
    for words in [
        "DAYBOOK_BIND",
        "nowhere",
        "127.0.0.1:8080",
        "DAYBOOK_POOL_SIZE",
        "many",
        "DAYBOOK_JWT_SECRET",
    ] {
        assert!(message.contains(words), "{words} is not in: {message}");
    }
    assert!(!message.contains("short-secret"), "{message}");
    assert!(!folder.file("").exists(), "nothing was made");

    let unknown = folder.refusal(&["serv"]);
    assert!(unknown.contains("serve"), "{unknown}");
}

#[test]
fn a_used_port_and_an_unavailable_database_are_named() {
    let folder = Folder::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = folder.command(&["serve"]);
    let output = command.env("DAYBOOK_BIND", &address).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(
        message.contains("DAYBOOK_BIND") && message.contains(&address),
        "{message}"
    );
    assert_eq!(folder.postgres_pid(), None);

    let mut command = folder.command(&["team", "list"]);
    let away = "postgres://daybook:hunter2@127.0.0.1:1/daybook";
    let output = command.env("DATABASE_URL", away).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(!message.contains("hunter2"), "{message}");
}

#[test]
fn a_misspelt_setting_is_a_warning() {
    let folder = Folder::new();
    let mut command = folder.command(&["token", "ada"]);
    let secret = "a-secret-of-at-least-thirty-two-bytes";
    let output = command
        .env("DAYBOOK_BNID", "127.0.0.1:1")
        .env("DAYBOOK_JWT_SECRET", secret)
        .output()
        .unwrap();
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8(output.stdout).unwrap().lines().count(),
        1,
        "a token and nothing else"
    );
    assert!(String::from_utf8(output.stderr).unwrap().contains("DAYBOOK_BNID"));
}
