//! The command line: one file a subcommand.
//!
//! Commands that work on the database (`migrate`, `team`, `user`, `activity`) take the server that
//! `DATABASE_URL` names, else the private cluster in the data folder: the one that a running `serve` or `dev`
//! has started, or, with none running, one that they start for the moment.
//!
//! Results go to stdout, words for people and logs to stderr.

mod activity;
mod dev;
mod migrate;
mod serve;
mod service;
mod team;
mod token;
mod user;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::app::App;
use crate::config::Config;

/// Every change to a team's objects, recorded as an event in the same commit.
#[derive(Debug, Parser)]
#[command(name = "daybook", version, about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the HTTP API, after applying what migrations are pending.
    Serve,
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
}

/// Parses the arguments, reads the settings, and runs one command.
pub(crate) async fn run(app: App) -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr();
    let config = match Config::from_env() {
        Ok(config) => config,
        Err(error) => return failed(&error),
    };
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let outcome = match cli.command {
        Command::Serve => serve::run(app, config).await,
        Command::Dev => dev::run(app, config).await,
        Command::Migrate(args) => migrate::run(&app, &config, args).await,
        Command::Token(args) => token::run(config, args),
        Command::Team(args) => team::run(&app, &config, args).await,
        Command::User(args) => user::run(&app, &config, args).await,
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
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !told.contains(&words) {
            told.push_str(": ");
            told.push_str(&words);
        }
        source = cause.source();
    }
    eprintln!("daybook: {told}");
    ExitCode::FAILURE
}

fn log_to_stderr() {
    let filter =
        EnvFilter::try_from_env("DAYBOOK_LOG").unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn,sea_orm=warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}

/// A line of a command's result.
#[expect(clippy::print_stdout, reason = "a command's result belongs on stdout")]
fn say(line: impl std::fmt::Display) {
    println!("{line}");
}
