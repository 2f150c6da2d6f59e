//! `daybook migrate`: applies, reverts and lists migrations.

use clap::{Args as ClapArgs, Subcommand};

use super::outcome::Outcome;
use super::output::print_line;
use super::service::DatabaseServer;
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
    /// Apply all pending migrations.
    Up,
    /// Revert the last migrations. The tables that they created are dropped with their rows.
    Down {
        /// The number of migrations to revert.
        #[arg(long, default_value_t = 1)]
        steps: u32,
    },
    /// List applied and pending migrations.
    Status,
}

pub(super) async fn run(app: &App, config: &Config, args: Args) -> Outcome {
    let server = DatabaseServer::find(config).await?;
    let outcome = migrate(app, &server, args.command.unwrap_or(Command::Up)).await;
    server.stop().await?;
    Ok(outcome?)
}

async fn migrate(app: &App, server: &DatabaseServer, command: Command) -> Result<()> {
    let migrations = app.migrations();
    let before = migrations.status(&server.owner).await?;
    match command {
        Command::Up => migrations.up(&server.owner).await?,
        Command::Down { steps } => migrations.down(&server.owner, steps).await?,
        Command::Status => {
            return print_status(&before);
        }
    }
    let after = migrations.status(&server.owner).await?;
    for name in after.applied.iter().filter(|name| !before.applied.contains(name)) {
        print_line(format_args!("applied    {name}"))?;
    }
    for name in before.applied.iter().filter(|name| !after.applied.contains(name)) {
        print_line(format_args!("reverted   {name}"))?;
    }
    if after == before {
        print_line("nothing to do")?;
    }
    Ok(())
}

fn print_status(status: &Pending) -> Result<()> {
    for name in &status.applied {
        print_line(format_args!("applied    {name}"))?;
    }
    for name in &status.pending {
        print_line(format_args!("pending    {name}"))?;
    }
    Ok(())
}
