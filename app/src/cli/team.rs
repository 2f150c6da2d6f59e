//! `daybook team`: creates and lists teams.

use clap::{Args as ClapArgs, Subcommand};

use super::outcome::Outcome;
use super::output::print_line;
use super::service::{DatabaseServer, with_database};
use super::user::PersonArgs;
use crate::app::App;
use crate::config::Config;
use crate::teams::{NewTeam, create_team};
use crate::tenancy::Database;

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a team with its first owner, and print its id.
    Create {
        /// The team's name.
        // `PersonArgs` has an argument `name`, too.
        #[arg(id = "team", value_name = "NAME")]
        name: String,
        #[command(flatten)]
        owner: PersonArgs,
    },
    /// List all teams with id and name.
    List,
}

pub(super) async fn run(app: &App, config: &Config, args: Args) -> Outcome {
    with_database(app, config, async |server: &DatabaseServer, database: &Database| {
        match args.command {
            Command::Create { name, owner } => {
                let owner_handle = owner.handle();
                let new = NewTeam {
                    name,
                    owner: owner.person(config),
                    owner_handle,
                };
                print_line(create_team(database, new).await?)?;
            }
            Command::List => {
                for (id, name) in server.teams().await? {
                    print_line(format_args!("{id}  {name}"))?;
                }
            }
        }
        Ok(())
    })
    .await?;
    Ok(())
}
