//! `daybook runs`: what ran, what it said, and what that comes to.

use std::time::Duration;

use anstyle::{AnsiColor, Style};
use clap::{Args as ClapArgs, Subcommand};
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::output::{Line, pass_output_on, say_json_to_reader, write};
use super::remote::{Remote, Trouble};
use super::run_log::{Console, Output};
use super::service::{Server, with_team};
use super::{Outcome, is_looked_at, say, say_line, wants_colours};
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
    /// The newest runs. Talks to a running service.
    List {
        #[command(flatten)]
        team: Team,
        /// Only those that stand so: `running`, `failed`.
        #[arg(long)]
        status: Option<String>,
        /// How many.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u8).range(1..=200))]
        limit: u8,
    },
    /// What a run has said, and goes on to say until it ends. Talks to a running service.
    Log {
        /// The run.
        id: Uuid,
        #[command(flatten)]
        team: Team,
        /// Only lines of these types, by commas: `console.line`, `run.*`.
        #[arg(long = "type")]
        kind: Option<String>,
        /// Only lines of this level or a worse one.
        #[arg(long)]
        level: Option<String>,
        /// What there is now, and no more.
        #[arg(long)]
        no_follow: bool,
        /// Whole lines, as JSON.
        #[arg(long)]
        json: bool,
        /// What the program has printed, byte for byte, to stdout and stderr: with its escape sequences.
        #[arg(long, conflicts_with = "json")]
        raw: bool,
    },
    /// Make summaries again from the logs, and tell whether they are the same. Works on the database and the storage.
    RebuildSummary {
        /// The runs; all that have ended, if none is said.
        ids: Vec<Uuid>,
        #[command(flatten)]
        team: Team,
        /// Only compare, and write nothing.
        #[arg(long)]
        check: bool,
    },
}

#[derive(Debug, ClapArgs)]
struct Team {
    /// The team, by id or name; may be left out when there is only one.
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
            let form = match (json, raw) {
                (true, _) => Form::Json,
                (false, true) => Form::Raw,
                (false, false) => Form::Lines(Console::default()),
            };
            let mut query = vec![("follow", (!no_follow).to_string())];
            query.extend(kind.map(|kind| ("type", kind)));
            query.extend(level.map(|level| ("level", level)));
            log(config, &team, id, &query, form).await
        }
        Command::RebuildSummary { ids, team, check } => {
            let rebuild = async |_: &Server, database: &Database, team_id: Uuid| {
                rebuild(config, database, team_id, &ids, check).await
            };
            with_team(app, config, team.team.as_deref(), rebuild).await?;
            Ok(())
        }
    }
}

async fn list(config: &Config, team: &Team, status: Option<&str>, limit: u8) -> Outcome {
    let remote = Remote::of(config)?;
    let team_id = remote.team(team.team.as_deref()).await?;
    let limit = limit.to_string();
    let mut query = vec![("limit", limit.as_str())];
    query.extend(status.map(|status| ("status", status)));
    let page = remote.get(team_id, "/runs", &query).await?;
    let coloured = is_looked_at() && wants_colours();
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
        say_line(&line)?;
    }
    Ok(())
}

/// How a log is printed.
enum Form {
    /// For people.
    Lines(Console),
    Json,
    /// What the program has printed, and nothing else.
    Raw,
}

impl Form {
    /// Prints a line. Whether somebody reads.
    fn print(&mut self, line: &str) -> Result<bool> {
        match self {
            Self::Lines(console) => write(&console.print(line)),
            // From a service that sends what is no JSON.
            Self::Json if serde_json::from_str::<&RawValue>(line).is_err() => write(&Line::of(line).ended()),
            Self::Json => say_json_to_reader(line),
            Self::Raw => {
                let line: Value = serde_json::from_str(line).unwrap_or_default();
                let output = Output::of(&line);
                output.map_or(Ok(true), |output| {
                    pass_output_on(output.stream == "stderr", &output.exact())
                })
            }
        }
    }

    /// Ends what is open.
    fn end(&mut self) -> Result<bool> {
        match self {
            Self::Lines(console) => write(&console.end()),
            Self::Json | Self::Raw => Ok(true),
        }
    }
}

async fn log(config: &Config, team: &Team, id: Uuid, query: &[(&str, String)], mut form: Form) -> Outcome {
    let remote = Remote::of(config)?;
    let team_id = remote.team(team.team.as_deref()).await?;
    let follows = query.iter().any(|(name, value)| *name == "follow" && value == "true");
    let mut last = 0;
    let mut pause = FIRST_PAUSE;
    loop {
        let mut query = query.to_vec();
        query.push(("after_sequence", last.to_string()));
        let before = last;
        match print(&remote, team_id, id, &query, &mut form, &mut last).await {
            Ok(Printed::All) if follows => {}
            // A service that was there a moment ago.
            Err(Trouble::Away(_)) if follows && last > 0 => {}
            printed => {
                form.end()?;
                printed?;
                return Ok(());
            }
        }
        // Let go in the middle, as by a service that stops; or at the run's end, whose line was not asked for.
        match remote.get(team_id, &format!("/runs/{id}"), &[]).await {
            Ok(run) if !run["completed_at"].is_null() && last == before => {
                form.end()?;
                return Ok(());
            }
            Ok(_) | Err(Trouble::Away(_)) => {}
            Err(trouble) => return Err(trouble.into()),
        }
        pause = if last > before {
            FIRST_PAUSE
        } else {
            (pause * 2).min(LONGEST_PAUSE)
        };
        tokio::time::sleep(pause).await;
    }
}

/// Before a service that let us go is asked again; doubled each time that brings nothing.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How far lines were printed.
enum Printed {
    /// To the last that came.
    All,
    /// To the run's end, or to where nobody reads any more.
    ToTheEnd,
}

async fn print(
    remote: &Remote,
    team_id: Uuid,
    id: Uuid,
    query: &[(&str, String)],
    form: &mut Form,
    last: &mut u64,
) -> Result<Printed, Trouble> {
    let mut lines = remote.lines(team_id, &format!("/runs/{id}/events"), query).await?;
    while let Some(line) = lines.next().await? {
        let read: Option<Value> = serde_json::from_str(&line).ok();
        // The service's own: it is no line of the log.
        if let Some(closed) = read.as_ref().filter(|line| line["type"] == "stream.closed") {
            let detail = closed["detail"].as_str().unwrap_or("the service closed the stream");
            return Err(Trouble::Refused(detail.to_owned()));
        }
        *last = read
            .as_ref()
            .and_then(|line| line["sequence"].as_u64())
            .unwrap_or(*last + 1);
        let ends = read.is_some_and(|line| line["type"] == "run.completed");
        if ends | !form.print(&line).is_ok_and(|is_read| is_read) {
            return Ok(Printed::ToTheEnd);
        }
    }
    Ok(Printed::All)
}

async fn rebuild(config: &Config, database: &Database, team_id: Uuid, ids: &[Uuid], check: bool) -> Result<()> {
    let storage = config
        .runs
        .storage
        .clone()
        .unwrap_or_else(|| config.data_dir.join("storage"));
    let runs = Runs::new(RunsOptions::new(storage, ""));
    let context = Context::system(team_id, "daybook runs rebuild-summary");
    let ids = match ids {
        [] => runs.ended(database, &context).await?,
        ids => ids.to_vec(),
    };
    let mut differ = 0;
    for id in ids {
        match runs.rebuild_summary(database, &context, id, !check).await? {
            Rebuilt::Same => say(format!("{id} is the same"))?,
            Rebuilt::Differs => {
                differ += 1;
                say(format!("{id} {}", if check { "differs" } else { "was written anew" }))?;
            }
            Rebuilt::NoLog => {
                differ += 1;
                say(format!("{id} has no log here"))?;
            }
        }
    }
    if check && differ > 0 {
        return Err(crate::error::Error::conflict(
            "summaries-differ",
            format!("{differ} summaries differ from their logs, or have none here"),
        ));
    }
    Ok(())
}
