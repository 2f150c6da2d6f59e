//! `daybook token`: a sign-in token for a person.

use chrono::TimeDelta;
use clap::Args as ClapArgs;

use super::service::find_token_key;
use super::{Outcome, say};
use crate::auth::{ActingPerson, NewToken, mint};
use crate::config::Config;

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Who it is for: the person's subject, as `daybook user add` was given it.
    subject: String,
    /// How long it holds, in hours.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..=8_760))]
    hours: u16,
    /// Who really acts, when SUBJECT is impersonated: events name both.
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
    say(mint(&config.auth, &token, TimeDelta::hours(args.hours.into()))?)?;
    Ok(())
}
