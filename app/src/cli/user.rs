//! `daybook user`: the people of a team.

use clap::{Args as ClapArgs, Subcommand};

use super::service::{Server, with_team};
use super::{Outcome, say};
use crate::app::App;
use crate::auth::{NewMember, NewPerson, add_member, list_members};
use crate::config::Config;
use crate::error::Result;
use crate::tenancy::{Context, Database, Role};

/// As many members as `user list` prints.
const LISTED: u64 = 10_000;

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// The team, by id or name; may be left out when there is only one.
    #[arg(long, global = true, env = "DAYBOOK_TEAM")]
    team: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add a person to the team.
    Add {
        #[command(flatten)]
        person: PersonArgs,
        /// What they may do: viewer, member, admin or owner.
        #[arg(long, default_value = "member", value_parser = role)]
        role: Role,
    },
    /// List the team's people: id, handle, role, name.
    List,
}

/// A person, as their identity provider knows them.
#[derive(Debug, ClapArgs)]
pub(super) struct PersonArgs {
    /// Who they are to their identity provider: their tokens' `sub`.
    #[arg(long)]
    subject: String,
    /// How sentences call them.
    #[arg(long)]
    name: String,
    /// What `@handle` mentions them by; else the subject in lower case.
    #[arg(long)]
    handle: Option<String>,
    /// Where to reach them.
    #[arg(long)]
    email: Option<String>,
    /// Who vouches for them; else DAYBOOK_JWT_ISSUER.
    #[arg(long)]
    issuer: Option<String>,
}

impl PersonArgs {
    pub(super) fn handle(&self) -> String {
        self.handle.clone().unwrap_or_else(|| self.subject.to_lowercase())
    }

    pub(super) fn person(self, config: &Config) -> NewPerson {
        NewPerson {
            issuer: self.issuer.unwrap_or_else(|| config.auth.issuer.clone()),
            subject: self.subject,
            display_name: self.name,
            email: self.email,
        }
    }
}

pub(super) async fn run(app: &App, config: &Config, args: Args) -> Outcome {
    with_team(
        app,
        config,
        args.team.as_deref(),
        async |_: &Server, database: &Database, team_id| {
            let tx = database.begin(&Context::system(team_id, "daybook user")).await?;
            match args.command {
                Command::Add { person, role } => {
                    let handle = person.handle();
                    let member = add_member(
                        &tx,
                        &NewMember {
                            person: person.person(config),
                            handle,
                            role,
                        },
                    )
                    .await?;
                    say(member.user_id)?;
                }
                Command::List => {
                    for member in list_members(&tx, None, LISTED).await? {
                        say(format_args!(
                            "{}  @{}  {}  {}",
                            member.user_id, member.handle, member.role, member.display_name
                        ))?;
                    }
                }
            }
            tx.commit().await
        },
    )
    .await?;
    Ok(())
}

fn role(text: &str) -> Result<Role, String> {
    text.parse().map_err(|error: crate::Error| error.to_string())
}
