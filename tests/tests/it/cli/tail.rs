//! Tests `daybook tail`, which prints events as sentences while they happen.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use daybook_tests::WAIT_LIMIT;
use daybook_tests::ports::free_port;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::harness::{Folder, Service, exported};

/// A running `tail`, and its output.
struct Tail {
    process: Child,
    lines: Receiver<String>,
    words: Receiver<String>,
}

fn lines_of(pipe: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (say, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let _ = say.send(line);
        }
    });
    lines
}

impl Tail {
    fn start(mut command: Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Self {
            lines: lines_of(process.stdout.take().unwrap()),
            words: lines_of(process.stderr.take().unwrap()),
            process,
        }
    }

    /// Returns the next line, without its time.
    fn line(&self) -> String {
        let line = self.lines.recv_timeout(WAIT_LIMIT).expect("a line");
        line.split_once("  ")
            .map_or(line.clone(), |(_, words)| words.to_owned())
    }

    fn wait_for_stderr(&self, words: &str) {
        let deadline = Instant::now() + WAIT_LIMIT;
        while let Ok(line) = self
            .words
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            if line.contains(words) {
                return;
            }
        }
        panic!("{words:?} was not printed");
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A sample service that keeps its address after a restart.
struct Sample {
    folder: Folder,
    service: Service,
    team: String,
    ada: String,
}

impl Sample {
    fn start() -> Self {
        let folder = Folder::new();
        let mut command = folder.command(&["dev"]);
        command.env("DAYBOOK_BIND", format!("127.0.0.1:{}", free_port()));
        let service = Service::start_command(&folder, command);
        Self {
            team: exported(&folder, "DAYBOOK_TEAM"),
            ada: exported(&folder, "ADA"),
            folder,
            service,
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.service.address)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.folder.command(&[&["tail"], arguments].concat());
        command.env("DAYBOOK_URL", self.url());
        command
    }

    fn post(&self, path: &str, body: Value) -> Value {
        let path = format!("/v1/teams/{}{path}", self.team);
        let (status, answer) = self.service.request("POST", &path, &self.ada, Some(body));
        assert_eq!(status, 201, "{answer}");
        answer
    }

    fn restart(&mut self) {
        let address = self.service.address.clone();
        self.service.end(Signal::SIGKILL);
        let mut command = self.folder.command(&["serve"]);
        command.env("DAYBOOK_BIND", address);
        self.service = Service::start_command(&self.folder, command);
    }
}

#[test]
fn tail_prints_each_event_also_across_a_crash_of_the_service() {
    let mut sample = Sample::start();
    let tail = Tail::start(sample.command(&[]));
    let mut everything = Tail::start(sample.command(&["--json", "--team", &sample.team]));
    // `tail` shows events from its start on; earlier events may be missing.
    let began = Instant::now();
    let first = loop {
        assert!(began.elapsed() < WAIT_LIMIT, "it doesn't begin");
        sample.post("/campaigns", json!({"name": "First", "budget": "1"}));
        if let Ok(line) = tail.lines.recv_timeout(Duration::from_millis(500)) {
            break line;
        }
    };
    assert!(first.ends_with("  Ada Lovelace created campaign “First”"), "{first}");

    sample.restart();
    tail.wait_for_stderr("the service is unavailable");
    let made = sample.post("/campaigns", json!({"name": "Second", "budget": "1"}));
    while tail.line() != "Ada Lovelace created campaign “Second”" {}
    tail.wait_for_stderr("the service is available again");
    let object = format!("campaign/{}", made["id"].as_str().unwrap());

    let thread = Tail::start(sample.command(&["--object", &object, "--from", "0"]));
    assert_eq!(thread.line(), "Ada Lovelace created campaign “Second”");
    let query = format!(
        "/v1/teams/{}/threads?object_type=campaign&object_id={}",
        sample.team,
        made["id"].as_str().unwrap()
    );
    let threads = sample.service.request("GET", &query, &sample.ada, None).1;
    let id = threads["items"][0]["id"].as_str().unwrap().to_owned();
    sample.post(&format!("/threads/{id}/messages"), json!({"body": "shall we?"}));
    assert_eq!(thread.line(), "Ada Lovelace commented on campaign “Second”: shall we?");
    assert_eq!(tail.line(), "Ada Lovelace commented on campaign “Second”: shall we?");
    sample.restart();
    sample.post(&format!("/threads/{id}/messages"), json!({"body": "we shall"}));
    assert_eq!(thread.line(), "Ada Lovelace commented on campaign “Second”: we shall");
    assert_eq!(
        tail.line(),
        "Ada Lovelace commented on campaign “Second”: we shall",
        "once"
    );

    let last = loop {
        let line: Value = serde_json::from_str(&everything.lines.recv_timeout(WAIT_LIMIT).unwrap()).unwrap();
        if line["message"]["body"] == "we shall" {
            break line;
        }
    };
    assert_eq!(
        (&last["type"], &last["thread"]["object_label"]),
        (&json!("thread-messages:created"), &json!("Second"))
    );
    kill(Pid::from_raw(everything.process.id().cast_signed()), Signal::SIGINT).unwrap();
    assert!(everything.process.wait().unwrap().success(), "Ctrl-C is how it ends");
}

#[test]
fn tail_reports_what_it_can_t_follow() {
    let sample = Sample::start();
    let refusal = |arguments: &[&str], settings: &[(&str, &str)]| {
        let mut command = sample.command(arguments);
        command.envs(settings.iter().copied());
        let output = command.output().unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        assert!(output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    };
    let nobodys = "01900000-0000-7000-8000-000000000000";
    for (arguments, settings, words) in [
        (&["--team", "Umbrella"][..], &[][..], "matches no team"),
        (&["--team", nobodys], &[], "no such team"),
        (&["--thread", nobodys], &[], "no such thread"),
        (&["--object", "campaign"], &[], "--object must be TYPE/ID"),
        (&["--object", "campaign/x"], &[], "has no thread"),
        (&["--from", "0"], &[], "--from needs a thread"),
        (
            &[],
            &[("DAYBOOK_TOKEN", "nonsense-that-nobody-signed")],
            "401 Unauthorized",
        ),
        (
            &["--team", nobodys],
            &[("DAYBOOK_URL", "http://127.0.0.1:9")],
            "can't be reached",
        ),
        (
            &[],
            &[("DAYBOOK_URL", "127.0.0.1:9")],
            "DAYBOOK_URL=\"127.0.0.1:9\" must be the URL",
        ),
        (&[], &[("DAYBOOK_DATA_DIR", "elsewhere")], "no token: set DAYBOOK_TOKEN"),
    ] {
        let message = refusal(arguments, settings);
        assert!(message.contains(words), "{arguments:?} {settings:?}: {message}");
        assert!(!message.contains("nonsense-that-nobody-signed"), "{message}");
    }
}
