//! `daybook analytics`: rebuilds a team's event counts.

use clap::{Args as ClapArgs, Subcommand};

use super::outcome::Outcome;
use super::output::print_line;
use super::service::{DatabaseServer, with_team};
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
    /// Count all events of a team again, also those that were recorded before counting began.
    Rebuild {
        /// The team's id or name. Optional if there is only one team.
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
        async |_: &DatabaseServer, database: &Database, team_id| {
            let tx = database
                .begin(&Context::system(team_id, "daybook analytics rebuild"))
                .await?;
            let events = analytics::rebuild(&tx).await?;
            tx.commit().await?;
            print_line(format_args!("counted {events} events"))
        },
    )
    .await?;
    Ok(())
}
