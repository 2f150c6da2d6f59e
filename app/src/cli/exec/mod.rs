//! `daybook exec`: executes a program and records it as a run. Its output goes to the terminal, and to the run's log.
//!
//! The program does not depend on the log. Without a log it also runs, and receives the signals that `exec` receives.
//! Its exit code is the exit code of `exec`. Lines that the service can't accept now are buffered and sent later, in
//! order and once.

mod child;
mod lines;
mod naming;
mod pieces;
mod program_end;
mod upload;

use std::ffi::OsString;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args as ClapArgs;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use self::child::{Child, ProcessSignals};
use self::lines::LineBuffer;
use self::naming::name_of;
use self::program_end::ProgramEnd;
use self::upload::{StopRequest, Upload};
use super::output::note;
use super::remote::Remote;
use crate::config::Config;

/// The maximum time for which the program's start is delayed until the run's link is printed.
const LINK_TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// The team's id or name. Optional if the token's person is in only one team.
    #[arg(long, env = "DAYBOOK_TEAM")]
    team: Option<String>,
    /// The run's name. Default: the program and, if it is a plain word, its first argument.
    #[arg(long)]
    name: Option<String>,
    /// An id of your choice for what is executed. Runs can be listed by it.
    #[arg(long)]
    configuration: Option<String>,
    /// The time in seconds to wait for an unavailable service after the program has ended.
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
            note(format_args!("daybook exec: the output is not recorded: {error}"));
            lines.discard();
            None
        }
    };
    let link_ready = upload.as_ref().map(Upload::link_ready);
    let mut uploading = pin!(async {
        if let Some(upload) = upload {
            upload.run().await;
        }
    });
    let mut uploaded = false;
    let mut running = pin!(run_program(&args, &lines, link_ready, stop_requests));
    let code = loop {
        tokio::select! {
            code = &mut running => break code,
            () = &mut uploading, if !uploaded => uploaded = true,
        }
    };
    if !uploaded {
        let mut signals = ProcessSignals::listen();
        tokio::select! {
            () = &mut uploading => {}
            () = sleep(Duration::from_secs(args.patience)) => report_unsent(&lines),
            _ = signals.next() => report_unsent(&lines),
        }
    }
    ExitCode::from(code)
}

/// Runs the program to its end, and returns its exit code.
async fn run_program(
    args: &Args,
    lines: &Arc<LineBuffer>,
    link_ready: Option<watch::Receiver<bool>>,
    mut stop_requests: watch::Receiver<StopRequest>,
) -> u8 {
    // Signals are caught before the program starts, so that none ends `exec` alone.
    let signals = ProcessSignals::listen();
    if let Some(mut link_ready) = link_ready {
        // After the timeout the program starts without a link.
        let _ = timeout(LINK_TIMEOUT, link_ready.wait_for(|link_ready| *link_ready)).await;
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
    let count = lines.count();
    note(format_args!(
        "daybook exec: the service is unavailable: {count} lines and the run's end were not sent"
    ));
}
