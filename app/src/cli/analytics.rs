//! `daybook analytics`: counting a team's events anew.

use clap::{Args as ClapArgs, Subcommand};

use super::service::{Server, with_team};
use super::{Outcome, say};
use crate::analytics;
use crate::app::App;
use crate::config::Config;
use crate::tenancy::{Context, Database};

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Count all events of a team anew: also those from before the counting began.
    Rebuild {
        /// The team, by id or name; may be left out when there is only one.
        #[arg(long, env = "DAYBOOK_TEAM")]
        team: Option<String>,
    },
}

pub(super) async fn run(app: &App, config: &Config, args: Args) -> Outcome {
    let Command::Rebuild { team } = args.command;
    with_team(
        app,
        config,
        team.as_deref(),
        async |_: &Server, database: &Database, team_id| {
            let tx = database
                .begin(&Context::system(team_id, "daybook analytics rebuild"))
                .await?;
            let events = analytics::rebuild(&tx).await?;
            tx.commit().await?;
            say(format_args!("counted {events} events"))
        },
    )
    .await?;
    Ok(())
}
