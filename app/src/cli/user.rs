//! `daybook user`: the people of a team.

use clap::{Args as ClapArgs, Subcommand};

use super::service::{Server, with_database, with_team};
use super::{Outcome, say};
use crate::app::App;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::teams::{NewMember, NewPerson, add_member, erase_person, list_members};
use crate::tenancy::{Context, Database, Entrant, Entry, Request, Role};

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
    /// Erase a person from every team and from `users`. What was recorded stays as it was recorded.
    Erase {
        /// Who they are to their identity provider: their tokens' `sub`.
        #[arg(long)]
        subject: String,
        /// Who vouches for them; else DAYBOOK_JWT_ISSUER.
        #[arg(long)]
        issuer: Option<String>,
    },
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
    if let Command::Erase { subject, issuer } = args.command {
        let issuer = issuer.unwrap_or_else(|| config.auth.issuer.clone());
        return erase(app, config, &issuer, &subject).await;
    }
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
                // In no team: see above.
                Command::Erase { .. } => {}
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

/// Out of every team that there is: only the tables' owner can list them.
async fn erase(app: &App, config: &Config, issuer: &str, subject: &str) -> Outcome {
    with_database(app, config, async |server: &Server, database: &Database| {
        let teams: Vec<_> = server.teams().await?.into_iter().map(|(id, _)| id).collect();
        let entry = |team_id| {
            let context = Context::system(team_id, "daybook user");
            let request = Request::of(&context);
            Entry::new(team_id, Entrant::Context(context), request)
        };
        match erase_person(database, &teams, issuer, subject, entry).await? {
            true => Ok(()),
            false => Err(Error::invalid(
                "--subject",
                format!("nobody is known here as {subject:?} of the issuer {issuer:?} (`--issuer`)"),
            )),
        }
    })
    .await?;
    Ok(())
}

fn role(text: &str) -> Result<Role, String> {
    text.parse().map_err(|error: crate::Error| error.to_string())
}
