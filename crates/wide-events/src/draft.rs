//! The content that code adds to an event before its end.

use std::borrow::Cow;
use std::fmt;

use super::buffer_pool;
use super::error::EventError;
use super::fields::{Fields, MAX_FIELDS, MAX_PATH_NAMES, TooManyFields, Value};
use super::outcome::Outcome;
use super::reserved_names;

/// Maximum number of problems that an event has in `schema_errors`.
const MAX_PROBLEMS: usize = 16;
/// Maximum length of a problem, in characters. A longer one is cut.
const MAX_PROBLEM_CHARS: usize = 200;

/// Collects the fields, the error and the outcome that code adds to an event.
#[derive(Default)]
pub(super) struct EventDraft {
    pub(super) fields: Fields,
    pub(super) error: Option<EventError>,
    pub(super) outcome: Option<Outcome>,
    /// Problems with the event itself, for `schema_errors`.
    problems: Problems,
}

/// A list of problems without duplicates.
#[derive(Default)]
struct Problems(Vec<String>);

impl EventDraft {
    /// Returns the value at `path` for writing, and creates it if it is missing. Returns `None`, and notes a problem,
    /// if the name is reserved, the path is too long or the object is full.
    pub(super) fn at_path(&mut self, path: Cow<'static, str>) -> Option<&mut Value> {
        let end = path.bytes().position(|byte| byte == b'.').unwrap_or(path.len());
        let Self { fields, problems, .. } = self;
        if !may_set(path.get(..end).unwrap_or_default(), problems) {
            return None;
        }
        if path.bytes().filter(|byte| *byte == b'.').count() >= MAX_PATH_NAMES {
            problems.add(format_args!(
                "{path} has more than {MAX_PATH_NAMES} names and was not set"
            ));
            return None;
        }
        ensure_capacity(fields);
        fields.at_path(path).map_err(|TooManyFields| problems.full()).ok()
    }

    /// Merges `more` into the fields, without its reserved names.
    pub(super) fn merge(&mut self, mut more: Fields) {
        let Self { fields, problems, .. } = self;
        more.retain(|name| may_set(name, problems));
        ensure_capacity(fields);
        if fields.merge(more).is_err() {
            problems.full();
        }
    }

    /// Notes a problem with the event itself.
    pub(super) fn problem(&mut self, problem: fmt::Arguments<'_>) {
        self.problems.add(problem);
    }

    /// Removes and returns the problems.
    pub(super) fn take_problems(&mut self) -> Vec<String> {
        std::mem::take(&mut self.problems.0)
    }
}

impl Problems {
    fn add(&mut self, problem: fmt::Arguments<'_>) {
        let problem: String = problem.to_string().chars().take(MAX_PROBLEM_CHARS).collect();
        if self.0.len() < MAX_PROBLEMS && !self.0.contains(&problem) {
            self.0.push(problem);
        }
    }

    fn full(&mut self) {
        self.add(format_args!("an object has {MAX_FIELDS} fields; more were left out"));
    }
}

fn may_set(name: &str, problems: &mut Problems) -> bool {
    let may = !reserved_names::is_reserved(name);
    if !may {
        problems.add(format_args!("{name} is a reserved field and was not set"));
    }
    may
}

fn ensure_capacity(fields: &mut Fields) {
    if fields.has_no_capacity() {
        *fields = buffer_pool::take_fields();
    }
}
