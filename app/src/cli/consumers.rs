//! `daybook consumers`: inspects and replays event consumers.

use chrono::{DateTime, Utc};
use clap::{Args as ClapArgs, Subcommand};

use super::activity::since;
use super::outcome::Outcome;
use super::output::print_line;
use super::service::{DatabaseServer, with_database, with_team};
use crate::app::App;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::events::{ConsumerDef, Consumers, EventsParts, Mode};
use crate::jobs::{JobCounts, Lag, QueueState, forget_cursor, queue_state_with, replay, replayable};
use crate::tenancy::{Context, Database};

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List consumers with their mode, event types and object type.
    List,
    /// Print the lag of durable consumers and the transaction that delays them.
    Lag,
    /// Delete the cursor of a consumer that the program doesn't have. If it is added again, it starts with new events.
    Forget {
        /// The consumer's name.
        name: String,
    },
    /// Deliver a team's past events to a durable consumer.
    Replay(Replay),
}

#[derive(Debug, ClapArgs)]
struct Replay {
    /// The consumer's name.
    name: String,
    /// The team's id or name. Optional if there is only one team.
    #[arg(long, env = "DAYBOOK_TEAM")]
    team: Option<String>,
    /// The time of the first event: `30m`, `2h` or `7d` ago, a date, or an instant (RFC 3339).
    #[arg(long, value_parser = since)]
    since: DateTime<Utc>,
    /// Print only the number of events.
    #[arg(long)]
    dry_run: bool,
    /// Repeat deliveries that have already succeeded. Use it only for effects that may happen twice. Don't use it for
    /// `analytics`, which would count events twice: use `daybook analytics rebuild`.
    #[arg(long)]
    again: bool,
}

pub(super) async fn run(app: &App, config: &Config, args: Args) -> Outcome {
    match args.command {
        Command::List => {
            with_database(app, config, async |server: &DatabaseServer, database: &Database| {
                list(config, server, database).await
            })
            .await?;
        }
        Command::Lag => {
            with_database(app, config, async |server: &DatabaseServer, database: &Database| {
                lag(config, server, database).await
            })
            .await?;
        }
        Command::Forget { name } => {
            with_database(app, config, async |server: &DatabaseServer, database: &Database| {
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
                async |_: &DatabaseServer, database: &Database, team_id| {
                    let context = Context::system(team_id, "daybook consumers replay");
                    replay_events(database, &context, &args).await
                },
            )
            .await?;
        }
    }
    Ok(())
}

fn consumers(database: &Database) -> Result<&Consumers> {
    Ok(&EventsParts::of(database)?.consumers)
}

async fn read_queue_state(config: &Config, server: &DatabaseServer) -> Result<QueueState> {
    let workers = server.workers().await?;
    let queue_state = queue_state_with(&workers, config.jobs.lost_after).await;
    workers.close().await;
    queue_state
}

async fn list(config: &Config, server: &DatabaseServer, database: &Database) -> Result<()> {
    // A caller without access to the queue still gets the list of consumers.
    let queue_state = read_queue_state(config, server).await;
    for consumer in consumers(database)?.iter() {
        let types: Vec<&str> = consumer.event_types.iter().map(|known| known.as_str()).collect();
        let mode = consumer.mode.as_str();
        print_line(format_args!(
            "{:<40} {mode:<8} {} of {}",
            consumer.name,
            types.join(", "),
            consumer.object_type.unwrap_or("every object type")
        ))?;
        if let (Mode::Durable, Ok(queue_state)) = (&consumer.mode, &queue_state) {
            let lag = queue_state.lags.iter().find(|lag| lag.consumer == consumer.name);
            print_line(format_args!("    {}", lag.map_or_else(not_started, describe_lag)))?;
        }
    }
    match queue_state {
        Ok(_) => Ok(()),
        Err(error) => {
            tracing::warn!("could not read the consumers' lag from the queue: {error}");
            Ok(())
        }
    }
}

fn not_started() -> String {
    "not started: no worker has run it yet".to_owned()
}

/// Describes a consumer's lag and the jobs that are left for it.
fn describe_lag(lag: &Lag) -> String {
    let behind = match lag.since {
        Some(at) => format!("{} events behind, since {}", lag.events, at.format("%F %T")),
        None if lag.jobs.unfinished() == 0 => "up to date".to_owned(),
        None => "0 events behind".to_owned(),
    };
    match job_counts(&lag.jobs) {
        jobs if jobs.is_empty() => behind,
        jobs => format!("{behind}; jobs: {jobs}"),
    }
}

/// Lists the counts that are not zero.
fn job_counts(jobs: &JobCounts) -> String {
    let label = |name: &str| match name {
        "retrying" => "waiting for a retry".to_owned(),
        "locked_by_dead_worker" => "locked by a dead worker".to_owned(),
        name => name.replace('_', " "),
    };
    let named = jobs.named().into_iter().filter(|(_, jobs)| *jobs > 0);
    let named: Vec<_> = named.map(|(name, jobs)| format!("{jobs} {}", label(name))).collect();
    named.join(", ")
}

async fn lag(config: &Config, server: &DatabaseServer, database: &Database) -> Result<()> {
    let queue_state = read_queue_state(config, server).await?;
    let known = consumers(database)?;
    for lag in &queue_state.lags {
        let gone = match known.named(&lag.consumer) {
            Some(_) => "",
            None => "  (not in this program)",
        };
        print_line(format_args!("{:<40} {}{gone}", lag.consumer, describe_lag(lag)))?;
    }
    for consumer in known.durable() {
        if !queue_state.lags.iter().any(|lag| lag.consumer == consumer.name) {
            print_line(format_args!("{:<40} {}", consumer.name, not_started()))?;
        }
    }
    let jobs = job_counts(&queue_state.jobs);
    print_line(format_args!(
        "all jobs: {}",
        if jobs.is_empty() { "none" } else { &jobs }
    ))?;
    if let Some(oldest) = &queue_state.oldest {
        print_line(format_args!(
            "the oldest open transaction is of pid {} in the database {}; events that are committed after it began are \
             handed over when it has ended",
            oldest.pid,
            oldest.database.as_deref().unwrap_or("?")
        ))?;
    }
    Ok(())
}

async fn forget(server: &DatabaseServer, database: &Database, name: &str) -> Result<()> {
    if consumers(database)?.named(name).is_some() {
        return Err(Error::invalid(
            "NAME",
            format!("{name} is a consumer of this program, which would create its cursor again at once"),
        ));
    }
    let workers = server.workers().await?;
    let forgotten = forget_cursor(&workers, name).await;
    workers.close().await;
    match forgotten? {
        true => print_line(format_args!("deleted the cursor of {name}")),
        false => Err(Error::invalid(
            "NAME",
            format!("there is no cursor of a consumer named {name}"),
        )),
    }
}

async fn replay_events(database: &Database, context: &Context, args: &Replay) -> Result<()> {
    let consumer = named(consumers(database)?, &args.name)?;
    let tx = database.begin(context).await?;
    let events = replayable(&tx, consumer, args.since).await?;
    if args.dry_run {
        return print_line(format_args!(
            "{} events would be delivered to {}",
            events.len(),
            consumer.name
        ));
    }
    let jobs = replay(&tx, consumer, &events, args.again).await?;
    tx.commit().await?;
    print_line(format_args!(
        "{} events will be delivered to {}, jobs: {jobs}",
        events.len(),
        consumer.name
    ))
}

fn named(consumers: &Consumers, name: &str) -> Result<&'static ConsumerDef> {
    consumers.named(name).ok_or_else(|| {
        let known: Vec<&str> = consumers.durable().map(|consumer| consumer.name).collect();
        Error::invalid(
            "NAME",
            format!(
                "{name:?} is not a consumer; the durable consumers are: {}",
                known.join(", ")
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_is_up_to_date_when_nothing_is_left_to_do() {
        let described = |events, jobs| {
            let moved_at = DateTime::UNIX_EPOCH;
            describe_lag(&Lag {
                consumer: "crm".to_owned(),
                events,
                since: (events > 0).then_some(moved_at),
                moved_at,
                jobs,
            })
        };
        let none = JobCounts::default();
        assert_eq!(described(0, none), "up to date");
        assert_eq!(described(3, none), "3 events behind, since 1970-01-01 00:00:00");
        let waits = JobCounts {
            retrying: 1,
            locked_by_dead_worker: 2,
            ..none
        };
        assert_eq!(
            described(0, waits),
            "0 events behind; jobs: 1 waiting for a retry, 2 locked by a dead worker"
        );
        assert_eq!(
            described(0, JobCounts { given_up: 4, ..none }),
            "up to date; jobs: 4 given up"
        );
    }
}
