//! `daybook runs`: lists runs, prints their logs and rebuilds their summaries.

use std::time::Duration;

use anstyle::{AnsiColor, Style};
use clap::{Args as ClapArgs, Subcommand};
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::outcome::Outcome;
use super::output::{
    Line, forward_output, print_json_to_reader, print_line, print_styled_line, stdout_is_terminal, wants_colours, write,
};
use super::remote::{Remote, RemoteError};
use super::run_log::{Console, Output};
use super::service::{DatabaseServer, with_team};
use crate::app::App;
use crate::config::Config;
use crate::error::Result;
use crate::runs::{Rebuilt, Runs, RunsOptions};
use crate::tenancy::{Context, Database};

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the newest runs. Needs a running service.
    List {
        #[command(flatten)]
        team: TeamArgs,
        /// List only runs with this status, such as `running` or `failed`.
        #[arg(long)]
        status: Option<String>,
        /// List at most this number of runs.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u8).range(1..=200))]
        limit: u8,
    },
    /// Print a run's log, and follow it until the run ends. Needs a running service.
    Log {
        /// The run's id.
        id: Uuid,
        #[command(flatten)]
        team: TeamArgs,
        /// Print only lines of these types, separated by commas: `console.line`, `run.*`.
        #[arg(long = "type")]
        kind: Option<String>,
        /// Print only lines of this level or a more severe one.
        #[arg(long)]
        level: Option<String>,
        /// Print the lines that exist, and exit.
        #[arg(long)]
        no_follow: bool,
        /// Print whole lines, as JSON.
        #[arg(long)]
        json: bool,
        /// Print the program's output byte for byte to stdout and stderr, with its escape sequences.
        #[arg(long, conflicts_with = "json")]
        raw: bool,
    },
    /// Rebuild summaries from the logs, and report differences. Uses the database and the storage directly.
    RebuildSummary {
        /// The runs' ids. Without ids, all runs that have ended.
        ids: Vec<Uuid>,
        #[command(flatten)]
        team: TeamArgs,
        /// Only compare, and write nothing.
        #[arg(long)]
        check: bool,
    },
}

#[derive(Debug, ClapArgs)]
struct TeamArgs {
    /// The team's id or name. Optional if there is only one team.
    #[arg(long, env = "DAYBOOK_TEAM")]
    team: Option<String>,
}

pub(super) async fn run(app: &App, config: &Config, args: Args) -> Outcome {
    match args.command {
        Command::List { team, status, limit } => list(config, &team, status.as_deref(), limit).await,
        Command::Log {
            id,
            team,
            kind,
            level,
            no_follow,
            json,
            raw,
        } => {
            let format = match (json, raw) {
                (true, _) => LogFormat::Json,
                (false, true) => LogFormat::Raw,
                (false, false) => LogFormat::Text(Console::default()),
            };
            let mut query = vec![("follow", (!no_follow).to_string())];
            query.extend(kind.map(|kind| ("type", kind)));
            query.extend(level.map(|level| ("level", level)));
            log(config, &team, id, &query, format).await
        }
        Command::RebuildSummary { ids, team, check } => {
            let rebuild = async |_: &DatabaseServer, database: &Database, team_id: Uuid| {
                rebuild(config, database, team_id, &ids, check).await
            };
            with_team(app, config, team.team.as_deref(), rebuild).await?;
            Ok(())
        }
    }
}

async fn list(config: &Config, team: &TeamArgs, status: Option<&str>, limit: u8) -> Outcome {
    let remote = Remote::of(config)?;
    let team_id = remote.team(team.team.as_deref()).await?;
    let limit = limit.to_string();
    let mut query = vec![("limit", limit.as_str())];
    query.extend(status.map(|status| ("status", status)));
    let page = remote.get(team_id, "/runs", &query).await?;
    let coloured = stdout_is_terminal() && wants_colours();
    for run in page["items"].as_array().into_iter().flatten() {
        let status = run["status"].as_str().unwrap_or_default();
        let style = match (coloured, status) {
            (false, _) => Style::new(),
            (true, "succeeded") => AnsiColor::Green.on_default(),
            (true, "failed" | "cancelled") => AnsiColor::Red.on_default(),
            (true, _) => AnsiColor::Cyan.on_default(),
        };
        let code = run["exit_code"]
            .as_i64()
            .map_or_else(String::new, |code| format!(" ({code})"));
        let text = |name: &str| run[name].as_str().unwrap_or_default();
        let at = text("created_at").get(..19).unwrap_or_default();
        let line = Line::of(format_args!("{}  {at}  ", text("id")))
            .styled(style, status)
            .text(format_args!("{code}  {}", text("name")));
        print_styled_line(&line)?;
    }
    Ok(())
}

/// How a log is printed.
enum LogFormat {
    /// For people.
    Text(Console),
    Json,
    /// Only the program's output, unchanged.
    Raw,
}

impl LogFormat {
    /// Prints a line. Returns whether stdout is still open.
    fn print(&mut self, line: &str) -> Result<bool> {
        match self {
            Self::Text(console) => write(&console.print(line)),
            // A line that is not valid JSON is printed as text.
            Self::Json if serde_json::from_str::<&RawValue>(line).is_err() => write(&Line::of(line).ended()),
            Self::Json => print_json_to_reader(line),
            Self::Raw => {
                let line: Value = serde_json::from_str(line).unwrap_or_default();
                let output = Output::of(&line);
                output.map_or(Ok(true), |output| {
                    forward_output(output.stream == "stderr", &output.exact())
                })
            }
        }
    }

    /// Ends a line that is still open.
    fn end(&mut self) -> Result<bool> {
        match self {
            Self::Text(console) => write(&console.end()),
            Self::Json | Self::Raw => Ok(true),
        }
    }
}

async fn log(config: &Config, team: &TeamArgs, id: Uuid, query: &[(&str, String)], mut format: LogFormat) -> Outcome {
    let remote = Remote::of(config)?;
    let team_id = remote.team(team.team.as_deref()).await?;
    let follows = query.iter().any(|(name, value)| *name == "follow" && value == "true");
    let mut last = 0;
    let mut pause = MIN_RETRY_INTERVAL;
    loop {
        let mut query = query.to_vec();
        query.push(("after_sequence", last.to_string()));
        let before = last;
        match print(&remote, team_id, id, &query, &mut format, &mut last).await {
            Ok(StreamEnd::Disconnected) if follows => {}
            // The service was reachable before, so the request is repeated.
            Err(RemoteError::Unavailable(_)) if follows && last > 0 => {}
            printed => {
                format.end()?;
                printed?;
                return Ok(());
            }
        }
        // Either the service ended the stream early, as when it stops, or the run has ended and the filter excludes its
        // last line.
        match remote.get(team_id, &format!("/runs/{id}"), &[]).await {
            Ok(run) if !run["completed_at"].is_null() && last == before => {
                format.end()?;
                return Ok(());
            }
            Ok(_) | Err(RemoteError::Unavailable(_)) => {}
            Err(error) => return Err(error.into()),
        }
        pause = if last > before {
            MIN_RETRY_INTERVAL
        } else {
            (pause * 2).min(MAX_RETRY_INTERVAL)
        };
        tokio::time::sleep(pause).await;
    }
}

/// The interval before a request is repeated after the stream ended. It doubles each time that brings no line.
const MIN_RETRY_INTERVAL: Duration = Duration::from_millis(100);
const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// Why a stream of log lines ended.
enum StreamEnd {
    /// The service ended it, and the run may go on.
    Disconnected,
    /// The run has ended, or stdout is closed.
    Finished,
}

async fn print(
    remote: &Remote,
    team_id: Uuid,
    id: Uuid,
    query: &[(&str, String)],
    format: &mut LogFormat,
    last: &mut u64,
) -> Result<StreamEnd, RemoteError> {
    let mut lines = remote.lines(team_id, &format!("/runs/{id}/events"), query).await?;
    while let Some(line) = lines.next().await? {
        let read: Option<Value> = serde_json::from_str(&line).ok();
        // This line is from the service and not part of the log.
        if let Some(closed) = read.as_ref().filter(|line| line["type"] == "stream.closed") {
            let detail = closed["detail"].as_str().unwrap_or("the service closed the stream");
            return Err(RemoteError::Rejected(detail.to_owned()));
        }
        *last = read
            .as_ref()
            .and_then(|line| line["sequence"].as_u64())
            .unwrap_or(*last + 1);
        let ends = read.is_some_and(|line| line["type"] == "run.completed");
        if ends | !format.print(&line).is_ok_and(|is_open| is_open) {
            return Ok(StreamEnd::Finished);
        }
    }
    Ok(StreamEnd::Disconnected)
}

async fn rebuild(config: &Config, database: &Database, team_id: Uuid, ids: &[Uuid], check: bool) -> Result<()> {
    let storage = config
        .runs
        .storage
        .clone()
        .unwrap_or_else(|| config.data_dir.join("storage"));
    let runs = Runs::new(RunsOptions::new(storage, ""), database.clock().clone());
    let context = Context::system(team_id, "daybook runs rebuild-summary");
    let ids = match ids {
        [] => runs.ended(database, &context).await?,
        ids => ids.to_vec(),
    };
    let mut differ = 0;
    for id in ids {
        match runs.rebuild_summary(database, &context, id, !check).await? {
            Rebuilt::Same => print_line(format!("{id} is unchanged"))?,
            Rebuilt::Differs => {
                differ += 1;
                print_line(format!("{id} {}", if check { "differs" } else { "was rewritten" }))?;
            }
            Rebuilt::NoLog => {
                differ += 1;
                print_line(format!("{id} has no log in this storage"))?;
            }
        }
    }
    if check && differ > 0 {
        return Err(crate::error::Error::conflict(
            "summaries-differ",
            format!("{differ} summaries differ from their logs, or their logs are not in this storage"),
        ));
    }
    Ok(())
}
