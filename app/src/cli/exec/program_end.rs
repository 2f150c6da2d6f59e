//! How the program ended, as an exit code and as the run's end.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// How the program ended.
#[derive(Debug, Clone)]
pub(super) enum ProgramEnd {
    Exited(ExitStatus),
    NotStarted { code: u8, message: String },
}

impl ProgramEnd {
    pub(super) fn not_started(error: &io::Error) -> Self {
        Self::NotStarted {
            // The codes that shells use.
            code: if error.kind() == io::ErrorKind::NotFound {
                127
            } else {
                126
            },
            message: error.to_string(),
        }
    }

    /// Returns the exit code as a shell reports it: 128 plus the number of a signal.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::NotStarted { code, .. } => *code,
            Self::Exited(status) => {
                let code = status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(1);
                u8::try_from(code & 0xff).unwrap_or(1)
            }
        }
    }

    /// Returns the request body that completes the run.
    pub(super) fn completion(&self) -> Value {
        let code = self.code();
        let failure = match self {
            Self::NotStarted { message, .. } => Some(json!({"code": "not-started", "message": message})),
            Self::Exited(status) => status.signal().map(|number| {
                let name = Signal::try_from(number).map_or_else(|_| number.to_string(), |name| name.to_string());
                json!({"code": "killed", "message": format!("killed by {name}")})
            }),
        };
        match code {
            0 => json!({"status": "succeeded", "exit_code": 0}),
            _ => json!({"status": "failed", "exit_code": code, "failure": failure}),
        }
    }
}
