//! `daybook token`: creates a sign-in token for a person.

use chrono::TimeDelta;
use clap::Args as ClapArgs;

use super::outcome::Outcome;
use super::output::print_line;
use super::service::find_token_key;
use crate::auth::{ActingPerson, NewToken, mint};
use crate::config::Config;

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// The person's subject, as in `daybook user add --subject`.
    subject: String,
    /// The token's lifetime in hours.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..=8_760))]
    hours: u16,
    /// The subject of the person who acts for SUBJECT (impersonation). Events name both.
    #[arg(long, value_name = "SUBJECT")]
    acting: Option<String>,
}

pub(super) fn run(mut config: Config, args: Args) -> Outcome {
    find_token_key(&mut config)?;
    let mut token = NewToken::new(args.subject);
    token.acting = args.acting.map(|subject| ActingPerson {
        issuer: config.auth.issuer.clone(),
        subject,
    });
    print_line(mint(&config.auth, &token, TimeDelta::hours(args.hours.into()))?)?;
    Ok(())
}
