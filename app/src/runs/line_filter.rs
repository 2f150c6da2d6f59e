//! Selects the lines of a log that a client receives.

use daybook_run_log::StoredLine;
use serde::Deserialize;

/// Selects lines by type and level.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LineFilter {
    /// The types of lines; `run.*` matches all types that begin with `run.`. Empty: all types.
    pub(super) types: Vec<String>,
    /// The minimum level.
    pub(super) level: Option<Level>,
}

/// The level of a line, in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Debug,
    Info,
    Warning,
    Error,
}

impl Level {
    /// Parses a word that programs use for a level; `None` for other words.
    pub(super) fn of(word: &str) -> Option<Self> {
        Some(match word {
            "trace" | "debug" => Self::Debug,
            "info" | "notice" => Self::Info,
            "warning" | "warn" => Self::Warning,
            "error" | "critical" | "fatal" => Self::Error,
            _ => return None,
        })
    }
}

impl LineFilter {
    pub(super) fn takes_all(&self) -> bool {
        self.types.is_empty() && self.level.is_none()
    }

    pub(super) fn takes(&self, line: &StoredLine<'_>) -> bool {
        let kind = &*line.kind;
        let of_type = |wanted: &String| match wanted.strip_suffix('*') {
            Some(begin) => kind.starts_with(begin),
            None => kind == wanted,
        };
        if !self.types.is_empty() && !self.types.iter().any(of_type) {
            return false;
        }
        let Some(least) = self.level else { return true };
        #[derive(Deserialize)]
        struct Levelled<'a> {
            #[serde(borrow, default)]
            level: Option<std::borrow::Cow<'a, str>>,
        }
        let level = serde_json::from_str::<Levelled<'_>>(line.payload.get()).ok();
        let level = level.and_then(|payload| Level::of(payload.level.as_deref()?));
        level.is_some_and(|level| level >= least)
    }
}
