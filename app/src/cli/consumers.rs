//! `daybook consumers`: who consumes events, how far they have come, and giving them what was before.

use chrono::{DateTime, Utc};
use clap::{Args as ClapArgs, Subcommand};

use super::activity::since;
use super::service::{Server, with_database, with_team};
use super::{Outcome, say};
use crate::app::App;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::events::{ConsumerDef, Consumers, Mode};
use crate::jobs::{JobFigures, Lag, Watched, forget_cursor, replay, replayable, watch_with};
use crate::tenancy::{Context, Database};

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Who consumes what, and when.
    List,
    /// How far durable consumers are behind, and who holds them up.
    Lag,
    /// Forget how far a consumer has come that is no longer there. If it comes back, it begins anew.
    Forget {
        /// The consumer.
        name: String,
    },
    /// Give a durable consumer a team's events again, from a moment on.
    Replay(Replay),
}

#[derive(Debug, ClapArgs)]
struct Replay {
    /// The consumer.
    name: String,
    /// The team, by id or name; may be left out when there is only one.
    #[arg(long, env = "DAYBOOK_TEAM")]
    team: Option<String>,
    /// From when on: `30m`, `2h`, `7d`, a date, or an instant (RFC 3339).
    #[arg(long, value_parser = since)]
    since: DateTime<Utc>,
    /// Only say how many events there are.
    #[arg(long)]
    dry_run: bool,
    /// Also what the consumer has done already, and guards from being done twice: for effects that may be repeated, and
    /// not for `analytics`, which would count twice (`daybook analytics rebuild` counts anew).
    #[arg(long)]
    again: bool,
}

pub(super) async fn run(app: &App, config: &Config, args: Args) -> Outcome {
    match args.command {
        Command::List => {
            with_database(app, config, async |server: &Server, database: &Database| {
                list(config, server, database).await
            })
            .await?;
        }
        Command::Lag => {
            with_database(app, config, async |server: &Server, database: &Database| {
                lag(config, server, database).await
            })
            .await?;
        }
        Command::Forget { name } => {
            with_database(app, config, async |server: &Server, database: &Database| {
                forget(server, database, &name).await
            })
            .await?;
        }
        Command::Replay(args) => {
            let team = args.team.clone();
            with_team(
                app,
                config,
                team.as_deref(),
                async |_: &Server, database: &Database, team_id| {
                    let context = Context::system(team_id, "daybook consumers replay");
                    give_again(database, &context, &args).await
                },
            )
            .await?;
        }
    }
    Ok(())
}

fn consumers(database: &Database) -> Result<&Consumers> {
    database
        .extension::<Consumers>()
        .ok_or_else(|| Error::internal("this program has no consumers"))
}

async fn look(config: &Config, server: &Server) -> Result<Watched> {
    let workers = server.workers().await?;
    let watched = watch_with(&workers, config.jobs.lost_after).await;
    workers.close().await;
    watched
}

async fn list(config: &Config, server: &Server, database: &Database) -> Result<()> {
    // A caller that may not ask the queue still gets the list of consumers.
    let watched = look(config, server).await;
    for consumer in consumers(database)?.iter() {
        let types: Vec<&str> = consumer.event_types.iter().map(|known| known.as_str()).collect();
        let mode = match consumer.mode {
            Mode::Abort => "abort",
            Mode::Isolate => "isolate",
            Mode::Durable => "durable",
        };
        say(format_args!(
            "{:<40} {mode:<8} {} of {}",
            consumer.name,
            types.join(", "),
            consumer.object_type.unwrap_or("every object type")
        ))?;
        if let (Mode::Durable, Ok(watched)) = (&consumer.mode, &watched) {
            let lag = watched.lags.iter().find(|lag| lag.consumer == consumer.name);
            say(format_args!("    {}", lag.map_or_else(not_begun, standing)))?;
        }
    }
    match watched {
        Ok(_) => Ok(()),
        Err(error) => {
            tracing::warn!("the queue could not be asked how far consumers are: {error}");
            Ok(())
        }
    }
}

fn not_begun() -> String {
    "has not begun: no worker has run it yet".to_owned()
}

/// How far a consumer is, and what is left to do for it.
fn standing(lag: &Lag) -> String {
    let behind = match lag.since {
        Some(at) => format!("{} events behind, since {}", lag.events, at.format("%F %T")),
        None if lag.jobs.unfinished() == 0 => "up to date".to_owned(),
        None => "0 events behind".to_owned(),
    };
    match figures(&lag.jobs) {
        jobs if jobs.is_empty() => behind,
        jobs => format!("{behind}; jobs: {jobs}"),
    }
}

/// The figures that are not zero.
fn figures(jobs: &JobFigures) -> String {
    let words = |name: &str| match name {
        "retrying" => "waiting for their retry".to_owned(),
        "locked_by_dead_worker" => "locked by a dead worker".to_owned(),
        name => name.replace('_', " "),
    };
    let named = jobs.named().into_iter().filter(|(_, jobs)| *jobs > 0);
    let named: Vec<_> = named.map(|(name, jobs)| format!("{jobs} {}", words(name))).collect();
    named.join(", ")
}

async fn lag(config: &Config, server: &Server, database: &Database) -> Result<()> {
    let watched = look(config, server).await?;
    let known = consumers(database)?;
    for lag in &watched.lags {
        let gone = match known.named(&lag.consumer) {
            Some(_) => "",
            None => "  (not in this program)",
        };
        say(format_args!("{:<40} {}{gone}", lag.consumer, standing(lag)))?;
    }
    for consumer in known.durable() {
        if !watched.lags.iter().any(|lag| lag.consumer == consumer.name) {
            say(format_args!("{:<40} {}", consumer.name, not_begun()))?;
        }
    }
    let jobs = figures(&watched.jobs);
    say(format_args!(
        "all jobs: {}",
        if jobs.is_empty() { "none" } else { &jobs }
    ))?;
    if let Some(oldest) = &watched.oldest {
        say(format_args!(
            "the oldest transaction under way is of pid {} in the database {}; what commits after it began is handed over \
             once it has ended",
            oldest.pid,
            oldest.database.as_deref().unwrap_or("?")
        ))?;
    }
    Ok(())
}

async fn forget(server: &Server, database: &Database, name: &str) -> Result<()> {
    if consumers(database)?.named(name).is_some() {
        return Err(Error::invalid(
            "NAME",
            format!("{name} is a consumer of this program, and would begin anew at once"),
        ));
    }
    let workers = server.workers().await?;
    let forgotten = forget_cursor(&workers, name).await;
    workers.close().await;
    match forgotten? {
        true => say(format_args!("forgot {name}")),
        false => Err(Error::invalid("NAME", format!("no consumer called {name} has begun"))),
    }
}

async fn give_again(database: &Database, context: &Context, args: &Replay) -> Result<()> {
    let consumer = named(consumers(database)?, &args.name)?;
    let tx = database.begin(context).await?;
    let events = replayable(&tx, consumer, args.since).await?;
    if args.dry_run {
        return say(format_args!(
            "{} events would be given to {}",
            events.len(),
            consumer.name
        ));
    }
    let jobs = replay(&tx, consumer, &events, args.again).await?;
    tx.commit().await?;
    say(format_args!(
        "{} events will be given to {}, jobs: {jobs}",
        events.len(),
        consumer.name
    ))
}

fn named(consumers: &Consumers, name: &str) -> Result<&'static ConsumerDef> {
    consumers.named(name).ok_or_else(|| {
        let known: Vec<&str> = consumers.durable().map(|consumer| consumer.name).collect();
        Error::invalid(
            "NAME",
            format!("{name:?} is none of the durable consumers: {}", known.join(", ")),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_is_up_to_date_when_nothing_is_left_to_do() {
        let told = |events, jobs| {
            let moved_at = DateTime::UNIX_EPOCH;
            standing(&Lag {
                consumer: "crm".to_owned(),
                events,
                since: (events > 0).then_some(moved_at),
                moved_at,
                jobs,
            })
        };
        let none = JobFigures::default();
        assert_eq!(told(0, none), "up to date");
        assert_eq!(told(3, none), "3 events behind, since 1970-01-01 00:00:00");
        let waits = JobFigures {
            retrying: 1,
            locked_by_dead_worker: 2,
            ..none
        };
        assert_eq!(
            told(0, waits),
            "0 events behind; jobs: 1 waiting for their retry, 2 locked by a dead worker"
        );
        assert_eq!(
            told(0, JobFigures { given_up: 4, ..none }),
            "up to date; jobs: 4 given up"
        );
    }
}
