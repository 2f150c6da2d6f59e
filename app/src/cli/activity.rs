//! `daybook activity`: prints a team's events, as sentences or as JSON lines.

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use clap::Args as ClapArgs;
use sqlx::Row as _;
use uuid::Uuid;

use super::outcome::Outcome;
use super::output::{print_json, print_line};
use super::service::{DatabaseServer, with_team};
use crate::app::App;
use crate::clock::Clock;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::events::{EventsParts, events_by_id};
use crate::tenancy::timestamps::is_writable;
use crate::tenancy::{Context, Database, TeamTx};

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// The team's id or name. Optional if there is only one team.
    #[arg(long, env = "DAYBOOK_TEAM")]
    team: Option<String>,
    /// Print only events of this object or object type: `campaign`, or `campaign/ID`.
    #[arg(long, value_name = "TYPE[/ID]")]
    object: Option<String>,
    /// Print only events by this actor: a person's handle, or an actor's id.
    #[arg(long, value_name = "HANDLE|ID")]
    actor: Option<String>,
    /// Print only events from this time on: `30m`, `2h` or `7d` ago, a date, or an instant (RFC 3339).
    #[arg(long, value_parser = since)]
    since: Option<DateTime<Utc>>,
    /// Print at most this number of events, the newest ones.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=100_000))]
    limit: i64,
    /// Print whole events, one JSON object per line.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(app: &App, config: &Config, args: Args) -> Outcome {
    let team = args.team.clone();
    with_team(
        app,
        config,
        team.as_deref(),
        async |_: &DatabaseServer, database: &Database, team_id| {
            let sentences = &EventsParts::of(database)?.sentences;
            let tx = database.begin(&Context::system(team_id, "daybook activity")).await?;
            for ids in chunks(newest_ids(&tx, &args).await?) {
                for event in events_by_id(&tx, &ids).await? {
                    if args.json {
                        print_json(serde_json::to_string(&event)?)?;
                    } else {
                        print_line(format_args!(
                            "{}  {}",
                            event.created_at.format("%F %T"),
                            sentences.render(&event)
                        ))?;
                    }
                }
            }
            tx.rollback().await?;
            Ok(())
        },
    )
    .await?;
    Ok(())
}

/// The maximum number of events that are read at once.
const MAX_CHUNK: usize = 500;
/// The approximate maximum size of the events that are read at once, in bytes.
const MAX_CHUNK_BYTES: i64 = 1 << 20;

/// Returns the ids and stored sizes, in bytes, of the newest matching events, oldest first.
async fn newest_ids(tx: &TeamTx, args: &Args) -> Result<Vec<(Uuid, i64)>> {
    let (object_type, object_id) = match args.object.as_deref().map(|object| object.split_once('/')) {
        Some(Some((object_type, id))) => (Some(object_type), Some(id)),
        Some(None) => (args.object.as_deref(), None),
        None => (None, None),
    };
    let actor_id = match args.actor.as_deref() {
        Some(actor) => Some(find_actor(tx, actor).await?),
        None => None,
    };
    let rows = tx
        .fetch_all(
            sqlx::query(
                "SELECT id, pg_column_size(event_data)::bigint AS bytes FROM events WHERE team_id = $1
                   AND ($2::text IS NULL OR object_type = $2)
                   AND ($3::text IS NULL OR object_id = $3)
                   AND ($4::uuid IS NULL OR actor_id = $4)
                   AND ($5::timestamptz IS NULL OR id >= daybook_uuid7_floor($5))
                 ORDER BY id DESC LIMIT $6",
            )
            .bind(tx.team_id())
            .bind(object_type)
            .bind(object_id)
            .bind(actor_id)
            .bind(args.since)
            .bind(args.limit),
        )
        .await?;
    rows.iter()
        .rev()
        .map(|row| Ok((row.try_get("id")?, row.try_get("bytes")?)))
        .collect()
}

/// Splits events into chunks that fit into memory, in their order.
fn chunks(events: Vec<(Uuid, i64)>) -> Vec<Vec<Uuid>> {
    let mut chunks: Vec<Vec<Uuid>> = Vec::new();
    let mut bytes = 0;
    for (id, size) in events {
        bytes += size;
        match chunks.last_mut() {
            Some(chunk) if chunk.len() < MAX_CHUNK && bytes <= MAX_CHUNK_BYTES => chunk.push(id),
            _ => {
                bytes = size;
                chunks.push(vec![id]);
            }
        }
    }
    chunks
}

/// Returns the actor's id for `--actor`: a member by handle, or any actor by id, even a former member or an API key.
async fn find_actor(tx: &TeamTx, actor: &str) -> Result<Uuid> {
    let member = tx
        .fetch_all(
            sqlx::query("SELECT user_id FROM memberships WHERE team_id = $1 AND handle = $2")
                .bind(tx.team_id())
                .bind(actor.trim_start_matches('@').to_lowercase()),
        )
        .await?;
    if let Some(member) = member.first() {
        return Ok(member.try_get("user_id")?);
    }
    Uuid::try_parse(actor).map_err(|_| {
        Error::invalid(
            "--actor",
            format!(
                "{actor:?} is neither the handle of a member of this team (see `user list`) \
                 nor an actor's id (a UUID, see `actor_id` in `activity --json`)"
            ),
        )
    })
}

/// Parses `30m`, `2h`, `7d`, `2026-11-20` or `2026-11-20T08:00:00Z`.
pub(super) fn since(text: &str) -> Result<DateTime<Utc>, String> {
    let invalid = || {
        format!(
            "{text:?} must be a duration such as 30m, 2h or 7d, a date (2026-11-20) or an instant \
             (2026-11-20T08:00:00Z), in a year from 1 to 9999"
        )
    };
    let timestamp = parse_since(text, invalid)?;
    is_writable(&timestamp).then_some(timestamp).ok_or_else(invalid)
}

fn parse_since(text: &str, invalid: impl Fn() -> String) -> Result<DateTime<Utc>, String> {
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Ok(instant.with_timezone(&Utc));
    }
    if let Ok(date) = text.parse::<NaiveDate>() {
        return Ok(date.and_time(NaiveTime::MIN).and_utc());
    }
    let unit = text.chars().last().ok_or_else(&invalid)?;
    let number: i64 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| invalid())?;
    let ago = match unit {
        'm' => TimeDelta::try_minutes(number),
        'h' => TimeDelta::try_hours(number),
        'd' => TimeDelta::try_days(number),
        _ => None,
    };
    ago.and_then(|ago| Clock::system().now().checked_sub_signed(ago))
        .ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::{MAX_CHUNK, MAX_CHUNK_BYTES, chunks, since};

    #[test]
    fn long_events_are_read_one_by_one() {
        let sizes = |sizes: &[i64]| {
            let events = sizes.iter().map(|size| (Uuid::nil(), *size)).collect();
            chunks(events).iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(sizes(&[]), [0; 0]);
        assert_eq!(sizes(&[1; MAX_CHUNK + 1]), [MAX_CHUNK, 1]);
        let long = MAX_CHUNK_BYTES;
        assert_eq!(sizes(&[1, long, 1, 1, long / 2, long / 2, 5 * long]), [1, 1, 3, 1, 1]);
    }

    #[test]
    fn since_accepts_durations_dates_and_instants_and_rejects_the_rest() {
        assert!(since("2h").is_ok() && since("30m").is_ok() && since("7d").is_ok());
        assert_eq!(since("2026-11-20").unwrap().to_rfc3339(), "2026-11-20T00:00:00+00:00");
        assert_eq!(
            since("2026-11-20T08:00:00+01:00").unwrap().to_rfc3339(),
            "2026-11-20T07:00:00+00:00"
        );
        for wrong in [
            "",
            "h",
            "2x",
            "yesterday",
            "99999999999999d",
            "9999999d",
            "+20000-01-01",
            "0000-01-01",
            "2½",
        ] {
            assert!(since(wrong).unwrap_err().contains("2026-11-20T08:00:00Z"), "{wrong}");
        }
    }
}
