//! `daybook dev`: runs the service with a small sample team, and prints commands to try.

use std::net::SocketAddr;

use chrono::TimeDelta;
use uuid::Uuid;

use super::event_sentence::sentence;
use super::outcome::Outcome;
use super::output::{note_lines, stdout_is_terminal, wants_colours};
use super::serve::{Stop, serve};
use super::service::{DatabaseServer, ensure_token_key, write_private};
use crate::app::{App, Seeder};
use crate::auth::{NewToken, mint};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::server::wide_event_config;
use crate::teams::{NewMember, NewPerson, NewTeam, add_member, create_team};
use crate::tenancy::{Actor, Context, Database, OwnTeam, Role};
use crate::terminal::visible;
use crate::wide_events::WideEventConfig;

/// The sample team's people: subject (and handle), name, role. The first one is its first owner.
const PEOPLE: [(&str, &str, Role); 3] = [
    ("ada", "Ada Lovelace", Role::Owner),
    ("grace", "Grace Hopper", Role::Admin),
    ("linus", "Linus Pauling", Role::Member),
];
/// The lifetime of the sample tokens.
const TOKEN_LIFETIME: TimeDelta = TimeDelta::days(30);

pub(super) async fn run(app: App, mut config: Config) -> Outcome {
    ensure_token_key(&mut config)?;
    let stop = Stop::listen()?;
    let server = DatabaseServer::start(&config).await?;
    let seeder = app.seeder;
    let wide_events = format_for_stdout(wide_event_config(&config.wide_events)?);
    let served = serve(
        app,
        &config,
        &server,
        None,
        stop,
        wide_events,
        async |database, address| {
            let team = match sample_team(database, &config).await? {
                Some(team) => team,
                None => {
                    seed(database, &config, seeder).await?;
                    let seeded = sample_team(database, &config).await?;
                    seeded.ok_or_else(|| Error::internal("the new sample team was not found"))?
                }
            };
            write_tokens(&config, address, team.id)?;
            print_instructions(&config, &server, address, &team.name, seeder.is_some());
            Ok(())
        },
    )
    .await;
    server.stop().await?;
    Ok(served?)
}

/// Formats wide events as sentences if stdout is a terminal. In a file or a pipe they stay JSON.
fn format_for_stdout(wide_events: WideEventConfig) -> WideEventConfig {
    if !stdout_is_terminal() {
        return wide_events;
    }
    let coloured = wants_colours();
    wide_events.format(move |event| sentence(event, coloured))
}

/// Returns the team of the sample's first person, if there is one. Its name may have changed, so it is not looked up by
/// name.
async fn sample_team(database: &Database, config: &Config) -> Result<Option<OwnTeam>> {
    let own = database.own_teams(&config.auth.issuer, PEOPLE[0].0).await?;
    Ok(own.and_then(|own| own.teams.into_iter().next()))
}

/// Creates the sample team and runs the program's seeder as its people.
async fn seed(database: &Database, config: &Config, seeder: Option<Seeder>) -> Result<()> {
    let person = |subject: &str, name: &str| NewPerson {
        issuer: config.auth.issuer.clone(),
        subject: subject.to_owned(),
        display_name: name.to_owned(),
        email: Some(format!("{subject}@example.com")),
    };
    let [(subject, name, _), others @ ..] = PEOPLE;
    let new_team = NewTeam {
        name: "Acme".to_owned(),
        owner: person(subject, name),
        owner_handle: subject.to_owned(),
    };
    let team_id = create_team(database, new_team).await?;
    let tx = database.begin(&Context::system(team_id, "daybook dev")).await?;
    for (subject, name, role) in others {
        add_member(
            &tx,
            &NewMember {
                person: person(subject, name),
                handle: subject.to_owned(),
                role,
            },
        )
        .await?;
    }
    tx.commit().await?;
    if let Some(seeder) = seeder {
        let mut people = Vec::new();
        for (subject, name, _) in PEOPLE {
            let own = database.own_teams(&config.auth.issuer, subject).await?;
            let id = own
                .ok_or_else(|| Error::internal("a new person of the sample team was not found"))?
                .details
                .user_id;
            let actor = Actor::User {
                id,
                name: name.to_owned(),
            };
            people.push(Context {
                actor,
                via: Some("daybook dev".to_owned()),
                ..Context::system(team_id, "daybook dev")
            });
        }
        seeder(database, &people).await?;
    }
    Ok(())
}

/// Writes two files to the data folder: `token`, which commands read, and `dev.env`, which a shell can source.
fn write_tokens(config: &Config, address: SocketAddr, team_id: Uuid) -> Result<()> {
    let mut environment = format!("export DAYBOOK_URL=http://{address}\nexport DAYBOOK_TEAM={team_id}\n");
    for (subject, _, _) in PEOPLE {
        let token = mint(&config.auth, &NewToken::new(subject), TOKEN_LIFETIME)?;
        environment.push_str(&format!("export {}={token}\n", subject.to_uppercase()));
    }
    let owner = mint(&config.auth, &NewToken::new(PEOPLE[0].0), TOKEN_LIFETIME)?;
    write_private(&config.data_dir.join("token"), &owner).map_err(Error::internal)?;
    write_private(&config.data_dir.join("dev.env"), &environment).map_err(Error::internal)
}

/// Prints commands to try. Those with campaigns are printed only for the sample program, which has a seeder.
fn print_instructions(config: &Config, server: &DatabaseServer, address: SocketAddr, team: &str, campaigns: bool) {
    let folder = config.data_dir.display();
    let program = std::env::args().next().unwrap_or_else(|| "daybook".to_owned());
    let campaign_commands = if campaigns {
        r#"
  api $GRACE /watches/campaign -X PUT
  api $ADA /campaigns -d '{"name": "Autumn", "budget": "100"}'
  api $GRACE '/notifications?unread=true'"#
    } else {
        ""
    };
    let team = visible(team);
    note_lines(format_args!(
        r#"
Daybook is at http://{address}, with the team {team}: Ada (owner), Grace (admin), Linus (member).
In another shell:

  . {folder}/dev.env
  api() {{ curl -sS -H "Authorization: Bearer $1" -H 'Content-Type: application/json' "${{@:3}}" "$DAYBOOK_URL/v1/teams/$DAYBOOK_TEAM$2"; echo; }}
  curl -sS -H "Authorization: Bearer $ADA" "$DAYBOOK_URL/v1/me"; echo{campaign_commands}
  api $ADA /threads
  {program} activity
  {program} tail
"#
    ));
    if let Some(database) = &server.address {
        note_lines(format_args!(
            "  psql '{database}&options=-c%20role%3Ddaybook_app'   # as the run-time role: shows no rows without a team\n"
        ));
    }
}
