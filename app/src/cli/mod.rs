//! The command line: one file per subcommand.
//!
//! Commands that work on the database (`migrate`, `team`, `user`, `activity`, `consumers`, `analytics`) use the server
//! in `DATABASE_URL`, or else the private cluster in the data folder. If no `serve` or `dev` has the cluster running,
//! the command starts it and stops it again. Commands that call a service (`exec`, `runs`, `story`, `tail`) find
//! it by `DAYBOOK_URL`, with `DAYBOOK_TOKEN` or the token that `dev` wrote to the data folder.
//!
//! Results go to stdout, notes for people and logs to stderr. Both are written by `output`.

mod activity;
mod analytics;
mod config;
mod consumers;
mod dev;
mod event_sentence;
mod exec;
mod log_redaction;
mod migrate;
mod outcome;
mod output;
mod private_server;
mod remote;
mod run_log;
mod runs;
mod serve;
mod service;
mod story;
mod tail;
mod team;
mod token;
mod user;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use self::output::{LogWriter, note_lines};
use crate::app::App;
use crate::config::{Config, DEFAULT_LOG_FILTER};
use crate::error::{Error, Result};

/// A log target that is always off, because the queue prints the jobs' payloads there. The sessions record how jobs
/// ended.
const SUPPRESSED_LOGS: &str = "graphile_worker::runner=off";

/// Record every change to a team's objects as an event, in the same commit.
#[derive(Debug, Parser)]
#[command(name = "daybook", version, about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Apply pending migrations, then serve the HTTP API and run jobs.
    Serve(serve::Args),
    /// Serve with a small sample team, and print commands to try.
    Dev,
    /// Apply migrations (`up`, the default), revert them (`down`), or list them (`status`).
    Migrate(migrate::Args),
    /// Print all settings with their values and where these come from.
    Config(config::Args),
    /// Create a sign-in token, signed with DAYBOOK_JWT_SECRET or with the secret in the data folder.
    Token(token::Args),
    /// Create and list teams.
    Team(team::Args),
    /// Add, list and erase people.
    User(user::Args),
    /// Print a team's events as sentences, newest last.
    Activity(activity::Args),
    /// Inspect and replay event consumers.
    Consumers(consumers::Args),
    /// Rebuild the event counts of a team.
    Analytics(analytics::Args),
    /// List runs, print their logs and rebuild their summaries.
    Runs(runs::Args),
    /// Print everything with one correlation id as a tree of causes. Needs a running service.
    Story(story::Args),
    /// Execute a program and record its output and exit code as a run. Needs a running service.
    Exec(exec::Args),
    /// Follow a team or a thread live, as sentences, until Ctrl-C. Needs a running service.
    Tail(tail::Args),
}

impl App {
    /// Runs the command line: `serve`, `dev`, `migrate` and the others.
    // It is here and not in `app.rs`, because a program's parts don't depend on the commands that run it.
    pub async fn run(self) -> ExitCode {
        run(self).await
    }
}

/// Parses the arguments, reads the settings, and runs one command.
async fn run(app: App) -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = init_logging() {
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
        Command::Config(args) => config::run(&args),
        Command::Token(args) => token::run(config, args),
        Command::Team(args) => team::run(&app, &config, args).await,
        Command::User(args) => user::run(&app, &config, args).await,
        // `exec` exits with the exit code of its program.
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

/// Prints an error with its causes, each once.
fn failed(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let message = error.to_string();
        // An internal error displays only "internal error", for clients. An operator needs its source instead.
        let is_internal = matches!(error.downcast_ref(), Some(Error::Internal(_)));
        if !is_internal && !text.contains(&message) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&message);
        }
        next = error.source();
    }
    note_lines(format_args!("daybook: {text}"));
    ExitCode::FAILURE
}

/// Starts logging to stderr, with the filter in `DAYBOOK_LOG` or else [`DEFAULT_LOG_FILTER`].
fn init_logging() -> Result<()> {
    let directives = std::env::var_os("DAYBOOK_LOG").unwrap_or_default();
    let directives = directives.to_string_lossy();
    let filter = match directives.trim() {
        "" => EnvFilter::new(DEFAULT_LOG_FILTER),
        directives => EnvFilter::try_new(directives).map_err(|error| {
            Error::internal(format!(
                "DAYBOOK_LOG={directives:?} must be levels such as `warn` or `{DEFAULT_LOG_FILTER}`: {error}"
            ))
        })?,
    };
    let filter = filter.add_directive(SUPPRESSED_LOGS.parse().map_err(Error::internal)?);
    let writer = LogWriter::to_stderr();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(writer.coloured())
        .with_writer(writer)
        .with_target(false)
        .init();
    Ok(())
}
