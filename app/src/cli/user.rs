//! `daybook user`: adds, lists and erases people.

use clap::{Args as ClapArgs, Subcommand};

use super::outcome::Outcome;
use super::output::print_line;
use super::service::{DatabaseServer, with_database, with_team};
use crate::app::App;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::teams::{NewMember, NewPerson, add_member, erase_person, list_members};
use crate::tenancy::{Context, Credential, Database, Entry, Request, Role};

/// The maximum number of members that `user list` prints.
const MAX_LISTED_MEMBERS: u64 = 10_000;

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// The team's id or name. Optional if there is only one team.
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
        /// The person's role: viewer, member, admin or owner.
        #[arg(long, default_value = "member", value_parser = role)]
        role: Role,
    },
    /// List the team's people with id, handle, role and name.
    List,
    /// Erase a person from every team and from `users`. Recorded events stay unchanged.
    Erase {
        /// The person's id at the identity provider: the `sub` of their tokens.
        #[arg(long)]
        subject: String,
        /// The identity provider: the `iss` of their tokens. Default: DAYBOOK_JWT_ISSUER.
        #[arg(long)]
        issuer: Option<String>,
    },
}

/// The arguments that describe a person.
#[derive(Debug, ClapArgs)]
pub(super) struct PersonArgs {
    /// The person's id at the identity provider: the `sub` of their tokens.
    #[arg(long)]
    subject: String,
    /// The person's name in sentences.
    #[arg(long)]
    name: String,
    /// The handle for mentions such as `@ada`. Default: the subject in lower case.
    #[arg(long)]
    handle: Option<String>,
    /// The person's email address.
    #[arg(long)]
    email: Option<String>,
    /// The identity provider: the `iss` of their tokens. Default: DAYBOOK_JWT_ISSUER.
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
        async |_: &DatabaseServer, database: &Database, team_id| {
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
                    print_line(member.user_id)?;
                }
                // Handled above: it is not limited to one team.
                Command::Erase { .. } => {}
                Command::List => {
                    for member in list_members(&tx, None, MAX_LISTED_MEMBERS).await? {
                        print_line(format_args!(
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

/// Erases a person from every team. Only the owner of the tables can list all teams.
async fn erase(app: &App, config: &Config, issuer: &str, subject: &str) -> Outcome {
    with_database(app, config, async |server: &DatabaseServer, database: &Database| {
        let teams: Vec<_> = server.teams().await?.into_iter().map(|(id, _)| id).collect();
        let entry = |team_id| {
            let context = Context::system(team_id, "daybook user");
            let request = Request::of(&context);
            Entry::new(team_id, Credential::Context(context), request)
        };
        match erase_person(database, &teams, issuer, subject, entry).await? {
            true => Ok(()),
            false => Err(Error::invalid(
                "--subject",
                format!("no person has the subject {subject:?} and the issuer {issuer:?} (`--issuer`)"),
            )),
        }
    })
    .await?;
    Ok(())
}

fn role(text: &str) -> Result<Role, String> {
    text.parse().map_err(|error: crate::Error| error.to_string())
}
