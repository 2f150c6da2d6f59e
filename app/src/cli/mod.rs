//! The command line: one file a subcommand.
//!
//! Commands that work on the database (`migrate`, `team`, `user`, `activity`, `consumers`, `analytics`) take the server that
//! `DATABASE_URL` names, else the private cluster in the data folder: the one that a running `serve` or `dev`
//! has started, or, with none running, one that they start for the moment. Commands that talk to a service (`exec`, `runs`, `story`, `tail`)
//! find it by `DAYBOOK_URL`, with `DAYBOOK_TOKEN` or the token that `dev` has left in the data folder.
//!
//! Results go to stdout, words for people and logs to stderr, all of it by `output`.

mod activity;
mod analytics;
mod consumers;
mod dev;
mod exec;
mod migrate;
mod output;
mod remote;
mod run_log;
mod runs;
mod serve;
mod service;
mod stderr;
mod story;
mod tail;
mod team;
mod token;
mod user;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use self::output::{Logs, is_looked_at, note_lines, say, say_json, say_line, wants_colours};
use crate::app::App;
use crate::config::Config;
use crate::error::{Error, Result};

/// What is logged unless `DAYBOOK_LOG` says otherwise.
const LOGGED: &str = "info,sqlx=warn,sea_orm=warn,graphile_worker=warn";
/// What is never logged: there the queue prints what jobs are given. Their sessions tell how they went.
const NEVER_LOGGED: &str = "graphile_worker::runner=off";

/// Every change to a team's objects, recorded as an event in the same commit.
#[derive(Debug, Parser)]
#[command(name = "daybook", version, about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the HTTP API and run jobs, after applying what migrations are pending.
    Serve(serve::Args),
    /// Serve with a small sample team, and print what to try.
    Dev,
    /// Apply migrations (`up`, the default), take them back (`down`), or list them (`status`).
    Migrate(migrate::Args),
    /// Make a sign-in token, signed with DAYBOOK_JWT_SECRET or the data folder's own secret.
    Token(token::Args),
    /// Found and list teams.
    Team(team::Args),
    /// Add people to a team and list them.
    User(user::Args),
    /// Print a team's events as sentences, newest last.
    Activity(activity::Args),
    /// Who consumes events, how far they have come, and giving them what was before.
    Consumers(consumers::Args),
    /// Count a team's events anew.
    Analytics(analytics::Args),
    /// What ran, what it said, and what that comes to.
    Runs(runs::Args),
    /// Print all that has one correlation id, with its causes, as a tree. Talks to a running service.
    Story(story::Args),
    /// Run a program as a run: its output is the run's log, its exit code the run's end. Talks to a running service.
    Exec(exec::Args),
    /// Follow a team or a thread live, as sentences, until Ctrl-C. Talks to a running service.
    Tail(tail::Args),
}

impl App {
    /// Runs the command line: `serve`, `dev`, `migrate` and the others.
    // Here, since a program's parts know nothing of the commands that run it.
    pub async fn run(self) -> ExitCode {
        run(self).await
    }
}

/// Parses the arguments, reads the settings, and runs one command.
async fn run(app: App) -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = log_to_stderr() {
        return failed(&error);
    }
    let config = match Config::from_env() {
        Ok(config) => config,
        Err(error) => return failed(&error),
    };
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let outcome = match cli.command {
        Command::Serve(args) => serve::run(app, config, args).await,
        Command::Dev => dev::run(app, config).await,
        Command::Migrate(args) => migrate::run(&app, &config, args).await,
        Command::Token(args) => token::run(config, args),
        Command::Team(args) => team::run(&app, &config, args).await,
        Command::User(args) => user::run(&app, &config, args).await,
        // Its exit code is the program's.
        Command::Exec(args) => return exec::run(&config, args).await,
        Command::Runs(args) => runs::run(&app, &config, args).await,
        Command::Story(args) => story::run(&config, args).await,
        Command::Tail(args) => tail::run(&config, args).await,
        Command::Consumers(args) => consumers::run(&app, &config, args).await,
        Command::Analytics(args) => analytics::run(&app, &config, args).await,
        Command::Activity(args) => activity::run(&app, &config, args).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(error.as_ref()),
    }
}

/// What a command returns: its error is for a person.
type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Says what went wrong and why, each cause once.
fn failed(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    let mut told = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let words = error.to_string();
        // What an internal error keeps from clients is just what an operator wants, so that it has no words itself.
        let kept = matches!(error.downcast_ref(), Some(Error::Internal(_)));
        if !kept && !told.contains(&words) {
            if !told.is_empty() {
                told.push_str(": ");
            }
            told.push_str(&words);
        }
        next = error.source();
    }
    note_lines(format_args!("daybook: {told}"));
    ExitCode::FAILURE
}

/// As `DAYBOOK_LOG` says, else [`LOGGED`].
fn log_to_stderr() -> Result<()> {
    let wanted = std::env::var_os("DAYBOOK_LOG").unwrap_or_default();
    let wanted = wanted.to_string_lossy();
    let filter = match wanted.trim() {
        "" => EnvFilter::new(LOGGED),
        directives => EnvFilter::try_new(directives).map_err(|error| {
            Error::internal(format!(
                "DAYBOOK_LOG={directives:?} must be levels such as `warn` or `{LOGGED}`: {error}"
            ))
        })?,
    };
    let filter = filter.add_directive(NEVER_LOGGED.parse().map_err(Error::internal)?);
    let logs = Logs::to_stderr();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(logs.coloured())
        .with_writer(logs)
        .with_target(false)
        .init();
    Ok(())
}
