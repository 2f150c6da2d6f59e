//! `daybook migrate`: the schema, up, down, and where it stands.

use clap::{Args as ClapArgs, Subcommand};

use super::service::Server;
use super::{Outcome, say};
use crate::app::App;
use crate::config::Config;
use crate::error::Result;
use crate::tenancy::Pending;

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Command {
    /// Apply everything that is pending.
    Up,
    /// Take back the last migrations.
    Down {
        /// How many.
        #[arg(long, default_value_t = 1)]
        steps: u32,
    },
    /// List what is applied and what is pending.
    Status,
}

pub(super) async fn run(app: &App, config: &Config, args: Args) -> Outcome {
    let server = Server::find(config).await?;
    let outcome = migrate(app, &server, args.command.unwrap_or(Command::Up)).await;
    server.stop().await?;
    Ok(outcome?)
}

async fn migrate(app: &App, server: &Server, command: Command) -> Result<()> {
    let migrations = app.migrations();
    let before = migrations.status(&server.owner).await?;
    match command {
        Command::Up => migrations.up(&server.owner).await?,
        Command::Down { steps } => migrations.down(&server.owner, steps).await?,
        Command::Status => {
            return tell(&before);
        }
    }
    let after = migrations.status(&server.owner).await?;
    for name in after.applied.iter().filter(|name| !before.applied.contains(name)) {
        say(format_args!("applied    {name}"))?;
    }
    for name in before.applied.iter().filter(|name| !after.applied.contains(name)) {
        say(format_args!("taken back {name}"))?;
    }
    if after == before {
        say("nothing to do")?;
    }
    Ok(())
}

fn tell(status: &Pending) -> Result<()> {
    for name in &status.applied {
        say(format_args!("applied    {name}"))?;
    }
    for name in &status.pending {
        say(format_args!("pending    {name}"))?;
    }
    Ok(())
}
