//! The settings of runs: where their logs are stored, and their limits.

use std::path::PathBuf;

use super::settings::Settings;

/// The settings of runs.
#[derive(Debug, Clone)]
pub struct RunsConfig {
    /// The folder of the logs. None: `storage` in the data folder.
    pub storage: Option<PathBuf>,
    /// The URL at which other processes and clients reach this process.
    pub advertise_url: Option<String>,
    /// Maximum length of a line, in bytes.
    pub line_bytes: usize,
    /// Maximum length of a log, in bytes.
    pub run_bytes: u64,
    /// Maximum number of logs whose files a process keeps open.
    pub open_logs: usize,
    /// Maximum number of unfinished runs of a team.
    pub open_runs: u32,
    /// Maximum number of streams and downloads of logs of a process. None: it depends on the number of descriptors.
    pub max_readers: Option<usize>,
    /// Maximum number of streams and downloads of one team. None: half of all.
    pub max_team_readers: Option<usize>,
    /// After how many days a closed log is sealed.
    pub seal_after_days: u32,
    /// How many days logs are kept.
    pub keep_days: u32,
}

impl RunsConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Self {
        let mut readers = |name| {
            settings.parsed(name, |value| {
                let number = value.parse().ok().filter(|max| (1..=1_000_000).contains(max));
                number.ok_or_else(|| "must be a whole number from 1 to 1000000".to_owned())
            })
        };
        let max_readers = readers("DAYBOOK_LOG_READERS");
        let max_team_readers = readers("DAYBOOK_TEAM_LOG_READERS");
        Self {
            max_readers,
            max_team_readers,
            storage: settings.text("DAYBOOK_STORAGE_DIR").map(PathBuf::from),
            advertise_url: settings.parsed("DAYBOOK_ADVERTISE_URL", |value| {
                let rest = value.strip_prefix("http://").or_else(|| value.strip_prefix("https://"));
                match rest {
                    Some(rest) if !rest.is_empty() && !rest.contains(['?', '#', ' ']) => {
                        Ok(value.trim_end_matches('/').to_owned())
                    }
                    _ => Err("must be a URL as in http://10.0.0.7:8080".to_owned()),
                }
            }),
            line_bytes: settings.number("DAYBOOK_RUN_LINE_LIMIT", 1024..=1024 * 1024, 256 * 1024),
            run_bytes: settings.number("DAYBOOK_RUN_LOG_LIMIT", 1024 * 1024..=1 << 40, 1 << 30),
            open_logs: settings.number("DAYBOOK_OPEN_LOGS", 8..=100_000, 256),
            open_runs: settings.number("DAYBOOK_OPEN_RUNS", 1..=1_000_000, 1_000),
            seal_after_days: settings.number("DAYBOOK_SEAL_RUNS", 0..=36_500, 7),
            keep_days: settings.number("DAYBOOK_KEEP_RUNS", 1..=36_500, 90),
        }
    }
}
