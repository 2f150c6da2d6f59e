//! `daybook exec`: runs a program as a run. What it says goes to the terminal as it always did, and into the run's log.
//!
//! The program comes first: whatever becomes of the log, it runs, it is passed the signals that come, and its exit code is
//! ours. What the service can't take now is kept and sent later, in order and once.

mod child;
mod lines;
mod naming;
mod pieces;
mod upload;

use std::ffi::OsString;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args as ClapArgs;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use self::child::{Child, ProgramEnd, Signals};
use self::lines::LineBuffer;
use self::naming::name_of;
use self::upload::{StopRequest, Upload};
use super::output::note;
use super::remote::Remote;
use crate::config::Config;

/// How long the program waits for the run's link to be printed, before it starts without.
const LINK_TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// The team, by id or name; may be left out when the token's person is in one only.
    #[arg(long, env = "DAYBOOK_TEAM")]
    team: Option<String>,
    /// What people call the run; the program and, if it is a plain word, its first argument, if not said.
    #[arg(long)]
    name: Option<String>,
    /// What it runs, as your program knows it: to find its runs again.
    #[arg(long)]
    configuration: Option<String>,
    /// How long to wait, once the program has ended, for a service that is away, in seconds.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    patience: u64,
    /// The program and its arguments.
    #[arg(last = true, required = true, num_args = 1.., value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(super) async fn run(config: &Config, args: Args) -> ExitCode {
    let name = name_of(args.name.as_deref(), &args.command);
    let lines = Arc::new(LineBuffer::default());
    let (stop_request, stop_requests) = watch::channel(StopRequest::None);
    let upload = match Remote::of(config) {
        Ok(remote) => Some(Upload::new(
            remote,
            args.team.clone(),
            name,
            args.configuration.clone(),
            lines.clone(),
            stop_request,
        )),
        Err(error) => {
            note(format_args!("daybook exec: without a log: {error}"));
            lines.refuse();
            None
        }
    };
    let begun = upload.as_ref().map(Upload::begun);
    let mut uploading = pin!(async {
        if let Some(upload) = upload {
            upload.run().await;
        }
    });
    let mut uploaded = false;
    let mut working = pin!(work(&args, &lines, begun, stop_requests));
    let code = loop {
        tokio::select! {
            code = &mut working => break code,
            () = &mut uploading, if !uploaded => uploaded = true,
        }
    };
    if !uploaded {
        let mut signals = Signals::listen();
        tokio::select! {
            () = &mut uploading => {}
            () = sleep(Duration::from_secs(args.patience)) => report_unsent(&lines),
            _ = signals.next() => report_unsent(&lines),
        }
    }
    ExitCode::from(code)
}

/// Runs the program to its end, and gives its exit code.
async fn work(
    args: &Args,
    lines: &Arc<LineBuffer>,
    begun: Option<watch::Receiver<bool>>,
    mut stop_requests: watch::Receiver<StopRequest>,
) -> u8 {
    // Before there is anybody to pass them on to.
    let signals = Signals::listen();
    if let Some(mut begun) = begun {
        // Without a link it starts, too.
        let _ = timeout(LINK_TIMEOUT, begun.wait_for(|begun| *begun)).await;
    }
    let ended = match Child::start(&args.command, lines) {
        Ok(child) => child.run(signals, &mut stop_requests).await,
        Err(error) => {
            let program = args.command.first().map(|program| program.display().to_string());
            note(format_args!("daybook exec: {}: {error}", program.unwrap_or_default()));
            ProgramEnd::not_started(&error)
        }
    };
    let code = ended.code();
    lines.close(ended);
    code
}

fn report_unsent(lines: &LineBuffer) {
    let left = lines.waiting();
    note(format_args!(
        "daybook exec: the service is away: {left} lines and the run's end were not sent"
    ));
}
