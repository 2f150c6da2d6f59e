//! The settings of runs: where their logs are stored, and their limits.

use std::path::PathBuf;

use super::settings::Settings;

/// The settings of runs.
#[derive(Debug, Clone)]
#[non_exhaustive]
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
    /// Days after a run's end until its log is sealed.
    pub seal_after_days: u32,
    /// Days after a run's end until its log is deleted.
    pub keep_days: u32,
}

impl RunsConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Self {
        settings.group("Runs");
        let storage = settings
            .setting("DAYBOOK_STORAGE_DIR", "The folder of the run logs.")
            .default("`storage` in the data folder")
            .text("the path of a folder");
        let advertise_url = settings
            .setting(
                "DAYBOOK_ADVERTISE_URL",
                "This process's address, to which other processes redirect clients for the run logs that it writes.",
            )
            .default("`http://$DAYBOOK_BIND`")
            .valid("a URL as in http://10.0.0.7:8080", |value| {
                let rest = value
                    .strip_prefix("http://")
                    .or_else(|| value.strip_prefix("https://"))?;
                let is_allowed = !rest.is_empty() && !rest.contains(['?', '#', '@', ' ']);
                is_allowed.then(|| value.trim_end_matches('/').to_owned())
            });
        let line_bytes = settings
            .setting(
                "DAYBOOK_RUN_LINE_LIMIT",
                "The maximum length of a line in a run log, in bytes.",
            )
            .number(1024..=1024 * 1024, 256 * 1024);
        let run_bytes = settings
            .setting("DAYBOOK_RUN_LOG_LIMIT", "The maximum length of a run log, in bytes.")
            .number(1024 * 1024..=1 << 40, 1 << 30);
        let open_runs = settings
            .setting("DAYBOOK_OPEN_RUNS", "The maximum number of unfinished runs of a team.")
            .number(1..=1_000_000, 1_000);
        let open_logs = settings
            .setting(
                "DAYBOOK_OPEN_LOGS",
                "The maximum number of run logs whose files a process keeps open, at most a quarter of its descriptors.",
            )
            .number(8..=100_000, 256);
        let max_readers = settings
            .setting(
                "DAYBOOK_LOG_READERS",
                "The maximum number of streams and downloads of run logs at the same time.",
            )
            .default("an eighth of the open files, at most 1000")
            .optional_number(1..=1_000_000);
        let max_team_readers = settings
            .setting(
                "DAYBOOK_TEAM_LOG_READERS",
                "The maximum number of streams and downloads of one team's run logs at the same time.",
            )
            .default("half of `DAYBOOK_LOG_READERS`")
            .optional_number(1..=1_000_000);
        let seal_after_days = settings
            .setting(
                "DAYBOOK_SEAL_RUNS",
                "How long a run log stays uncompressed after the run's end, in days.",
            )
            .number(0..=36_500, 7);
        let keep_days = settings
            .setting(
                "DAYBOOK_KEEP_RUNS",
                "How long run logs are kept after the run's end, in days.",
            )
            .number(1..=36_500, 90);
        Self {
            storage: storage.map(PathBuf::from),
            advertise_url,
            line_bytes,
            run_bytes,
            open_logs,
            open_runs,
            max_readers,
            max_team_readers,
            seal_after_days,
            keep_days,
        }
    }
}
